"""Sung and resized voices keep the times of their phonemes exact."""

from __future__ import annotations

import numpy as np
import pytest

from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.delivery import random_delivery, resize_voice
from training.speakers.speech.singing import sing
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.utterance import Utterance


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
