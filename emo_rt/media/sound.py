"""Reads sound at constant memory (FFmpeg through PyAV)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from emo_rt.errors import InputError, reason
from emo_rt.media.pipe import Pipe, open_pipe

#: Path that stands for the voice that comes through standard input.
STDIN = Path("-")
#: Seconds of silence after which a pipe is given up.
STALLED = 30.0
#: Sample rates that AAC, the codec of a video's sound, can have, Hz.
AAC_SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
#: Seconds of sound that are held back until the end of a file is known; more than an encoder's padding.
HELD_BACK = 0.6
#: Containers whose headers tell the length of the sound: a file that was cut short is noticed.
FORMATS_WITH_LENGTH = {"mov", "flac", "aiff", "w64", "au"}


@dataclass(frozen=True)
class SoundChunk:
    """A stretch of sound.

    Attributes:
        voice: sound for the model, mono, float32 (samples,)
        sound: sound for the video, float32 (channels, samples)
    """

    voice: np.ndarray
    sound: np.ndarray


class AudioStream:
    """The sound of a file, decoded in chunks as often as it is iterated over; memory does not grow with its length.

    It reads whatever FFmpeg decodes, also the sound of a video. `STDIN` in place of a file is live: it can be iterated
    over once, and its chunks are passed on as soon as they come.

    Args:
        path: path of the file, or `STDIN`
        sample_rate: sample rate of the voice for the model, Hz

    Attributes:
        live: whether the sound comes through a pipe
        sound_rate: sample rate of the sound for the video, Hz
        sound_channels: channels of the sound for the video: 1, or 2 for anything wider than mono

    Raises:
        InputError: here or while iterating, for a file that is missing, empty, cut short, damaged, without sound, or
            with samples that are no finite numbers; for a pipe through which nothing comes for `STALLED` seconds.
    """

    def __init__(self, path: str | Path, sample_rate: int) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.live = self.path == STDIN
        self._pipe: Pipe | None = None
        self._pipe_container: av.container.InputContainer | None = None
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
        """The number of voice samples in all; decodes the file once, and raises whatever iterating would raise."""
        return sum(len(chunk.voice) for chunk in self)

    def close(self) -> None:
        """Ends a live sound as if nothing more came; does nothing to a file."""
        if self._pipe is not None:
            self._pipe.closed = True

    @contextlib.contextmanager
    def _open(self) -> Iterator[av.container.InputContainer]:
        """The open container; an error inside the block becomes an InputError."""
        try:
            if self.live:
                if self._pipe_container is None:
                    self._pipe = Pipe(sys.stdin.fileno(), patience=STALLED)
                    self._pipe_container = open_pipe(self._pipe)
                yield self._checked_container(self._pipe_container)
            else:
                # Local files only: a playlist must not make FFmpeg fetch what it names.
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
                frame.pts = None  # gaps in a file's timestamps are no silence
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
        """The seconds of sound in a file from which `decoded` seconds came.

        Raises:
            InputError: if the header says that there are more.
        """
        names = set(container.format.name.split(","))
        cut = "wav" in names and _riff_is_cut(self.path)
        declared = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if names & FORMATS_WITH_LENGTH:
            cut = decoded < 0.98 * declared - 0.2
        if cut:
            raise InputError(f"audio {self.path}: cut short after {decoded:.1f} s; give the complete file")
        # An AAC encoder pads the last frames; the header of an MP4 says how much of them is sound.
        return declared if "mov" in names and 0 < decoded - declared < HELD_BACK / 2 else decoded


class _Tail:
    """Resampled sound whose last seconds are held back until its end is known.

    Args:
        channels: number of channels
        rate: sample rate, Hz
        held_back: seconds that are held back
    """

    def __init__(self, channels: int, rate: int, held_back: float) -> None:
        self.rate, self.held_back = rate, held_back
        self.taken = 0  # samples
        self.held = np.zeros((channels, 0), np.float32)

    def add(self, frames: list[av.AudioFrame]) -> None:
        """Appends planar float frames."""
        self.held = np.concatenate([self.held, *(frame.to_ndarray() for frame in frames)], axis=1)

    def take(self, count: int | None = None) -> np.ndarray:
        """The next `count` samples, or all that need not be held back: float32 (channels, samples)."""
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
    """Whether a WAV file is shorter than its header says; FFmpeg reads what is there without a warning."""
    with open(path, "rb") as file:
        header = file.read(8)
    if len(header) < 8 or header[:4] != b"RIFF":
        return False
    size = int.from_bytes(header[4:8], "little")
    # A recorder that streams does not know the size, and writes a huge one.
    return size < 0x7FFF0000 and path.stat().st_size + 64 < size + 8  # some writers miscount by a few bytes


def read_voice(path: str | Path, sample_rate: int) -> np.ndarray:
    """Reads all of a file's sound at once, for training; the runtime streams it.

    Args:
        path: path of the file
        sample_rate: sample rate of the result, Hz

    Returns:
        the sound, mono, float32 (samples,)

    Raises:
        InputError: see `AudioStream`.
    """
    return np.concatenate([chunk.voice for chunk in AudioStream(path, sample_rate)])
