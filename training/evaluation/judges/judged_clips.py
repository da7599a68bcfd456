"""The videos that a judge looks at: clips with labels, or MP4 files without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.clips.clip import TrainingClip
from training.clips.folder import clip_paths
from training.clips.names import clip_name


@dataclass(frozen=True)
class JudgedClip:
    """A video of one person.

    Attributes:
        name: name of its file without ending.
        frames: uint8 RGB (t, h, w, 3).
        person: name of whoever is seen; that of the video if it is unknown.
        photograph: name of the photograph that a puppet shows; empty if it shows none, or that is unknown.
    """

    name: str
    frames: np.ndarray
    person: str
    photograph: str = ""


class JudgedClips:
    """The videos of a folder, read one after another.

    Args:
        folder: folder of clips of `python -m training.corpus`, or else of MP4 files.

    Raises:
        FileNotFoundError: if there is no such folder, or neither clip nor video in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
        self._labelled = any(folder.glob("*.npz"))
        self._paths = clip_paths(folder) if self._labelled else sorted(folder.glob("*.mp4"))
        if not self._paths:
            raise FileNotFoundError(f"{folder} has neither clips (.npz) nor videos (.mp4)")

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[JudgedClip]:
        """The videos in order of their names.

        Raises:
            ValueError: if a file cannot be read; it names the file.
        """
        for path in self._paths:
            try:
                yield _labelled(path) if self._labelled else JudgedClip(path.stem, _video_frames(path), path.stem)
            except OSError as error:
                raise ValueError(f"{path} cannot be read ({error})") from None


def _labelled(path: Path) -> JudgedClip:
    clip = TrainingClip.load(path)
    name = clip_name(path)
    return JudgedClip(name, clip.frames, clip.person or name, clip.photograph)


def _video_frames(path: Path) -> np.ndarray:
    import av  # only videos need FFmpeg

    from emo_rt.media.sound_file import FILE_OPTIONS

    with av.open(str(path.absolute()), options=FILE_OPTIONS) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames)
