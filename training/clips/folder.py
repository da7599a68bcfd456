"""The clips of a folder."""

from __future__ import annotations

from pathlib import Path

from training.clips.clip import TrainingClip

#: The labels that a face reader learns from.
READER_LABELS = ("mouth_opening", "mouth_width", "blink", "rotation")


_SYNC_LABELS = ("waveform", "head_speed", "phoneme_class")


def load_clips(directory: Path) -> dict[str, TrainingClip]:
    """All clips of a directory by name, with every label.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the first clip that lacks a label, as footage does.
    """
    return {path.stem: TrainingClip.load(path, needs=(*READER_LABELS, *_SYNC_LABELS)) for path in clip_paths(directory)}


def clip_paths(directory: Path) -> list[Path]:
    """The files of a directory's clips, sorted by name.

    Raises:
        FileNotFoundError: if there is none.
    """
    paths = sorted(Path(directory).glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{directory} has no clips: make some with `python -m training.corpus`")
    return paths
