"""What puppets do besides talking, and that drawn heads do not."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch

from training.clips.clip import TrainingClip
from training.clips.held_out import is_held_out_seed
from training.clips.idle import idle_frames
from training.speakers.acting import eyelids
from training.speakers.gestures import stress
from training.speakers.motion import Motion
from training.speakers.performance import Performance, perform
from training.speakers.rendering import Rendering
from training.speakers.speech.voices import VOICES

SEEDS = range(24)


@cache
def puppet(seed: int) -> Performance:
    return perform(seed, 3.0, puppet=True)


def clip_of(performance: Performance) -> TrainingClip:
    """Its clip, without a picture."""
    frames = len(performance.motion)
    nothing = Rendering(torch.zeros(frames, 3, 2, 2), torch.zeros(frames, 4), torch.zeros(frames, 4))
    return performance.clip(nothing)


@pytest.fixture(scope="module")
def silent() -> int:
    """A seed whose puppet says nothing."""
    return next(seed for seed in SEEDS if not puppet(seed).phoneme_class.any())


def test_a_performance_follows_from_its_seed() -> None:
    again = perform(3, 3.0, puppet=True)
    for field in fields(Motion):
        assert torch.equal(getattr(puppet(3).motion, field.name), getattr(again.motion, field.name))
    np.testing.assert_array_equal(puppet(3).waveform, again.waveform)
    assert not torch.equal(puppet(3).motion.rotation, puppet(4).motion.rotation)


def test_drawn_heads_neither_smile_nor_breathe_nor_fall_silent() -> None:
    performance = perform(3, 3.0)
    assert not performance.motion.smile.any()
    assert not performance.motion.squint.any()
    assert not performance.motion.shoulders.any()
    assert np.mean([idle_frames(clip_of(perform(seed, 3.0))).mean() for seed in range(8)]) < 0.15


def test_puppets_are_idle_for_a_share_of_the_time() -> None:
    idle = np.array([idle_frames(clip_of(puppet(seed))).mean() for seed in SEEDS])
    assert 0.15 < idle.mean() < 0.45
    assert (idle == 0).any()
    assert 0 < (idle == 1).mean() < 0.25  # somebody says nothing at all


def test_lips_are_closed_and_still_while_a_puppet_is_idle() -> None:
    for seed in SEEDS:
        performance = puppet(seed)
        idle, motion = idle_frames(clip_of(performance)), performance.motion
        assert not motion.mouth_opening[idle].any()
        if not motion.smile.any():
            assert (motion.mouth_width[idle] == 0.5).all()


def test_idle_puppets_breathe_and_move_a_little(silent: int) -> None:
    motion = puppet(silent).motion
    assert 0.0005 < np.ptp(motion.shoulders[:, 1].numpy()) < 0.01
    assert (motion.rotation.std(0) > 0.02).all()
    assert (motion.rotation.std(0) < 6).all()
    assert (motion.rotation.diff(dim=0).norm(dim=1) > 0).all()


def test_heads_of_puppets_turn_less_and_lead_their_shoulders() -> None:
    for seed in SEEDS:
        motion = puppet(seed).motion
        assert motion.rotation.abs().max() < 14
        assert motion.shoulders.abs().max() < max(float(motion.translation.abs().max()), 0.007)
    drawn, own = (
        np.mean([np.abs(perform(seed, 3.0, puppet=kind).motion.rotation.numpy()).mean() for seed in range(8)])
        for kind in (False, True)
    )
    assert own < 0.8 * drawn


def test_smiles_come_and_go_slowly_and_count_as_width() -> None:
    smiles = np.stack([puppet(seed).motion.smile.numpy() for seed in SEEDS])
    assert 0.2 < (smiles.max(1) > 0.1).mean() < 0.8
    assert 0.3 < smiles.max() <= 0.8
    assert np.abs(np.diff(smiles)).max() < 0.15
    for seed in SEEDS:
        motion, label = puppet(seed).motion, clip_of(puppet(seed)).mouth_width
        np.testing.assert_allclose(label, motion.mouth_width + 0.6 * motion.smile, rtol=1e-6)
        assert label.max() <= 1.001
        assert (motion.squint >= 0.5 * motion.smile**1.5).all()  # cheeks go with smiles


def test_brows_and_cheeks_go_with_the_stress_of_the_voice() -> None:
    follows = []
    for seed in range(12):
        performance = perform(seed, 4.0, puppet=True, augmented_share=0.0)
        stressed = stress(performance.waveform, 100).clip(0)
        if stressed.any():
            follows.append(np.corrcoef(stressed, performance.motion.brow)[0, 1])
    assert np.mean(follows) > 0.4


def test_eyes_blink_every_few_seconds_and_some_stay_shut(silent: int) -> None:
    quiet = np.zeros(60 * 16000, np.float32)
    curves = [eyelids(np.random.default_rng(seed), quiet, 1500) for seed in range(20)]
    starts = [np.flatnonzero((curve[1:] > 0) & (curve[:-1] == 0)) for curve in curves]
    waits = np.concatenate([np.diff(start) for start in starts]) / 25
    assert 3.5 < waits.mean() < 5.5
    assert waits.max() < 9  # a blink may be lost in a longer one
    long = [np.convolve(curve == 1, np.ones(15), "valid").max() == 15 for curve in curves]
    assert 0 < np.mean(long) < 0.4
    assert (puppet(silent).motion.blink == 0).any()


def test_what_nobody_says_is_no_text_and_at_most_noise(silent: int) -> None:
    clean, noisy = (perform(silent, 3.0, puppet=True, augmented_share=share) for share in (0.0, 1.0))
    assert clean.text == noisy.text == ""
    assert not clean.phoneme_class.any()
    assert (clean.sound, noisy.sound) == ("clean", "noise")
    assert not clean.waveform.any()
    assert 1e-3 < np.abs(noisy.waveform).max() < 0.1


def test_held_out_seeds_have_held_out_voices() -> None:
    held_out = next(seed for seed in range(100) if is_held_out_seed(seed))
    assert puppet(held_out).voice in VOICES["held-out"]
    assert perform(held_out, 1.0, puppet=True, voices="train").voice in VOICES["train"]
    with pytest.raises(ValueError, match="no split"):
        perform(0, 1.0, voices="klatt")
