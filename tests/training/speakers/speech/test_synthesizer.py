"""Phonemes have exact times, and all languages have known sounds."""

from __future__ import annotations

import numpy as np
import pytest

from training.clips.phonemes import PHONEME_CLASSES, known_class, phoneme_class
from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.sentences import random_sentence
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.utterance import Utterance
from training.speakers.speech.voices import HELD_OUT_LANGUAGES, TRAINING_LANGUAGES, voice_language

LANGUAGES = (*TRAINING_LANGUAGES, *HELD_OUT_LANGUAGES)


def loudness(utterance: Utterance, symbols: str, begin: float, end: float) -> float:
    """Root mean square of the sound in a part (0 to 1) of each of the phonemes."""
    parts = [
        utterance.waveform[
            round((p.start + begin * (p.end - p.start)) * SAMPLE_RATE) : round(
                (p.start + end * (p.end - p.start)) * SAMPLE_RATE
            )
        ]
        for p in utterance.phonemes
        if p.symbol in symbols.split()
    ]
    return float(np.sqrt((np.concatenate(parts) ** 2).mean()))


def test_phoneme_times_are_in_order_and_inside_the_waveform() -> None:
    rng = np.random.default_rng(0)
    for voice in ("en-us", "en-gb-scotland+f2"):
        utterance = synthesize(random_sentence(rng), voice)
        times = [time for phoneme in utterance.phonemes for time in (phoneme.start, phoneme.end)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= len(utterance.waveform) / SAMPLE_RATE
        assert np.abs(utterance.waveform).max() <= 1


def test_equal_calls_speak_equally_whatever_was_said_before() -> None:
    first = synthesize("She sees the sea.", "en-us+f3")
    synthesize("Something else.", "en+m2")
    np.testing.assert_array_equal(synthesize("She sees the sea.", "en-us+f3").waveform, first.waveform)


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(ValueError, match="no voice"):
        synthesize("Hello.", "nobody")


def test_symbols_outside_the_classes_go_to_a_near_one() -> None:
    near = {"_:": "silence", "A@": "A:", "t#": "t", "aI@": "aI", "i": "i:"}
    assert {symbol: PHONEME_CLASSES[phoneme_class(symbol)] for symbol in near} == near


@pytest.mark.parametrize("language", LANGUAGES)
def test_nearly_every_sound_of_a_language_has_a_class(language: str) -> None:
    rng = np.random.default_rng(0)
    unknown = total = 0.0
    for _ in range(8):
        for phoneme in synthesize(random_sentence(rng, language), language).phonemes:
            total += phoneme.end - phoneme.start
            unknown += (phoneme.end - phoneme.start) * (known_class(phoneme.symbol) is None)
    assert total > 8
    assert unknown < 0.01 * total


def test_an_unknown_symbol_has_no_class_and_is_taken_for_the_neutral_vowel() -> None:
    assert known_class("%") is None
    assert phoneme_class("%") == phoneme_class("@")


def test_a_voiceless_plosive_begins_with_its_closure() -> None:
    utterance = synthesize("A puppy, a sack.", "en-us")
    assert loudness(utterance, "p k", 0.1, 0.3) < 0.002
    assert loudness(utterance, "p k", 0.7, 1.0) > 0.01


@pytest.mark.parametrize("voice", ["en-us+f3", "en-us+klatt2", "de+Annie", "hi+m1"])
def test_plosives_are_quiet_before_they_burst(voice: str) -> None:
    text = {"de": "Papa packt Pakete.", "hi": "पापा पानी पीना किताब"}.get(voice_language(voice), "Papa packed a cup.")
    utterance = synthesize(text, voice)
    assert loudness(utterance, "p k", 0.1, 0.4) < 0.25 * loudness(utterance, "a a: A: 0 aa", 0.3, 0.7)
