"""The clips of a folder."""

from __future__ import annotations

from pathlib import Path

from training.clips.clip import TrainingClip

_LABELS = ("mouth_opening", "mouth_width", "blink", "rotation")


_SYNC_LABELS = ("waveform", "head_speed", "phoneme_class")


def load_clips(directory: Path) -> dict[str, TrainingClip]:
    """All clips of a directory by name, with every label.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the first clip that lacks a label, as footage does.
    """
    return {path.stem: TrainingClip.load(path, needs=(*_LABELS, *_SYNC_LABELS)) for path in _paths(directory)}


def _paths(directory: Path) -> list[Path]:
    paths = sorted(Path(directory).glob("*.npz"))
    if not paths:
        raise FileNotFoundError(f"{directory} has no clips: make some with `python -m training.corpus`")
    return paths
