"""A sound at another rate, exact to the sample in length, whatever changes on the way."""

from __future__ import annotations

import av
import numpy as np

#: Seconds by which the clock of a file may differ from the sound that came, before that is a pause: most are written
#: by recorders whose clocks jitter.
CLOCK_TOLERANCE = 0.1
#: The same where the times are exact, or where a part that could not be decoded was left out.
EXACT_TOLERANCE = 0.01
#: Seconds of pauses in one file that its clock is believed: a damaged clock must not make hours of silence.
LONGEST_PAUSES = 3600.0


class Resampled:
    """Resampled sound whose last seconds are held back until its end is known.

    Args:
        layout: `mono` or `stereo`
        rate: sample rate, Hz
        held_back: seconds that are held back
    """

    def __init__(self, layout: str, rate: int, held_back: float) -> None:
        self.layout, self.rate, self.held_back = layout, rate, held_back
        self.taken = 0  # samples
        self.held = np.zeros((1 if layout == "mono" else 2, 0), np.float32)
        self._resampler = self._new_resampler()

    def _new_resampler(self) -> av.AudioResampler:
        return av.AudioResampler(format="fltp", layout=self.layout, rate=self.rate)

    def add(self, frame: av.AudioFrame | None) -> None:
        """Appends a frame, of the same kind as those before it; None for what the resampler still has."""
        resampled = self._resampler.resample(frame)
        self.held = np.concatenate([self.held, *(part.to_ndarray() for part in resampled)], axis=1)

    def break_off(self, seconds: float) -> None:
        """Ends a stretch at `seconds` in all; after it comes silence or another kind of frames."""
        self.add(None)
        self._resampler = self._new_resampler()
        self.extend(seconds)

    def extend(self, seconds: float) -> None:
        """Makes the sound `seconds` long in all, exact to the sample (resamplers are not): with silence, or cut."""
        wanted = max(round(seconds * self.rate) - self.taken, 0)
        held = self.held[:, :wanted]
        self.held = np.pad(held, ((0, 0), (0, wanted - held.shape[1])))

    def take(self) -> np.ndarray:
        """All that need not be held back: float32 (channels, samples)."""
        return self._taken(max(self.held.shape[1] - int(self.held_back * self.rate), 0))

    def finish(self, seconds: float) -> np.ndarray:
        """The rest of a sound that is `seconds` long in all: float32 (channels, samples)."""
        self.add(None)
        self.extend(seconds)
        return self._taken(self.held.shape[1])

    def _taken(self, count: int) -> np.ndarray:
        taken, self.held = self.held[:, :count], self.held[:, count:]
        self.taken += taken.shape[1]
        return taken


class Clock:
    """The times of a file's frames: where they leave a gap, there is a pause.

    Args:
        trusted: whether the file has a clock; without one there are no pauses

    Attributes:
        pauses: length of the pauses so far, seconds
    """

    def __init__(self, trusted: bool) -> None:
        self.trusted = trusted
        self.pauses = 0.0
        self._expected: float | None = None  # time at which the next frame begins, seconds

    def pause_before(self, frame: av.AudioFrame, exact: bool) -> float:
        """The seconds of silence between the frames so far and `frame`, the next one.

        A clock that runs back is set anew, as is one that jumps by more than `LONGEST_PAUSES` in all.

        Args:
            frame: next frame
            exact: whether to take `EXACT_TOLERANCE` for `CLOCK_TOLERANCE`
        """
        tolerance = EXACT_TOLERANCE if exact else CLOCK_TOLERANCE
        if not self.trusted or frame.time is None:
            gap = 0.0
        else:
            gap = 0.0 if self._expected is None else frame.time - self._expected
            if self._expected is None or abs(gap) > tolerance:
                self._expected = frame.time
        if self._expected is not None:
            self._expected += frame.samples / frame.sample_rate
        if gap <= tolerance or self.pauses + gap > LONGEST_PAUSES:
            return 0.0
        self.pauses += gap
        return gap


class Cancellation:
    """Finds sound whose channels cancel each other out: the mean of them, which the model hears, is silent."""

    #: Seconds that are looked at together.
    _WINDOW = 0.5
    #: Energy below which there is no sound, and share of the sound's energy below which the voice is silent.
    _SILENCE, _SHARE = 1e-5, 1e-3

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.heard = self.cancelled = 0.0  # seconds
        self._samples, self._voice, self._sound = 0, 0.0, 0.0

    def add(self, voice: np.ndarray, sound: np.ndarray) -> None:
        """Listens to a stretch: voice (samples,), at `rate`, and the sound of the same time, (channels, samples)."""
        self._samples += len(voice)
        self._voice += float(np.square(voice).mean() * len(voice)) if len(voice) else 0.0
        self._sound += float(np.square(sound).mean() * len(voice)) if sound.size else 0.0
        if self._samples >= self._WINDOW * self.rate:
            if self._sound > self._SILENCE * self._samples:
                self.heard += self._samples / self.rate
                if self._voice < self._SHARE * self._sound:
                    self.cancelled += self._samples / self.rate
            self._samples, self._voice, self._sound = 0, 0.0, 0.0
