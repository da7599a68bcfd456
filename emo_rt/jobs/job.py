"""The finished clips of a video that is not finished, on the disk beside it, so that a later run goes on from there.

The directory `<video>.job` holds what the video is made from (`job.json`), the finished clips (`clips.bin`), and how
many they are and how the next one begins (`progress.npz`, replaced after each clip). Whatever a stop left in
`clips.bin` behind that is generated again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from emo_rt.atomic import atomic_write
from emo_rt.errors import InputError
from emo_rt.media.video import check_output, explained

_NUMBER = struct.Struct("<I")


@dataclass(frozen=True)
class Progress:
    """How far a video is.

    Attributes:
        clips: number of finished clips
        frames: number of frames in them
        size: bytes of `clips.bin` that hold them
        motion_latents: latents that the next clip goes on from, (n, c, s, s); None before the first clip
    """

    clips: int = 0
    frames: int = 0
    size: int = 0
    motion_latents: np.ndarray | None = None

    @property
    def after(self) -> tuple[int, np.ndarray] | None:
        """The number of finished clips and the latents to go on from, as `Cascade.denoise` takes them."""
        return None if self.motion_latents is None else (self.clips, self.motion_latents)


class _State(Enum):
    OPEN = auto()  # the directory is as an earlier run left it
    RUNNING = auto()
    DONE = auto()  # the directory is gone


class Job:
    """The unfinished video of one output file; a context manager that keeps other processes out.

    Entering makes the directory and those above it. Leaving before `finish` discards all of it, unless there are
    finished clips and `keep` is true: then the exception that ended the run gets a note that says how to go on. What an
    earlier run left stays as it is until `start` or `go_on`.

    Args:
        out: MP4 file that the video becomes
        frames: number of frames of the finished video; None if it is not known
        keep: whether clips stay for a later run

    Raises:
        InputError: on entering, if the output cannot be written or another process writes it.
    """

    def __init__(self, out: str | Path, frames: int | None = None, *, keep: bool = True) -> None:
        self.out = Path(out)
        self.frames, self.keep = frames, keep
        self.directory = self.out.with_name(self.out.name + ".job")
        self.progress = Progress()
        self._state = _State.OPEN
        self._created: list[Path] = []
        self._lock = FileLock(self.directory / "lock")

    @property
    def video(self) -> Path:
        """Where the video is assembled."""
        return self.directory / "video.mp4"

    def __enter__(self) -> Job:
        check_output(self.out)
        with contextlib.ExitStack() as undo:
            undo.callback(self._remove_directories)
            with explained(self.out):
                self._create_directories()
                self._acquire()
            undo.pop_all()
        return self

    def _acquire(self) -> None:
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InputError(f"output {self.out}: another run is writing it; give another output") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = self._state is _State.RUNNING
        kept = running and self.keep and self.progress.clips
        if kept and error is not None:
            total = f" of {self.frames}" if self.frames else ""
            error.add_note(f"{self.progress.frames}{total} frames are done, and the same command goes on from there")
        elif (running and not kept) or (self._state is _State.OPEN and self._created):
            self.discard()
        self._lock.release()

    def _create_directories(self) -> None:
        directory = self.directory
        while not directory.exists():
            self._created.append(directory)
            directory = directory.parent
        for path in reversed(self._created):
            path.mkdir(exist_ok=True)

    def _remove_directories(self) -> None:
        for directory in self._created:
            with contextlib.suppress(OSError):
                directory.rmdir()

    def earlier(self) -> dict[str, Any] | None:
        """Reads how far an earlier run came, into `progress`, and returns what that run began with.

        Nothing is changed on the disk: call `go_on` to take its clips over, or `start` to begin anew.

        Returns:
            The facts that it was started with; None if it left no clip.
        """
        damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
        with contextlib.suppress(*damaged), np.load(self.directory / "progress.npz") as saved:
            facts = json.loads((self.directory / "job.json").read_text(encoding="utf-8"))
            clips, frames, size = (int(saved[name]) for name in ("clips", "frames", "size"))
            if clips and isinstance(facts, dict) and self._clips.stat().st_size >= size:
                self.progress = Progress(clips, frames, size, saved["motion_latents"])
                return facts
        return None

    def go_on(self) -> None:
        """Takes over the clips that `earlier` found."""
        self._state = _State.RUNNING

    def start(self, facts: Mapping[str, Any]) -> None:
        """Begins anew; whatever an earlier run finished is lost.

        Args:
            facts: JSON object that `earlier` returns to a later run

        Raises:
            InputError: if it cannot be written.
        """
        self._state = _State.RUNNING
        self.progress = Progress()
        with explained(self.out):
            for name in ("progress.npz", "clips.bin"):
                (self.directory / name).unlink(missing_ok=True)
            with atomic_write(self.directory / "job.json") as file:
                file.write(json.dumps(facts, indent=1).encode())

    def append(self, packets: Sequence[bytes], motion_latents: np.ndarray) -> None:
        """Keeps a clip.

        Args:
            packets: the clip as `encode_clip` returns it
            motion_latents: latents that the next clip goes on from, (n, c, s, s)

        Raises:
            InputError: if it cannot be written; the clips before it stay.
        """
        before = self.progress
        record = b"".join([_NUMBER.pack(len(packets)), *(_NUMBER.pack(len(data)) + data for data in packets)])
        done = Progress(before.clips + 1, before.frames + len(packets), before.size + len(record), motion_latents)
        with explained(self.out):
            with open(self._clips, "ab") as file:
                file.truncate(before.size)
                _write(file, record)
            with atomic_write(self.directory / "progress.npz") as file:
                np.savez(file, clips=done.clips, frames=done.frames, size=done.size, motion_latents=motion_latents)
        self.progress = done

    def clips(self) -> Iterator[list[bytes]]:
        """Yields the packets of each finished clip."""
        if not self.progress.clips:
            return
        with open(self._clips, "rb") as file:
            for _ in range(self.progress.clips):
                count = _read_number(file)
                yield [file.read(_read_number(file)) for _ in range(count)]

    def finish(self) -> None:
        """Puts the assembled video in its place and removes the job.

        Raises:
            InputError: if the video cannot be put there.
        """
        with explained(self.out):
            os.replace(self.video, self.out)
        self._state = _State.DONE
        shutil.rmtree(self.directory, ignore_errors=True)

    def discard(self) -> None:
        """Removes every trace of the job."""
        self._state = _State.DONE
        shutil.rmtree(self.directory, ignore_errors=True)
        self._remove_directories()

    @property
    def _clips(self) -> Path:
        return self.directory / "clips.bin"


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _read_number(file: BinaryIO) -> int:
    number: int = _NUMBER.unpack(file.read(_NUMBER.size))[0]
    return number
