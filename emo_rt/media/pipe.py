"""Sound from a pipe, read as it comes (FFmpeg through PyAV)."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import select
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path
from typing import BinaryIO

import av

from emo_rt.errors import InputError
from emo_rt.media.sound_file import PIPE_OPTIONS, check_tags

#: Path that stands for the voice that comes through standard input.
STDIN = Path("-")
#: Bytes of an M4A that are kept on the disk, at most, where its index comes last.
LARGEST_KEPT = 1 << 30

#: Size of the data in a WAV from which on it is unknown: recorders that stream write a huge one, or none.
_UNKNOWN_SIZE = 0x7FFF0000
#: How a named pipe is opened; Windows does not have the flag.
_NOT_WAITING = getattr(os, "O_NONBLOCK", 0)
#: Bytes at the beginning of an M4A in which its index is looked for.
_LOOKED_AT = 1 << 20


class Pipe:
    """The reading end of a pipe, as a file. It ends where the pipe ends, or when `closed` is set.

    Args:
        descriptor: file descriptor to read from
        patience: seconds without a byte after which reading gives up
        name: name of the pipe, for the message

    Attributes:
        closed: whether to end as if nothing more came; any thread may set it
        left: number of bytes after which it ends; None to read all
    """

    def __init__(self, descriptor: int, patience: float, name: str = "-") -> None:
        self.descriptor, self.patience, self.name, self.closed = descriptor, patience, name, False
        self.left: int | None = None
        self.file: BinaryIO | io.RawIOBase | None = None  # what stays open as long as the pipe
        self._returned = b""  # bytes that are read once more
        self._thread: _ReadingThread | None = None  # where the system cannot say whether there is something to read

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`, as soon as there are any; none at the end.

        Raises:
            InputError: if nothing comes for `patience` seconds.
        """
        if self._returned:
            taken, self._returned = self._returned[:size], self._returned[size:]
            return taken
        if self.left is not None:
            size = min(size, self.left)
        content = self._next(size) if size else b""
        if self.left is not None:
            self.left -= len(content)
        return content

    def _next(self, size: int) -> bytes:
        deadline = time.monotonic() + self.patience
        while not self.closed:
            if (content := self._soon(size)) is not None:
                return content
            if time.monotonic() > deadline:
                raise InputError(
                    f"audio {self.name}: nothing came for {self.patience:g} s; is the sender still running?"
                )
        return b""

    def _soon(self, size: int) -> bytes | None:
        """The next bytes, or none at the end; None if nothing comes within a moment."""
        if self._thread is None:
            try:
                if select.select([self.descriptor], [], [], 0.1)[0]:
                    return os.read(self.descriptor, size)
                return None
            except BlockingIOError:  # a named pipe whose bytes another reader took
                return None
            except (OSError, ValueError):  # Windows selects sockets alone, others no descriptor above 1023
                self._thread = _ReadingThread(self)
        return self._thread.read(size, 0.1)

    def give_back(self, content: bytes) -> None:
        """Makes `content` the next bytes that are read."""
        self._returned = content


class _ReadingThread:
    """Reads a pipe in a thread of its own, a little ahead: it may wait there as long as nothing comes."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._ready: queue.Queue[bytes | OSError] = queue.Queue(4)
        self._rest = b""
        threading.Thread(target=self._work, name="pipe", daemon=True).start()

    def _work(self) -> None:
        content: bytes | OSError = b"begin"
        while isinstance(content, bytes) and content and not self._pipe.closed:
            try:
                content = os.read(self._pipe.descriptor, 1 << 16)
            except BlockingIOError:
                time.sleep(0.1)
                continue
            except OSError as error:
                content = error
            while not self._pipe.closed:
                with contextlib.suppress(queue.Full):
                    self._ready.put(content, timeout=0.1)
                    break

    def read(self, size: int, seconds: float) -> bytes | None:
        """The next bytes, at most `size`, or none at the end; None if nothing comes for some seconds.

        Raises:
            OSError: if the pipe cannot be read.
        """
        if not self._rest:
            try:
                content = self._ready.get(timeout=seconds)
            except queue.Empty:
                return None
            if isinstance(content, OSError):
                raise content
            self._rest = content
            if not content:
                self._ready.put(content)  # the end stays the end
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class _Header:
    """The beginning of a pipe, as a file that returns as many bytes as asked for. It remembers them."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe, self.content = pipe, b""

    def read(self, size: int) -> bytes:
        start = len(self.content)
        while (missing := start + size - len(self.content)) > 0 and (data := self.pipe.read(missing)):
            self.content += data
        return self.content[start:]


def find_pipe(path: Path, patience: float) -> Pipe:
    """The pipe of a name, or of standard input.

    Args:
        path: `STDIN`, or a named pipe
        patience: seconds without a byte after which reading gives up

    Raises:
        InputError: if standard input is closed.
        OSError: if the pipe cannot be opened.
    """
    if path != STDIN:
        # Without the flag, opening would wait for a sender for ever.
        file = open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _NOT_WAITING))  # noqa: SIM115
        pipe = Pipe(file.fileno(), patience, str(path))
        pipe.file = file
        return pipe
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("audio -: standard input is closed; send sound through a pipe, or give a file")
    return Pipe(sys.stdin.fileno(), patience)


def open_pipe(pipe: Pipe) -> av.container.InputContainer:
    """Opens FFmpeg's reader of a pipe.

    FFmpeg gets the samples of a WAV without their header: with it, FFmpeg would wait for the first 64 KB. An M4A whose
    index comes last cannot be played as it comes: it is read to its end.

    Raises:
        av.FFmpegError: if FFmpeg knows no such format.
        InputError: if nothing comes, or an M4A is too large to be kept.
    """
    header = _Header(pipe)
    try:
        with wave.open(header) as file:  # type: ignore[call-overload]
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
            size = file.getnframes() * width * channels
    except (wave.Error, EOFError):
        width = 0
    codec = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}.get(width)
    if codec is None:
        if header.content[:4] in (b"RIFF", b"RIFX", b"RF64"):
            header.read(1 << 16)  # as much as FFmpeg waits for
            check_tags(io.BytesIO(header.content), pipe.name)
        index_is_last = _index_is_last(header)
        pipe.give_back(header.content)
        return (
            _open_whole(pipe) if index_is_last else av.open(pipe, "r", options=PIPE_OPTIONS, metadata_errors="ignore")
        )
    pipe.left = size if 0 < size < _UNKNOWN_SIZE - 64 else None
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    options = {"sample_rate": str(rate), "ch_layout": layout, "protocol_whitelist": "none"}
    return av.open(pipe, "r", format=codec, options=options)


def _index_is_last(header: _Header) -> bool:
    """Whether a pipe brings an MP4, such as an M4A, whose sound comes before its index."""
    if len(header.content) < 12:
        header.read(12 - len(header.content))
    if header.content[4:8] not in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return False
    start = 0
    while True:
        header.read(max(start + 16 - len(header.content), 0))
        size, kind = int.from_bytes(header.content[start : start + 4], "big"), header.content[start + 4 : start + 8]
        if kind in (b"moov", b"moof") or len(kind) < 4:
            return False
        if kind == b"mdat" or size < 8 or start + size > _LOOKED_AT:
            return True
        start += size


def _open_whole(pipe: Pipe) -> av.container.InputContainer:
    """Reads a pipe to its end, and opens what came."""
    kept = tempfile.SpooledTemporaryFile(1 << 24)  # noqa: SIM115  # it lives as long as the container
    while content := pipe.read(1 << 16):
        kept.write(content)
        if kept.tell() > LARGEST_KEPT:
            raise InputError(
                f"audio {pipe.name}: an M4A whose index comes after {LARGEST_KEPT >> 30} GiB; save it as a file"
            )
    kept.seek(0)
    return av.open(kept, "r", options=PIPE_OPTIONS, metadata_errors="ignore")
