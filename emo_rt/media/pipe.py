"""Sound from a pipe, read as it comes (FFmpeg through PyAV)."""

from __future__ import annotations

import os
import select
import time
import wave

import av

from emo_rt.errors import InputError


class Pipe:
    """The reading end of a pipe, as a file. It ends where the pipe ends, or when `closed` is set.

    Args:
        descriptor: file descriptor to read from
        patience: seconds without a byte after which reading gives up

    Attributes:
        closed: whether to end as if nothing more came; any thread may set it
    """

    def __init__(self, descriptor: int, patience: float) -> None:
        self.descriptor, self.patience, self.closed = descriptor, patience, False
        self._returned = b""  # bytes that are read once more

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`, as soon as there are any; none at the end.

        Raises:
            InputError: if nothing comes for `patience` seconds.
        """
        if self._returned:
            taken, self._returned = self._returned[:size], self._returned[size:]
            return taken
        deadline = time.monotonic() + self.patience
        while not self.closed:
            if select.select([self.descriptor], [], [], 0.1)[0]:
                return os.read(self.descriptor, size)
            if time.monotonic() > deadline:
                raise InputError(f"audio -: nothing came for {self.patience:g} s; is the sender still running?")
        return b""

    def give_back(self, content: bytes) -> None:
        """Makes `content` the next bytes that are read."""
        self._returned = content


class _Header:
    """The beginning of a pipe, as a file that returns as many bytes as asked for. It remembers them."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe, self.content = pipe, b""

    def read(self, size: int) -> bytes:
        start = len(self.content)
        while (missing := start + size - len(self.content)) > 0 and (data := self.pipe.read(missing)):
            self.content += data
        return self.content[start:]


def open_pipe(pipe: Pipe) -> av.container.InputContainer:
    """Opens FFmpeg's reader of a pipe.

    FFmpeg gets the samples of a WAV without their header: with it, FFmpeg would wait for the first 64 KB.

    Raises:
        av.FFmpegError: if FFmpeg knows no such format.
        InputError: if nothing comes.
    """
    header = _Header(pipe)
    try:
        with wave.open(header) as file:  # type: ignore[call-overload]
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
    except (wave.Error, EOFError):
        pipe.give_back(header.content)
        return av.open(pipe, "r")
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    codec = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}[width]
    return av.open(pipe, "r", format=codec, options={"sample_rate": str(rate), "ch_layout": layout})
