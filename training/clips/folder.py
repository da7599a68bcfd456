"""The clips of a directory."""

from __future__ import annotations

from pathlib import Path

from training.clips.clip import TrainingClip
from training.clips.names import clip_name, is_compact

#: Labels that a face reader learns from, and is tested on.
READER_LABELS = ("mouth_opening", "mouth_width", "blink", "rotation")

_OTHER_LABELS = ("waveform", "head_speed", "phoneme_class")


def clip_paths(directory: Path) -> list[Path]:
    """Files of a directory's clips, sorted by name: a clip that is there in both forms is read in the larger one.

    Raises:
        FileNotFoundError: if there is none.
    """
    files = sorted(Path(directory).glob("*.npz"), key=is_compact, reverse=True)
    paths = sorted({clip_name(path): path for path in files}.values())
    if not paths:
        raise FileNotFoundError(
            f"{directory} has no clips: make some with `python -m training.corpus` or `python -m training.prepare`"
        )
    return paths


def load_clips(directory: Path) -> dict[str, TrainingClip]:
    """All clips of a directory by name, with every label.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a clip lacks a label, as those of footage do. It names the first such clip.
    """
    labels = (*READER_LABELS, *_OTHER_LABELS)
    return {clip_name(path): TrainingClip.load(path, needs=labels) for path in clip_paths(directory)}
