"""The voice that a live face has still to say, in video frames, as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.audio import samples_per_frame
from emo_rt.errors import InputError
from emo_rt.media.inputs import check_voice

#: Root mean square of a frame of voice below which nobody speaks: 48 dB below the loudest tone.
SILENT = 0.004
#: Seconds of silence before all resampled voice: a resampler holds less than that back, and so no frame waits for it.
_HEAD_START = 0.004


@dataclass(frozen=True)
class VoiceFrame:
    """The sound of one video frame.

    Attributes:
        voice: sound for the model, mono, float32 (samples_per_frame,)
        sound: sound for the listener, mono, float32 (samples of a frame at `VoiceQueue.sound_rate`,)
        end: position of its end in all sound that was pushed, samples of `sound`; 0 for silence that nobody pushed
        silent: whether nobody speaks in it
    """

    voice: np.ndarray
    sound: np.ndarray
    end: int = 0
    silent: bool = True


class VoiceQueue:
    """Cuts sound into frames. A frame leaves it when it is planned or shown.

    Args:
        config: facts of the model
        sound_rate: sample rate of the sound that is pushed, Hz; a multiple of the frame rate

    Attributes:
        sound_rate: the same
        pushed: number of samples that were pushed

    Raises:
        InputError: for a sample rate that the frame rate does not divide.
    """

    def __init__(self, config: RuntimeConfig, sound_rate: int) -> None:
        self.sound_rate, self.pushed = sound_rate, 0
        try:
            if sound_rate not in range(8000, 192_001):
                raise ValueError("it is out of range")
            self._sound_samples = samples_per_frame(sound_rate, config.frames_per_second)
        except ValueError as error:
            raise InputError(f"sample rate is {sound_rate}: {error}; choose 16000, 24000 or 48000") from error
        self._voice_samples, self._voice_rate = config.samples_per_frame, config.sample_rate
        self._frames: deque[VoiceFrame] = deque()
        self._start()

    def _start(self) -> None:
        """Begins a stretch of sound: of the one before it, the rest that fills no frame is dropped."""
        self._sound, self._cut_until = np.zeros(0, np.float32), self.pushed
        self._resampler = None
        if self.sound_rate != self._voice_rate:
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=self._voice_rate)
        self._voice = np.zeros(round(_HEAD_START * self._voice_rate) if self._resampler else 0, np.float32)

    def push(self, sound: np.ndarray) -> None:
        """Appends sound, mono, floating-point (samples,), -1 to 1.

        Raises:
            InputError: for anything else.
        """
        check_voice(sound)
        if not len(sound):
            return
        sound = sound.astype(np.float32)
        self.pushed += len(sound)
        self._sound = np.concatenate([self._sound, sound])
        self._voice = np.concatenate([self._voice, self._resampled(sound)])
        self._cut()

    def _resampled(self, sound: np.ndarray) -> np.ndarray:
        if self._resampler is None:
            return sound
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
        frame.sample_rate = self.sound_rate
        return np.concatenate(
            [np.zeros(0, np.float32), *(part.to_ndarray()[0] for part in self._resampler.resample(frame))]
        )

    def _cut(self) -> None:
        """Cuts off the frames that are complete."""
        while len(self._sound) >= self._sound_samples and len(self._voice) >= self._voice_samples:
            voice, self._voice = np.split(self._voice, [self._voice_samples])
            sound, self._sound = np.split(self._sound, [self._sound_samples])
            self._cut_until += len(sound)
            silent = float(np.sqrt(np.mean(np.square(voice)))) < SILENT
            self._frames.append(VoiceFrame(voice, sound, min(self._cut_until, self.pushed), silent))

    def complete(self) -> None:
        """Fills up a frame that is under way with silence."""
        if len(self._sound):
            self._sound = np.pad(self._sound, (0, self._sound_samples - len(self._sound)))
            self._voice = np.pad(self._voice, (0, max(self._voice_samples - len(self._voice), 0)))
            self._cut()
        self._start()

    def silence(self) -> VoiceFrame:
        """A frame of silence."""
        return VoiceFrame(np.zeros(self._voice_samples, np.float32), np.zeros(self._sound_samples, np.float32))

    def pad(self, frames: int) -> None:
        """Appends frames of silence."""
        self.complete()
        self._frames.extend(self.silence() for _ in range(frames))

    def next(self) -> VoiceFrame:
        """Takes the first frame; silence if there is none."""
        return self._frames.popleft() if self._frames else self.silence()

    def first_loud(self) -> int | None:
        """The number of the first frame in which somebody speaks, from 0; None if there is none."""
        return next((index for index, frame in enumerate(self._frames) if not frame.silent), None)

    def clear(self) -> None:
        """Drops everything."""
        self._frames.clear()
        self._start()

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[VoiceFrame]:
        return iter(self._frames)
