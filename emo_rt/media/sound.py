"""Reads sound at constant memory (FFmpeg through PyAV)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from emo_rt.errors import InputError, reason
from emo_rt.media import sound_file
from emo_rt.media.inputs import check_file, is_pipe
from emo_rt.media.pipe import STDIN, Pipe, find_pipe, open_pipe
from emo_rt.media.resampling import Cancellation, Clock, Resampled

#: Seconds of silence after which a pipe is given up.
STALLED = 30.0
#: Sample rates that AAC, the codec of a video's sound, can have, Hz.
AAC_SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
#: Seconds of sound that are held back until the end of a file is known; more than an encoder's padding.
HELD_BACK = 0.6
#: Seconds of a live voice that is silent, while its sound is not, after which a line says so.
CANCELLED = 3.0


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

    It reads most of what FFmpeg decodes, also the sound of a video. A pipe in place of a file is live: it can be
    iterated over once, and its chunks are passed on as soon as they come.

    Damaged parts are left out. Pauses in the times of a file are silence. Both voice and sound go on where the sample
    rate or the channels change.

    Args:
        path: path of a file or a named pipe, or `STDIN`
        sample_rate: sample rate of the voice for the model, Hz
        track: number of the track among those of sound, from 1; None for the file's default
        max_seconds: seconds after which the sound ends, whatever follows; None to read all of it
        say: called with a line of what was left out, seems to be missing, or is heard by nobody

    Attributes:
        live: whether the sound comes through a pipe
        sound_rate: sample rate of the sound for the video, Hz
        sound_channels: channels of the sound for the video: 1, or 2 for anything wider than mono

    Raises:
        InputError: here or while iterating, for a file that is missing, empty, cut short, of a format that is not
            read, without sound or such a track, with a sample rate that no recorder has, or with samples that are no
            finite numbers; for a pipe through which nothing comes for `STALLED` seconds.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        *,
        track: int | None = None,
        max_seconds: float | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = Path(path)
        self.sample_rate, self.track, self.max_seconds = sample_rate, track, max_seconds
        if not isinstance(sample_rate, int) or sample_rate < 1:
            raise InputError(f"sample rate is {sample_rate!r}: give a whole number of Hz, such as 16000")
        self._say, self._said = say, set[str]()
        self.live = self.path == STDIN or is_pipe(self.path)
        self._pipe: Pipe | None = None
        self._pipe_container: av.container.InputContainer | None = None
        if not self.live:
            check_file(self.path, "audio")
        with self._open() as (container, stream, number):
            context = stream.codec_context
            self.sound_rate = context.sample_rate if context.sample_rate in AAC_SAMPLE_RATES else 48000
            self.sound_channels = min(max(context.channels, 1), 2)
            if len(container.streams.audio) > 1:
                hint = "" if track else ", the default; choose another with --audio-track N, or track=N in Python"
                self._say_once(f"track {number} of {len(container.streams.audio)}{hint}")

    def voice_samples(self) -> int:
        """The number of voice samples in all; decodes the file once, and raises whatever iterating would raise."""
        return sum(len(chunk.voice) for chunk in self)

    def close(self) -> None:
        """Ends a live sound as if nothing more came; does nothing to a file."""
        if self._pipe is not None:
            self._pipe.closed = True

    def _say_once(self, line: str) -> None:
        """Says a line of this sound, but not once more when it is read again."""
        if line not in self._said:
            self._said.add(line)
            self._say(f"audio {self.path}: {line}")

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[av.container.InputContainer, av.AudioStream, int]]:
        """The open container, its track, and the track's number; an error inside the block becomes an InputError."""
        try:
            if self.live:
                if self._pipe_container is None:
                    self._pipe = find_pipe(self.path, STALLED)
                    self._pipe_container = open_pipe(self._pipe)
                yield self._pipe_container, *self._found(self._pipe_container)
            else:
                with open(self.path, "rb") as file:
                    sound_file.check_tags(file, str(self.path))
                name = str(self.path.absolute())  # never an address
                with av.open(name, options=sound_file.FILE_OPTIONS, metadata_errors="ignore") as container:
                    yield container, *self._found(container)
        except (av.FFmpegError, OSError, ValueError) as error:
            why = "it is of no format that is read" if isinstance(error, av.ArgumentError) else reason(error)
            raise InputError(
                f"audio {self.path}: holds no sound that can be read, or is cut short ({why}); give a complete "
                "WAV, MP3, OGG, FLAC or M4A file"
            ) from error

    def _found(self, container: av.container.InputContainer) -> tuple[av.AudioStream, int]:
        return sound_file.audio_track(container, self.track, str(self.path))

    def __iter__(self) -> Iterator[SoundChunk]:
        if self.max_seconds is None:
            yield from self._chunks()
            return
        voice, sound = (_samples(self.max_seconds, rate) for rate in (self.sample_rate, self.sound_rate))
        with contextlib.closing(self._chunks()) as chunks:
            for chunk in chunks:
                cut = SoundChunk(chunk.voice[:voice], chunk.sound[:, :sound])
                voice, sound = voice - len(cut.voice), sound - cut.sound.shape[1]
                yield cut
                if not (voice or sound):
                    return

    def _chunks(self) -> Generator[SoundChunk]:
        """All of the sound."""
        with self._open() as (container, stream, _):
            held_back = 0.0 if self.live else HELD_BACK
            voice = Resampled("mono", self.sample_rate, held_back)
            sound = Resampled("mono" if self.sound_channels == 1 else "stereo", self.sound_rate, held_back)
            cancellation = Cancellation(self.sample_rate)
            names = sound_file.format_names(container)
            clock = Clock(bool(names & sound_file.FORMATS_WITH_CLOCK))
            damage = _Damage()
            before, kind = 0.0, None  # seconds before this stretch, and what its frames are like
            decoded = rate = 0
            for frame in damage.frames(container, stream):
                pause = clock.pause_before(frame, exact="flac" in names or damage.just_now)
                if kind is not None and (pause or kind != _kind(frame)):
                    before, decoded = before + decoded / rate, 0
                    voice.break_off(before)
                    sound.break_off(before)
                while pause > 0:  # a second at a time, so that memory does not grow
                    before, pause = before + min(pause, 1.0), pause - 1.0
                    voice.extend(before)
                    sound.extend(before)
                    yield self._checked(voice.take(), sound.take(), cancellation)
                if kind != _kind(frame):
                    kind = _kind(frame)
                    sound_file.check_rate(frame.sample_rate, str(self.path))
                frame.pts = None  # resamplers would judge it by themselves
                decoded, rate = decoded + frame.samples, frame.sample_rate
                voice.add(frame)
                sound.add(frame)
                yield self._checked(voice.take(), sound.take(), cancellation)
            if kind is None:
                raise InputError(f"audio {self.path}: it holds no sound{damage.reason}; give a file with speech")
            seconds = before + decoded / rate if before else decoded / rate
            if not self.live:
                seconds = self._length(container, stream, seconds)
            if damage:
                self._say_once(str(damage))
            if clock.pauses:
                self._say_once(f"it is silent for {clock.pauses:.2f} s that its clock leaves out")
            yield self._checked(voice.finish(seconds), sound.finish(seconds), cancellation)
            self._say_if_cancelled(cancellation, 0.0)

    def _checked(self, voice: np.ndarray, sound: np.ndarray, cancellation: Cancellation) -> SoundChunk:
        if not (np.isfinite(sound).all() and np.isfinite(voice).all()):
            raise InputError(f"audio {self.path}: it holds samples that are no finite numbers (NaN); export it again")
        cancellation.add(voice[0], sound)
        self._say_if_cancelled(cancellation, CANCELLED)
        return SoundChunk(voice[0], sound)

    def _say_if_cancelled(self, cancellation: Cancellation, least: float) -> None:
        """Says that the voice is silent where the sound is not, if it is for `least` seconds."""
        if cancellation.cancelled <= least or cancellation.cancelled < min(1.0, cancellation.heard / 2):
            return
        why = (
            "its channels cancel each other out; give one channel alone"
            if self.sound_channels > 1
            else "nothing in it is as low as a voice"
        )
        self._say_once(f"the face does not speak where it plays, since the voice is silent there: {why}")

    def _length(self, container: av.container.InputContainer, stream: av.AudioStream, seconds: float) -> float:
        """The seconds of sound in a file from which `seconds` came.

        Raises:
            InputError: if the file ends before its header says.
        """
        names = sound_file.format_names(container)
        declared = sound_file.declared_seconds(self.path, container, stream)
        cut, missing = sound_file.is_cut(self.path, container), seconds < 0.98 * declared - 0.2
        if names & {"flac", "aiff", "w64", "au"}:
            cut = missing
        if (
            cut
            and names & sound_file.FORMATS_WITH_LENGTH
            and not ("mov" in names and sound_file.is_fragmented(self.path))
        ):
            raise InputError(f"audio {self.path}: cut short after {seconds:.1f} s; give the complete file")
        if cut or (missing and "mov" not in names):  # the last frame of an MP4 may last as long as it likes
            of = f" of {declared:.1f} s" if missing else ""
            self._say_once(f"may be cut short: {seconds:.1f} s{of} could be read")
        # An AAC encoder pads the last frames; the header of an MP4 says how much of them is sound.
        return declared if "mov" in names and 0 < seconds - declared < HELD_BACK / 2 else seconds


def _samples(seconds: float, rate: int) -> int:
    """The number of samples of some seconds: at least 1, and no more than anybody records."""
    return max(round(min(seconds, 1e9) * rate), 1)


def _kind(frame: av.AudioFrame) -> tuple[Any, ...]:
    """What a resampler is made for."""
    return frame.sample_rate, frame.layout.name, frame.format.name


class _Damage:
    """Decodes a track, and counts what cannot be decoded; `str(damage)` is a line about it."""

    def __init__(self) -> None:
        self.packets = self.bytes = 0
        self.ended: Exception | None = None  # what ended the file before its time
        self.just_now = False  # whether something is left out before the frame that was decoded last
        self._last: Exception | None = None

    def frames(self, container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
        """The frames that can be decoded."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, IndexError) as error:  # PyAV's own mistake where a track appears on the way
                self.ended = error if isinstance(error, av.FFmpegError) else None
                with contextlib.suppress(av.FFmpegError):
                    yield from stream.decode(None)
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                self.packets, self.bytes, self._last = self.packets + 1, self.bytes + packet.size, error
                self.just_now = True
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame):
                    yield frame
                    self.just_now = False

    def __bool__(self) -> bool:
        return bool(self.packets or self.ended)

    def __str__(self) -> str:
        parts = [f"{self.packets} damaged part{'s'[: self.packets != 1]} of {self.bytes} bytes in all left out"]
        end = [f"the rest cannot be read ({reason(self.ended)})"] if self.ended else []
        return "; ".join([*(parts if self.packets else []), *end])

    @property
    def reason(self) -> str:
        """Why there is nothing at all, in brackets."""
        error = self._last or self.ended
        return f" that can be read ({reason(error)})" if error else ""


def read_voice(
    path: str | Path,
    sample_rate: int,
    *,
    track: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """Reads all of a file's sound at once, for training; the runtime streams it.

    Args:
        path: path of the file
        sample_rate: sample rate of the result, Hz
        track: number of the track among those of sound, from 1; None for the file's default
        say: called with a line of what was left out, seems to be missing, or is heard by nobody

    Returns:
        the sound, mono, float32 (samples,)

    Raises:
        InputError: see `AudioStream`.
    """
    return np.concatenate([chunk.voice for chunk in AudioStream(path, sample_rate, track=track, say=say)])
