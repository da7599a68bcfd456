"""The names of a clip's files, in both of its forms."""

from __future__ import annotations

from pathlib import Path

#: End of the labels' name where a clip is in its compact form (`training.clips.compact`).
COMPACT_SUFFIX = ".labels.npz"


def clip_name(path: Path) -> str:
    """The name of the clip in a file: "a" for `a.npz` and for `a.labels.npz`."""
    return path.name.removesuffix(COMPACT_SUFFIX) if is_compact(path) else path.stem


def is_compact(path: Path) -> bool:
    """Whether a clip's file is the labels of its compact form."""
    return path.name.endswith(COMPACT_SUFFIX)


def video_path(labels: Path) -> Path:
    """The video that lies beside the labels of a compact clip."""
    return labels.with_name(f"{clip_name(labels)}.mp4")
