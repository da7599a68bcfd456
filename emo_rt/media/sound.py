"""Sound in, at constant memory (FFmpeg through PyAV)."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from emo_rt.errors import InputError, reason

#: The voice that comes through a pipe, and the seconds of silence of a pipe after which nobody waits any longer.
STDIN = Path("-")
STALLED = 30.0
#: Sample rates that a video's sound can have (those of AAC), in Hz.
AAC_SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
HELD_BACK = 0.6  # seconds of sound; more than what an encoder adds at the end
# Containers whose headers tell the length, so that a file cut short is noticed.
FORMATS_WITH_LENGTH = {"mov", "flac", "aiff", "w64", "au"}


@dataclass(frozen=True)
class SoundChunk:
    """A stretch of sound: `voice` (samples,) for the model, `sound` (channels, samples) for the video; float32."""

    voice: np.ndarray
    sound: np.ndarray


class AudioStream:
    """The sound of a file, decoded in chunks as often as it is iterated over; memory does not grow with its length.

    Takes whatever FFmpeg decodes, also the sound of a video. `voice` comes at `sample_rate` Hz, mono; `sound` at
    `sound_rate` Hz in `sound_channels` (1, or 2 for anything wider).

    STDIN in a file's place is read while it comes, and only once (`live`): chunks are passed on as soon as they are
    there. `close` ends it early.

    Raises:
        InputError: here or while iterating, for a file that is missing, empty, cut short, damaged, without sound, or
            with samples that are no finite numbers; for a pipe that gives nothing for STALLED seconds.
    """

    def __init__(self, path: str | Path, sample_rate: int) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.live = self.path == STDIN
        self._pipe: _Pipe | None = None
        self._piped: av.container.InputContainer | None = None
        if not self.live:
            if not os.path.isfile(self.path):
                raise InputError(f"audio {self.path}: no such file")
            if self.path.stat().st_size == 0:
                raise InputError(f"audio {self.path}: the file is empty")
        with self._open() as container:
            context = container.streams.audio[0].codec_context
            self.sound_rate = context.sample_rate if context.sample_rate in AAC_SAMPLE_RATES else 48000
            self.sound_channels = min(max(context.channels, 1), 2)

    def voice_samples(self) -> int:
        """Decodes all of it once: the number of voice samples that iterating gives, or the error that it raises."""
        return sum(len(chunk.voice) for chunk in self)

    def close(self) -> None:
        """Ends a pipe as if nothing more came."""
        if self._pipe is not None:
            self._pipe.closed = True

    @contextlib.contextmanager
    def _open(self) -> Iterator[av.container.InputContainer]:
        """The open file, with whatever goes wrong inside of the block turned into an InputError."""
        try:
            if self.live:
                if self._piped is None:
                    self._pipe = _Pipe(sys.stdin.fileno())
                    self._piped = _open_pipe(self._pipe)
                yield self._checked_container(self._piped)
            else:
                # Nothing but local files: a playlist must not make us fetch what it names.
                with av.open(str(self.path.resolve()), options={"protocol_whitelist": "file"}) as container:
                    yield self._checked_container(container)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"audio {self.path}: not sound that can be read, or cut short ({reason(error)}); give a complete "
                "WAV, MP3, OGG, FLAC or M4A file"
            ) from error

    def _checked_container(self, container: av.container.InputContainer) -> av.container.InputContainer:
        if not container.streams.audio:
            raise InputError(f"audio {self.path}: it has no sound; give a file with speech")
        if container.streams.audio[0].codec_context is None:
            raise InputError(f"audio {self.path}: its sound is of an unknown kind; convert it to WAV")
        return container

    def __iter__(self) -> Iterator[SoundChunk]:
        with self._open() as container:
            stream = container.streams.audio[0]
            layout = "mono" if self.sound_channels == 1 else "stereo"
            to_voice = av.AudioResampler(format="fltp", layout="mono", rate=self.sample_rate)
            to_sound = av.AudioResampler(format="fltp", layout=layout, rate=self.sound_rate)
            held_back = 0.0 if self.live else HELD_BACK
            voice = _Tail(1, self.sample_rate, held_back)
            sound = _Tail(self.sound_channels, self.sound_rate, held_back)
            decoded = rate = 0
            for frame in container.decode(stream):
                frame.pts = None  # gaps in the clock of a file are not silence
                decoded, rate = decoded + frame.samples, frame.sample_rate
                voice.add(to_voice.resample(frame))
                sound.add(to_sound.resample(frame))
                yield self._checked(voice.take(), sound.take())
            if not decoded:
                raise InputError(f"audio {self.path}: it holds no sound; give a file with speech")
            seconds = decoded / rate if self.live else self._length(container, stream, decoded / rate)
            voice.add(to_voice.resample(None))
            sound.add(to_sound.resample(None))
            yield self._checked(voice.finish(seconds), sound.finish(seconds))

    def _checked(self, voice: np.ndarray, sound: np.ndarray) -> SoundChunk:
        if not (np.isfinite(sound).all() and np.isfinite(voice).all()):
            raise InputError(f"audio {self.path}: it holds samples that are no finite numbers (NaN); export it again")
        return SoundChunk(voice[0], sound)

    def _length(self, container: av.container.InputContainer, stream: av.AudioStream, decoded: float) -> float:
        """Seconds of sound in a file that gave `decoded` seconds; an InputError if its header says more."""
        names = set(container.format.name.split(","))
        cut = "wav" in names and _riff_is_cut(self.path)
        declared = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if names & FORMATS_WITH_LENGTH:
            cut = decoded < 0.98 * declared - 0.2
        if cut:
            raise InputError(f"audio {self.path}: cut short after {decoded:.1f} s; give the complete file")
        # AAC fills its last frames up; only the header of an MP4 says how much of them is sound.
        return declared if "mov" in names and 0 < decoded - declared < HELD_BACK / 2 else decoded


class _Pipe:
    """What comes through a pipe, as a file to read from; ends where the pipe does, or when it is `closed`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.closed = descriptor, False
        self.again = b""  # comes once more

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`, as soon as there are any; none at the end."""
        if self.again:
            taken, self.again = self.again[:size], self.again[size:]
            return taken
        deadline = time.monotonic() + STALLED
        while not self.closed:
            if select.select([self.descriptor], [], [], 0.1)[0]:
                return os.read(self.descriptor, size)
            if time.monotonic() > deadline:
                raise InputError(f"audio -: nothing came for {STALLED:g} s; is what sends it still running?")
        return b""


class _Header:
    """The beginning of a pipe, as a file that gives as many bytes as it is asked for; remembers them."""

    def __init__(self, pipe: _Pipe) -> None:
        self.pipe, self.content = pipe, b""

    def read(self, size: int) -> bytes:
        start = len(self.content)
        while (missing := start + size - len(self.content)) > 0 and (data := self.pipe.read(missing)):
            self.content += data
        return self.content[start:]


def _open_pipe(pipe: _Pipe) -> av.container.InputContainer:
    """FFmpeg's reader of a pipe. It gets PCM without the WAV around it: of that it would wait for the first 64 KB."""
    header = _Header(pipe)
    try:
        with wave.open(header) as file:  # type: ignore[call-overload]
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
    except (wave.Error, EOFError):
        pipe.again = header.content
        return av.open(pipe, "r")
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    codec = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}[width]
    return av.open(pipe, "r", format=codec, options={"sample_rate": str(rate), "ch_layout": layout})


class _Tail:
    """Resampled sound of which the last seconds are held back until it is known where it ends."""

    def __init__(self, channels: int, rate: int, held_back: float) -> None:
        self.rate, self.held_back = rate, held_back
        self.taken = 0
        self.held = np.zeros((channels, 0), np.float32)

    def add(self, frames: list[av.AudioFrame]) -> None:
        """Adds planar float frames."""
        self.held = np.concatenate([self.held, *(frame.to_ndarray() for frame in frames)], axis=1)

    def take(self, count: int | None = None) -> np.ndarray:
        """What need not be held back (or the next `count` samples): float32 (channels, samples)."""
        if count is None:
            count = max(self.held.shape[1] - int(self.held_back * self.rate), 0)
        taken, self.held = self.held[:, :count], self.held[:, count:]
        self.taken += taken.shape[1]
        return taken

    def finish(self, seconds: float) -> np.ndarray:
        """The rest of a sound that is `seconds` long in all, exact to the sample (resamplers are not)."""
        wanted = max(round(seconds * self.rate) - self.taken, 0)
        rest = self.take(wanted)
        return np.pad(rest, ((0, 0), (0, wanted - rest.shape[1])))


def _riff_is_cut(path: Path) -> bool:
    """Whether a WAV file is shorter than its header says (FFmpeg reads what there is and keeps silent)."""
    with open(path, "rb") as file:
        header = file.read(8)
    if len(header) < 8 or header[:4] != b"RIFF":
        return False
    size = int.from_bytes(header[4:8], "little")
    # A recorder that streams does not know the size and writes a huge one.
    return size < 0x7FFF0000 and path.stat().st_size + 64 < size + 8  # some writers miscount by a few


def read_voice(path: str | Path, sample_rate: int) -> np.ndarray:
    """All of a file's sound, mono: float32 (samples,). For training; the runtime streams. Raises as `AudioStream`."""
    return np.concatenate([chunk.voice for chunk in AudioStream(path, sample_rate)])
