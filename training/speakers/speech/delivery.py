"""How a sentence is said: in which voice, how fast and how high, spoken, whispered or sung."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.singing import sing
from training.speakers.speech.synthesizer import resample, synthesize
from training.speakers.speech.utterance import Phoneme, Utterance
from training.speakers.speech.voices import random_voice, random_whisper

_SINGING_SHARE, _WHISPERING_SHARE = 0.1, 0.04


@dataclass(frozen=True)
class Delivery:
    """How one speaker says things.

    Attributes:
        voice: espeak-ng's name of the voice, such as "en-us+f3".
        style: "speech", "whisper" or "singing".
        rate: words per minute.
        pitch: base pitch, 0 to 99.
        pitch_range: extent to which the pitch rises and falls, 0 to 99.
        size: size of the speaker relative to espeak-ng's voice; see `resize_voice`.
    """

    voice: str
    style: str
    rate: int
    pitch: int
    pitch_range: int
    size: float

    def say(self, text: str, rng: np.random.Generator) -> Utterance:
        """Says a text; `rng` chooses the melody if it is sung.

        Raises:
            ValueError: if espeak-ng does not know the voice, or the text has nothing to say.
        """
        rate = max(round(self.rate * self.size), 80)  # a larger voice is played more slowly
        utterance = resize_voice(synthesize(text, self.voice, rate, self.pitch, self.pitch_range), self.size)
        return sing(utterance, rng) if self.style == "singing" else utterance


def random_delivery(rng: np.random.Generator, split: str) -> Delivery:
    """A delivery in a voice of a split of `training.speakers.speech.voices`: a tenth sing, a few whisper."""
    style = str(
        rng.choice(
            ["singing", "whisper", "speech"],
            p=[_SINGING_SHARE, _WHISPERING_SHARE, 1 - _SINGING_SHARE - _WHISPERING_SHARE],
        )
    )
    return Delivery(
        voice=random_whisper(rng, split) if style == "whisper" else random_voice(rng, split),
        style=style,
        rate=int(rng.integers(110, 236)),
        pitch=int(rng.integers(15, 86)),
        pitch_range=int(rng.integers(20, 90)),
        size=float(rng.uniform(0.9, 1.12)),
    )


def resize_voice(utterance: Utterance, size: float) -> Utterance:
    """The utterance played `size` times as slowly: pitch and formants of a larger or smaller speaker.

    The times of the phonemes stay exact.
    """
    played = round(SAMPLE_RATE / size)  # Hz
    waveform, exact = resample(utterance.waveform, played), SAMPLE_RATE / played
    phonemes = tuple(Phoneme(p.symbol, p.start * exact, p.end * exact) for p in utterance.phonemes)
    return dataclasses.replace(utterance, waveform=waveform, phonemes=phonemes)
