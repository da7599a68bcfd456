"""Sound that a client sends in chunks, decoded as it comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import av
import numpy as np

from emo_rt.errors import InputError, reason

#: Sample rate to which Opus is decoded, Hz.
OPUS_RATE = 48000
#: The containers of Opus, and FFmpeg's names of them.
CONTAINERS = {"ogg_opus": "ogg", "webm_opus": "matroska"}
#: Bytes that wait for a decoder at most; nobody who speaks is so far ahead.
_MOST_BYTES = 8 * 2**20

TakesSound = Callable[[np.ndarray], None]


class PcmSound:
    """Samples as they are: mono, signed 16 bits, little-endian.

    Args:
        take: called with mono sound, float32 (samples,), -1 to 1
    """

    def __init__(self, take: TakesSound) -> None:
        self._take, self._rest = take, b""

    def add(self, data: bytes) -> None:
        """Takes a chunk of any length."""
        data = self._rest + data
        whole = len(data) // 2 * 2
        self._rest = data[whole:]
        self._take(np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768)

    def close(self) -> None:
        """Ends the sound."""


class OpusSound:
    """Opus in a container, such as browsers record it; decoded in a thread.

    Args:
        name: one of `CONTAINERS`
        take: called in that thread with mono sound at `OPUS_RATE`, float32 (samples,)

    Raises:
        InputError: from `add` and `close`, if it is no such container.
    """

    def __init__(self, name: str, take: TakesSound) -> None:
        self.name = name
        self._take = take
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._ended = False
        self._error: InputError | None = None
        self._thread = threading.Thread(target=self._decode, name="opus", daemon=True)
        self._thread.start()

    def add(self, data: bytes) -> None:
        """Takes a chunk of any length."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._chunks.append(data)
            self._size += len(data)
            if self._size > _MOST_BYTES:
                raise InputError("audio: more comes than can be decoded; send it as it is spoken")
            self._changed.notify()

    def close(self) -> None:
        """Ends the sound, and waits until all of it is decoded."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def read(self, size: int) -> bytes:
        """What FFmpeg reads: at most `size` bytes, as soon as there are any; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended)
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
                chunk = chunk[:size]
            self._size -= len(chunk)
            return chunk

    def _decode(self) -> None:
        options = {"fflags": "nobuffer", "probesize": "64", "analyzeduration": "0"}
        try:
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=OPUS_RATE)
            with av.open(self, "r", format=CONTAINERS[self.name], options=options) as container:
                stream = next(iter(container.streams.audio), None)
                if stream is None or stream.codec_context.name not in ("opus", "libopus"):
                    raise InputError(f"audio: is no Opus in {self.name}; send what `audio` of the first message says")
                for frame in container.decode(stream):
                    frame.pts = None
                    for part in resampler.resample(frame):
                        self._take(part.to_ndarray()[0])
        except InputError as error:
            self._error = error
        except (av.FFmpegError, OSError, ValueError) as error:
            self._error = InputError(f"audio: is no {self.name} that can be read ({reason(error)})")


def incoming_sound(name: str, take: TakesSound) -> PcmSound | OpusSound:
    """The decoder of `pcm_s16le` or of one of `CONTAINERS`; both take chunks with `add` and end with `close`."""
    return PcmSound(take) if name == "pcm_s16le" else OpusSound(name, take)
