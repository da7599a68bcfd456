"""Who speaks and how: held-out voices are never trained on, all languages have mouth shapes, and times stay exact."""

from __future__ import annotations

import numpy as np
import pytest

from training.clips.phonemes import known_class, phoneme_class
from training.clips.rates import SAMPLE_RATE
from training.speakers.mouth import mouth_curves
from training.speakers.speaker import make_clip
from training.speakers.speech.delivery import random_delivery, resize_voice, sing
from training.speakers.speech.languages import WORDS_OF_LANGUAGE
from training.speakers.speech.synthesizer import Utterance, random_sentence, synthesize
from training.speakers.speech.voices import (
    HELD_OUT_LANGUAGES,
    SPLITS,
    TRAINING_LANGUAGES,
    VOICES,
    random_voice,
    random_whisper,
    voice_language,
)

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


def test_front_rounded_vowels_round_the_mouth() -> None:
    rounded, spread = (mouth_curves(synthesize(text, "de"), 25, 12).width for text in ("über", "ihn"))
    assert rounded.min() < 0.2 < 0.6 < spread.max()


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


def test_a_voiceless_plosive_begins_with_its_closure() -> None:
    utterance = synthesize("A puppy, a sack.", "en-us")
    assert loudness(utterance, "p k", 0.1, 0.3) < 0.002
    assert loudness(utterance, "p k", 0.7, 1.0) > 0.01


@pytest.mark.parametrize("voice", ["en-us+f3", "en-us+klatt2", "de+Annie", "hi+m1"])
def test_plosives_are_quiet_before_they_burst(voice: str) -> None:
    text = {"de": "Papa packt Pakete.", "hi": "पापा पानी पीना किताब"}.get(voice_language(voice), "Papa packed a cup.")
    utterance = synthesize(text, voice)
    assert loudness(utterance, "p k", 0.1, 0.4) < 0.25 * loudness(utterance, "a a: A: 0 aa", 0.3, 0.7)


def test_a_song_keeps_consonants_stretches_vowels_and_stays_aligned() -> None:
    spoken = synthesize("Papa packed a cup of tea in a deep pot.", "en-us+f2")
    sung = sing(spoken, np.random.default_rng(1))
    assert len(sung.phonemes) == len(spoken.phonemes)
    assert sung.seconds > 1.3 * spoken.seconds
    assert sung.seconds == pytest.approx(sung.phonemes[-1].end + spoken.seconds - spoken.phonemes[-1].end, abs=1e-3)
    likeness = []
    for before, after in zip(spoken.phonemes, sung.phonemes, strict=True):
        if before.symbol in ("p", "k", "t"):
            assert after.end - after.start == pytest.approx(before.end - before.start, abs=1e-6)
            # The same sound, at the place that its label says.
            source, target = (
                np.abs(u.waveform[round(p.start * SAMPLE_RATE) :][: round((p.end - p.start) * SAMPLE_RATE)])
                for u, p in ((spoken, before), (sung, after))
            )
            smooth = np.hanning(80)
            envelopes = [np.convolve(part, smooth / smooth.sum(), "same") for part in (source, target)]
            likeness.append(np.corrcoef(*envelopes)[0, 1])
    assert min(likeness) > 0.5
    assert np.mean(likeness) > 0.85


def test_a_song_has_notes() -> None:
    """Long vowels keep a pitch of their own: the period of each differs from that of the spoken ones."""
    spoken = synthesize("La la la la la la.", "en-us")
    sung = sing(spoken, np.random.default_rng(2))

    def pitches(utterance: Utterance) -> list[float]:
        found = []
        for p in utterance.phonemes:
            if p.end - p.start > 0.12 and p.symbol.startswith(("A", "a")):
                middle = round((p.start + p.end) / 2 * SAMPLE_RATE)
                part = utterance.waveform[middle - 640 : middle + 640] * np.hanning(1280)
                correlation = np.correlate(part, part, "full")[1279:]
                found.append(SAMPLE_RATE / (53 + int(correlation[53:230].argmax())))
        return found

    steps = np.abs(np.diff(12 * np.log2(pitches(sung))))
    assert len(steps) >= 3
    assert steps.max() > 1.5  # semitones


def test_a_resized_voice_is_the_same_one_slower() -> None:
    spoken = synthesize("She sees the sea.", "en-us")
    larger = resize_voice(spoken, 1.1)
    assert larger.seconds == pytest.approx(1.1 * spoken.seconds, rel=2e-3)
    np.testing.assert_allclose([p.start for p in larger.phonemes], [1.1 * p.start for p in spoken.phonemes], rtol=1e-3)
    assert larger.phonemes[-1].end == pytest.approx(larger.seconds, abs=2e-3)


def test_a_tenth_sing_and_a_few_whisper() -> None:
    rng = np.random.default_rng(0)
    styles = [random_delivery(rng, "train").style for _ in range(600)]
    assert 0.06 < styles.count("singing") / 600 < 0.14
    assert 0.02 < styles.count("whisper") / 600 < 0.07


def test_another_familys_clip_differs_only_in_what_follows_the_voice() -> None:
    own, other = (make_clip(0, 0.5, 32, voices=voices) for voices in ("train", "held-out-family"))
    assert own.voice in VOICES["train"]
    assert other.voice in VOICES["held-out-family"]
    assert other.language == voice_language(other.voice)
    np.testing.assert_array_equal(own.blink, other.blink)
    background = (slice(None), slice(0, 4), slice(0, 4))
    np.testing.assert_array_equal(own.frames[background], other.frames[background])
    assert not np.array_equal(own.rotation, other.rotation)
    with pytest.raises(ValueError, match="no split"):
        make_clip(0, 0.5, 32, voices="klatt")
