"""Which videos there are, who speaks in each, and which shots of it to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.footage.annotations import Shot
from training.footage.identities import identity_of, without_subset

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")


@dataclass(frozen=True)
class FootageVideo:
    """A video of some footage.

    Attributes:
        path: the file.
        name: path relative to the footage's folder.
        identity: name of the person who speaks.
        shots: stretches to use; none if there are annotations that do not have this video.
    """

    path: Path
    name: str
    identity: str
    shots: tuple[Shot, ...] = (Shot(),)


def find_videos(folder: Path, annotations: Mapping[str, tuple[Shot, ...]] | None = None) -> list[FootageVideo]:
    """All videos in a folder and below, in order of their names.

    Args:
        folder: folder of the footage.
        annotations: shots of videos by file name without suffix; without them, each video is one shot.

    Raises:
        FileNotFoundError: if there is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not paths:
        raise FileNotFoundError(f"{folder} has no videos ({', '.join(VIDEO_SUFFIXES)})")
    videos = []
    for path in paths:
        shots = (Shot(),) if annotations is None else annotations.get(without_subset(path.stem), ())
        videos.append(FootageVideo(path, path.relative_to(folder).as_posix(), identity_of(path, folder), shots))
    return videos
