"""Held-out voices and sentences are never trained on."""

from __future__ import annotations

import numpy as np
import pytest

from training.speakers.speech.languages import WORDS_OF_LANGUAGE
from training.speakers.speech.sentences import random_sentence
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.voices import (
    HELD_OUT_LANGUAGES,
    SPLITS,
    TRAINING_LANGUAGES,
    VOICES,
    random_voice,
    random_whisper,
    voice_language,
)


def test_the_splits_share_no_voice_variant_or_family() -> None:
    sets = [set(VOICES[split]) for split in SPLITS]
    assert len(set.union(*sets)) == sum(map(len, sets))
    assert {"en-us+f4", "en+m5", "en-gb-scotland+f2", "en-us-nyc"} <= sets[1]
    trained = {voice.partition("+")[2] for voice in VOICES["train"]}
    assert not trained & {voice.partition("+")[2] for voice in VOICES["held-out-family"]}
    assert {voice_language(voice) for voice in VOICES["train"]} == set(TRAINING_LANGUAGES)
    assert set(HELD_OUT_LANGUAGES) <= {voice_language(voice) for voice in VOICES["held-out"]}
    assert not set(HELD_OUT_LANGUAGES) & set(TRAINING_LANGUAGES)


def test_voices_are_drawn_from_their_split_and_half_are_english() -> None:
    rng = np.random.default_rng(0)
    for split in SPLITS:
        drawn = [random_voice(rng, split) for _ in range(200)]
        assert set(drawn) <= set(VOICES[split])
        assert 80 < sum(voice_language(voice) == "en" for voice in drawn) < 120
    assert random_whisper(rng, "train").endswith("+whisper")
    assert random_whisper(rng, "held-out").endswith("+whisperf")


@pytest.mark.parametrize("variant", sorted({voice.partition("+")[2] for split in SPLITS for voice in VOICES[split]}))
def test_a_variant_is_one_of_its_own(variant: str) -> None:
    """espeak-ng takes an unknown variant for none."""
    plain = synthesize("Papa sees it.", "en-us").waveform
    other = synthesize("Papa sees it.", f"en-us+{variant}" if variant else "en-us-nyc").waveform
    assert len(plain) != len(other) or not np.array_equal(plain, other)


def test_no_sentence_is_both_trained_on_and_held_out() -> None:
    rng = np.random.default_rng(0)
    for language in ("en", "sw"):
        trained = {random_sentence(rng, language) for _ in range(300)}
        held_out = {random_sentence(rng, language, held_out=True) for _ in range(100)}
        assert not trained & held_out
        assert len(held_out) > 90
    words = set(WORDS_OF_LANGUAGE["sw"])
    assert set(random_sentence(rng, "sw")[:-1].split()) <= words
