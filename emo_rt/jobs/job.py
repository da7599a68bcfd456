"""The finished clips of a video that is not finished, on the disk beside it, so that a later run goes on from there.

The directory `<video>.job` holds what the video is made from (`job.json`), the finished clips (`clips.bin`), and how
many they are and how the next one begins (`progress.npz`, replaced after each clip). Nothing in it is trusted: clips
behind that number, and from the first damaged one on, are generated again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from emo_rt.atomic import atomic_write, plain_file
from emo_rt.errors import InputError
from emo_rt.jobs.clip_file import LATENTS_EVERY, append_clip, read_clip, read_clips
from emo_rt.jobs.timing import counted_frames
from emo_rt.media.video import check_output, explained

#: The files of a job. Whatever else lies in its directory is somebody else's, and stays.
_FACTS, _CLIPS, _PROGRESS, _LOCK = "job.json", "clips.bin", "progress.npz", "lock"
_VIDEO, _SIGNED = "video.mp4", "signed.mp4"


@dataclass(frozen=True)
class Progress:
    """How far a video is.

    Attributes:
        clips: number of finished clips
        frames: number of frames in them
        size: bytes of `clips.bin` that hold them
        motion_latents: latents that the next clip goes on from, (n, c, s, s); None before the first clip
        checksum: checksum of those bytes, and of what the job began with
    """

    clips: int = 0
    frames: int = 0
    size: int = 0
    motion_latents: np.ndarray | None = None
    checksum: int = 0

    @property
    def after(self) -> tuple[int, np.ndarray] | None:
        """The number of finished clips and the latents to go on from, as `Cascade.denoise` takes them."""
        return None if self.motion_latents is None else (self.clips, self.motion_latents)


class _State(Enum):
    OPEN = auto()  # the directory is as an earlier run left it
    RUNNING = auto()
    DONE = auto()  # the video is in its place


class Job:
    """The unfinished video of one output file; a context manager that keeps other processes out.

    Entering makes the directory and those above it. Leaving before `finish` discards all of it, unless there are
    finished clips and `keep` is true: then the exception that ended the run gets a note that says how to go on. What an
    earlier run left stays as it is until `start` or `go_on`.

    Args:
        out: MP4 file that the video becomes; of a link, the file that it points to
        frames: number of frames of the finished video; None if it is not known
        keep: whether clips stay for a later run

    Attributes:
        progress: how far the video is
        damaged: whether `earlier` found clips that cannot be gone on with

    Raises:
        InputError: on entering, if the output cannot be written or another process writes it.
    """

    def __init__(self, out: str | Path, frames: int | None = None, *, keep: bool = True) -> None:
        self.out = Path(out)
        self.frames, self.keep = frames, keep
        with explained(self.out):
            self._target = Path(os.path.realpath(self.out))
        self.directory = self._target.with_name(self._target.name + ".job")
        self.progress = Progress()
        self.damaged = False
        self._state = _State.OPEN
        self._created: list[Path] = []
        self._lock = FileLock(self.directory / _LOCK)

    @property
    def video(self) -> Path:
        """Where the video is assembled."""
        return self.directory / _VIDEO

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
        if self._state is _State.DONE:
            self._remove_job()  # again, if that was interrupted
            if error is not None:
                error.add_note("the video is complete")
        elif kept and error is not None:
            total = f"{self.progress.frames} of {counted_frames(self.frames)}" if self.frames else ""
            done = total or counted_frames(self.progress.frames)
            error.add_note(f"{done} are done, and the same command goes on from there")
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
            The facts that it was started with; None if it left no clip that is whole.
        """
        try:
            text = self._read(_FACTS)
            facts = json.loads(text)
        except (OSError, ValueError, RecursionError):
            text, facts = b"", None
        newest = self._saved_progress()
        self.damaged = newest is not None or os.path.exists(self._clips)
        if newest is None or not isinstance(facts, dict):
            return None
        found, progress = Progress(checksum=zlib.crc32(text)), Progress()
        for record in read_clips(self._clips, found.checksum):
            counts = (found.clips + 1, found.frames + len(record.packets), record.end)
            found = Progress(*counts, record.motion_latents, record.checksum)
            if (*counts, record.checksum) == (newest.clips, newest.frames, newest.size, newest.checksum):
                progress = newest
                break
            if found.motion_latents is not None:
                progress = found
        self.damaged = progress.clips < newest.clips
        self.progress = progress
        return facts if progress.clips else None

    def _saved_progress(self) -> Progress | None:
        """The progress that the last clip was kept with; None if it cannot be read."""
        try:
            with np.load(io.BytesIO(self._read(_PROGRESS)), allow_pickle=False) as saved:
                counts = [int(saved[name]) for name in ("clips", "frames", "size", "checksum")]
                latents = np.asarray(saved["motion_latents"])
                intact = int(saved["seal"]) == _seal(counts, latents)
        except Exception:  # of damaged files, NumPy and zipfile raise errors of many kinds
            return None
        clips, frames, size, checksum = counts
        return Progress(clips, frames, size, latents, checksum) if intact and clips > 0 else None

    def go_on(self) -> None:
        """Takes over the clips that `earlier` found."""
        self._state = _State.RUNNING
        with explained(self.out):
            self._remove(_VIDEO, _SIGNED)

    def start(self, facts: Mapping[str, Any]) -> None:
        """Begins anew; whatever an earlier run finished is lost.

        Args:
            facts: JSON object that `earlier` returns to a later run

        Raises:
            InputError: if it cannot be written.
        """
        self._state = _State.RUNNING
        text = json.dumps(facts, indent=1).encode()
        self.progress = Progress(checksum=zlib.crc32(text))
        with explained(self.out):
            self._remove(_PROGRESS, _CLIPS, _FACTS, _VIDEO, _SIGNED)
            with atomic_write(self.directory / _FACTS) as file:
                file.write(text)

    def append(self, packets: Sequence[bytes], motion_latents: np.ndarray) -> None:
        """Keeps a clip.

        Args:
            packets: the clip as `encode_clip` returns it
            motion_latents: latents that the next clip goes on from, (n, c, s, s)

        Raises:
            InputError: if it cannot be written; the clips before it stay.
        """
        before, clips = self.progress, self.progress.clips + 1
        with explained(self.out):
            kept = motion_latents if clips % LATENTS_EVERY == 0 else None
            size, checksum = append_clip(self._clips, before.size, before.checksum, packets, kept)
            done = Progress(clips, before.frames + len(packets), size, motion_latents, checksum)
            counts = [done.clips, done.frames, done.size, done.checksum]
            arrays: dict[str, Any] = dict(zip(("clips", "frames", "size", "checksum"), counts, strict=True))
            arrays.update(motion_latents=motion_latents, seal=_seal(counts, motion_latents))
            with atomic_write(self.directory / _PROGRESS) as file:
                np.savez(file, **arrays)
        self.progress = done

    def clips(self) -> Iterator[list[bytes]]:
        """Yields the packets of each finished clip.

        Raises:
            InputError: if one was damaged since it was kept.
        """
        if not self.progress.clips:
            return
        with explained(self.out):
            records = read_clips(self._clips, zlib.crc32(self._read(_FACTS)))
        for index in range(self.progress.clips):
            record = next(records, None)
            if record is None:
                raise InputError(
                    f"output {self.out}: clip {index} in {self._clips} was damaged while the video was made; "
                    "give the same command again"
                )
            yield record.packets

    def finish(self) -> None:
        """Puts the assembled video in its place and removes the job.

        Raises:
            InputError: if the video cannot be put there.
        """
        with explained(self.out):
            try:
                os.replace(self.video, self._target)
            finally:  # an interrupt comes when the file is where it belongs
                if not self.video.exists():
                    self._state = _State.DONE
        self._remove_job()

    def discard(self) -> None:
        """Removes every trace of the job."""
        self._remove_job()
        self._remove_directories()

    def _remove_job(self) -> None:
        """Removes the job's own files, and its directory unless somebody else keeps a file in it."""
        with contextlib.suppress(OSError):
            self._remove(_FACTS, _CLIPS, _PROGRESS, _VIDEO, _SIGNED, _LOCK)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def _remove(self, *names: str) -> None:
        """Removes files of the job, and what a kill left of unfinished ones."""
        for name in names:
            for path in (self.directory / name, *self.directory.glob(f"{name}.*.part")):
                path.unlink(missing_ok=True)

    def _read(self, name: str) -> bytes:
        with open(self.directory / name, "rb", opener=plain_file) as file:
            return file.read()

    @property
    def _clips(self) -> Path:
        return self.directory / _CLIPS


def follow_clips(out: Path) -> Iterator[list[bytes] | None]:
    """Yields the packets of each clip of a job while it is made, and None whenever the next one is not there yet.

    Once the first clip is there, it goes on to the last one, also when the video is complete and the job is removed.

    Args:
        out: MP4 file that the video becomes, no link
    """
    directory = out.with_name(out.name + ".job")
    while True:
        with contextlib.suppress(OSError):
            checksum = zlib.crc32((directory / _FACTS).read_bytes())
            if (directory / _CLIPS).stat().st_size:
                break
        yield None
    with open(directory / _CLIPS, "rb", opener=plain_file) as file:
        end = 0
        while True:
            file.seek(end)
            record = read_clip(file, checksum)
            if record is not None:
                end, checksum = record.end, record.checksum
            yield None if record is None else record.packets


def _seal(counts: Sequence[int], latents: np.ndarray) -> int:
    """The checksum of a progress."""
    return zlib.crc32(repr((list(counts), latents.dtype.str, latents.shape)).encode() + latents.tobytes())
