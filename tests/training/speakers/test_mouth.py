"""The mouth has the shape of what is said."""

from __future__ import annotations

import numpy as np

from training.clips.phonemes import phoneme_class
from training.speakers.mouth import mouth_curves
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.utterance import frame_classes


def test_the_mouth_closes_on_p_b_m_and_opens_on_vowels() -> None:
    utterance = synthesize("My puppy may buy a map. Papa, mama, baby!")
    frames = int(utterance.seconds * 25)
    curves, classes = mouth_curves(utterance, 25, frames), frame_classes(utterance, 25, frames)
    closed = np.isin(classes, [phoneme_class(symbol) for symbol in "pbm"])
    for phoneme in utterance.phonemes:
        if phoneme.symbol in ("p", "b", "m"):
            middle = min(int((phoneme.start + phoneme.end) / 2 * 25), frames - 1)
            assert curves.opening[middle] < 0.05
    open_vowels = np.isin(classes, [phoneme_class(symbol) for symbol in ("A:", "aI", "a")])
    assert curves.opening[open_vowels].mean() > curves.opening[closed].mean() + 0.4


def test_the_mouth_rounds_on_oo_and_spreads_on_ee() -> None:
    rounded, spread = (mouth_curves(synthesize(text), 25, 20).width for text in ("Who?", "He?"))
    assert rounded.min() < 0.2
    assert spread.max() > 0.7


def test_front_rounded_vowels_round_the_mouth() -> None:
    rounded, spread = (mouth_curves(synthesize(text, "de"), 25, 12).width for text in ("über", "ihn"))
    assert rounded.min() < 0.2 < 0.6 < spread.max()
