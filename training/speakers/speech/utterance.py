"""Speech with the time of every phoneme, and its frame labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.clips.phonemes import phoneme_class
from training.clips.rates import SAMPLE_RATE


@dataclass(frozen=True)
class Phoneme:
    """One speech sound.

    Attributes:
        symbol: the sound in espeak's notation, without stress marks.
        start: beginning in seconds.
        end: end in seconds.
    """

    symbol: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """What somebody says.

    Attributes:
        waveform: float32 (samples,) at 16 kHz in [-1, 1].
        phonemes: all sounds in order, each ending where the next begins.
        text: the words.
        voice: espeak-ng's name of the voice, such as "en-us+f3".
    """

    waveform: np.ndarray
    phonemes: tuple[Phoneme, ...]
    text: str
    voice: str

    @property
    def seconds(self) -> float:
        """The length of the sound."""
        return len(self.waveform) / SAMPLE_RATE


def join(utterances: Sequence[Utterance], pauses: Sequence[float]) -> Utterance:
    """Several utterances of one voice as one.

    Args:
        utterances: what is said, in order.
        pauses: silence before each utterance in seconds.
    """
    waveforms, phonemes, start = [], [], 0
    for utterance, pause in zip(utterances, pauses, strict=True):
        gap = round(pause * SAMPLE_RATE)
        start += gap
        shift = start / SAMPLE_RATE
        waveforms += [np.zeros(gap, np.float32), utterance.waveform]
        phonemes += [Phoneme("_", shift - pause, shift)] if gap else []
        phonemes += [Phoneme(p.symbol, p.start + shift, p.end + shift) for p in utterance.phonemes]
        start += len(utterance.waveform)
    text = " ".join(utterance.text for utterance in utterances)
    return Utterance(np.concatenate(waveforms), tuple(phonemes), text, utterances[0].voice)


def frame_classes(utterance: Utterance, frames_per_second: float, frames: int) -> np.ndarray:
    """The phoneme class in the middle of each frame, int64 (frames,); silence beyond the utterance."""
    middles = (np.arange(frames) + 0.5) / frames_per_second
    if not utterance.phonemes:
        return np.zeros(frames, np.int64)
    starts = np.array([phoneme.start for phoneme in utterance.phonemes])
    classes = np.array([0] + [phoneme_class(phoneme.symbol) for phoneme in utterance.phonemes], np.int64)
    found = classes[np.searchsorted(starts, middles, side="right")]
    return np.where(middles < utterance.phonemes[-1].end, found, 0)
