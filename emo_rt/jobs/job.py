"""What is done of a video, beside it on the disk, so that the same command goes on after a stop.

The directory `<video>.job` holds what the video is made of (`job.json`), the clips that are done (`clips.bin`), and how
many they are and how the next one begins (`progress.npz`, replaced after each clip). What a stop left in `clips.bin`
behind that is made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from emo_rt.errors import InputError
from emo_rt.media.video import check_output, explained

_NUMBER = struct.Struct("<I")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        clips, frames: that are done.
        size: of `clips.bin` with them, bytes.
        motion_latents: that the next clip goes on from, (n, c, s, s), or None before the first.
    """

    clips: int = 0
    frames: int = 0
    size: int = 0
    motion_latents: np.ndarray | None = None


class Job:
    """The unfinished video of one output file; a context manager that keeps other processes out.

    Entering makes the directory and those above it. Leaving keeps it, unless `finish` or `discard` was called.

    Args:
        out: the MP4 to be.

    Raises:
        InputError: on entering, if the output cannot be written or another process is writing it.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self.directory = self.out.with_name(self.out.name + ".job")
        self.progress = Progress()
        self._created: list[Path] = []
        self._lock = FileLock(self.directory / "lock")

    @property
    def video(self) -> Path:
        """Where the video is put together."""
        return self.directory / "video.mp4"

    def __enter__(self) -> Job:
        check_output(self.out)
        try:
            with explained(self.out):
                self._create_directories()
                self._acquire()
        except BaseException:
            self._remove_directories()
            raise
        return self

    def _acquire(self) -> None:
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InputError(f"output {self.out}: another run is writing it; give another --out") from None

    def __exit__(self, *_: object) -> None:
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

    def made_of(self) -> dict[str, Any] | None:
        """What an earlier run that did not finish was made of; None if there was none."""
        try:
            found = json.loads((self.directory / "job.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def resume(self) -> None:
        """Takes over the clips that an earlier run made."""
        damaged = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
        with contextlib.suppress(*damaged), np.load(self.directory / "progress.npz") as saved:
            clips, frames, size = (int(saved[name]) for name in ("clips", "frames", "size"))
            if self._clips.stat().st_size >= size:
                self.progress = Progress(clips, frames, size, saved["motion_latents"])

    def start(self, made_of: Mapping[str, Any]) -> None:
        """Begins anew; whatever an earlier run made is lost. `made_of` is JSON."""
        with explained(self.out):
            for name in ("progress.npz", "clips.bin"):
                (self.directory / name).unlink(missing_ok=True)
            self._replace("job.json", json.dumps(made_of, indent=1).encode())
        self.progress = Progress()

    def append(self, packets: Sequence[bytes], motion_latents: np.ndarray) -> None:
        """Keeps a clip as `encode_clip` gives it, and the latents that the next one goes on from.

        Raises:
            InputError: if it cannot be written; the clips before it stay.
        """
        before = self.progress
        record = b"".join([_NUMBER.pack(len(packets)), *(_NUMBER.pack(len(data)) + data for data in packets)])
        done = Progress(before.clips + 1, before.frames + len(packets), before.size + len(record), motion_latents)
        state = io.BytesIO()
        np.savez(state, clips=done.clips, frames=done.frames, size=done.size, motion_latents=motion_latents)
        with explained(self.out):
            with open(self._clips, "ab") as file:
                file.truncate(before.size)
                _write(file, record)
            self._replace("progress.npz", state.getvalue())
        self.progress = done

    def clips(self) -> Iterator[list[bytes]]:
        """The packets of each clip that is done."""
        if not self.progress.clips:
            return
        with open(self._clips, "rb") as file:
            for _ in range(self.progress.clips):
                count = _read_number(file)
                yield [file.read(_read_number(file)) for _ in range(count)]

    def finish(self) -> None:
        """Puts the video in its place and removes the job."""
        with explained(self.out):
            os.replace(self.video, self.out)
        shutil.rmtree(self.directory, ignore_errors=True)

    def discard(self) -> None:
        """Removes every trace of the job."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self._remove_directories()

    @property
    def _clips(self) -> Path:
        return self.directory / "clips.bin"

    def _replace(self, name: str, data: bytes) -> None:
        """Writes a file that is there whole, as it was or as it is to be."""
        temporary = self.directory / f"{name}.part"
        with open(temporary, "wb") as file:
            _write(file, data)
        os.replace(temporary, self.directory / name)


def _write(file: io.BufferedWriter, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _read_number(file: io.BufferedReader) -> int:
    number: int = _NUMBER.unpack(file.read(_NUMBER.size))[0]
    return number
