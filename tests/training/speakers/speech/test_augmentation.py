"""Imperfect sound: it differs, stays in time with its labels, and follows from its seed."""

from __future__ import annotations

import numpy as np
import pytest

from training.clips.held_out import is_held_out_seed
from training.clips.rates import SAMPLE_RATE
from training.speakers.speaker import make_clip
from training.speakers.speech.augmentation import (
    CODECS,
    add_noise,
    augment,
    coloured_noise,
    equalise,
    overload,
    room,
    telephone,
    through_codec,
)
from training.speakers.speech.synthesizer import synthesize


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return synthesize("Papa packed a cup of tea for the captain.", "en-us+m3").waveform


def lag(sound: np.ndarray, reference: np.ndarray) -> float:
    """Seconds by which `sound` is later than `reference`: where their correlation is largest."""
    size = 1 << 17
    correlation = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(reference, size).conj())
    best = int(correlation.argmax())
    return (best - size if best > size // 2 else best) / SAMPLE_RATE


@pytest.mark.parametrize(("name", "rate", "bit_rate"), [(n, r, b) for n, r, rates in CODECS for b in rates])
def test_a_codec_loses_something_but_no_time(voice: np.ndarray, name: str, rate: int, bit_rate: int) -> None:
    decoded = through_codec(voice, name, rate, bit_rate)
    assert decoded.shape == voice.shape
    assert abs(lag(decoded, voice)) < 1e-3
    error = np.sqrt(((decoded - voice) ** 2).mean() / (voice**2).mean())
    assert 0.01 < error < 0.9


@pytest.mark.parametrize("effect", ["noise", "room", "equaliser", "telephone", "overload"])
def test_an_effect_changes_the_sound_but_not_its_time(voice: np.ndarray, effect: str) -> None:
    rng = np.random.default_rng(0)
    heard = {
        "noise": lambda: add_noise(voice, coloured_noise(len(voice), rng), 10),
        "room": lambda: room(voice, rng),
        "equaliser": lambda: equalise(voice, rng),
        "telephone": lambda: telephone(voice),
        "overload": lambda: overload(voice, 3),
    }[effect]()
    assert heard.shape == voice.shape
    assert abs(lag(heard, voice)) < 1e-3
    assert np.sqrt(((heard - voice) ** 2).mean() / (voice**2).mean()) > 0.05


def test_noise_has_the_power_asked_for(voice: np.ndarray) -> None:
    noise = add_noise(voice, np.random.default_rng(0).standard_normal(1000), 20) - voice
    assert 10 * np.log10((voice**2).mean() / (noise**2).mean()) == pytest.approx(20, abs=0.1)


def test_a_telephone_carries_only_the_middle(voice: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    spectrum = np.abs(np.fft.rfft(telephone(noise))) ** 2  # one value for each Hz
    middle = spectrum[500:3000].mean()
    assert spectrum[20:120].mean() < 1e-3 * middle
    assert spectrum[7000:].mean() < 1e-3 * middle


def test_augmented_sound_follows_from_its_generator_and_is_no_louder(voice: np.ndarray) -> None:
    other = synthesize("Somebody else says something else.", "en-us+f2").waveform
    seen = set()
    for seed in range(30):
        first, effects = augment(voice, np.random.default_rng(seed), lambda: other)
        again, _ = augment(voice, np.random.default_rng(seed), lambda: other)
        np.testing.assert_array_equal(first, again)
        assert first.dtype == np.float32
        assert np.abs(first).max() == pytest.approx(np.abs(voice).max(), rel=1e-3)
        assert not np.array_equal(first, voice)
        seen |= set(effects)
    assert seen == {"room", "noise", "babble", "equaliser", "telephone", "overload", "codec"}


def test_labels_are_those_of_the_clean_voice_and_held_out_clips_are_clean() -> None:
    clean, noisy = (make_clip(0, 0.5, 32, augmented_share=share) for share in (0.0, 1.0))
    assert clean.sound == "clean" != noisy.sound
    assert not np.array_equal(clean.waveform, noisy.waveform)
    for name in ("mouth_opening", "mouth_width", "phoneme_class", "rotation", "blink", "text", "voice"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(noisy, name))
    held_out = [seed for seed in range(60) if is_held_out_seed(seed)][:5]
    assert {make_clip(seed, 0.2, 32).sound for seed in held_out} == {"clean"}
    trained = [make_clip(seed, 0.2, 32).sound for seed in range(20) if not is_held_out_seed(seed)]
    assert 0 < trained.count("clean") < len(trained)
