"""Heads move at all speeds, and with the voice."""

from __future__ import annotations

import numpy as np
import pytest

from training.clips.rotation import head_speed
from training.evaluation.metrics import correlation
from training.model.config import EmoConfig
from training.speakers.gestures import ROTATION_LIMITS, blink_curve, head_motion, prosody, sways
from training.speakers.speaker import make_clip
from training.speakers.speech.sentences import random_sentence
from training.speakers.speech.synthesizer import synthesize


def babble(seed: int, frames: int = 100) -> np.ndarray:
    """Noise in syllables of random length and loudness, with pauses: (frames * 640,)."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.1, 0.3, 2 * frames))
    loudness = np.append(rng.uniform(0, 1, 2 * frames) * (rng.random(2 * frames) > 0.25), 0)
    times = np.arange(frames * 640) / 16000
    return (loudness[np.searchsorted(edges, times)] * rng.standard_normal(frames * 640) / 5).astype(np.float32)


def test_heads_move_at_every_speed_of_the_buckets() -> None:
    centers = np.array(EmoConfig.from_name("emo-photo").speed_centers)
    between = (centers[1:] + centers[:-1]) / 2
    rng = np.random.default_rng(0)
    voices = [np.resize(synthesize(random_sentence(rng)).waveform, 64_000) for _ in range(8)]
    buckets, sharpest = [], 0.0
    for seed in range(150):
        rotation, _ = head_motion(np.random.default_rng(seed), voices[seed % len(voices)], 100)
        means = np.convolve(head_speed(rotation), np.ones(12) / 12, "valid")
        buckets.append(np.searchsorted(between, means))
        sharpest = max(sharpest, float(np.abs(np.diff(rotation, 2, axis=0)).max()))
    share = np.bincount(np.concatenate(buckets), minlength=len(centers)) / np.concatenate(buckets).size
    assert share[0] > 0.3
    assert share.min() > 0.02
    assert sharpest < 3.5  # degrees per frame, per frame


def test_heads_nod_on_stress_and_turn_in_pauses() -> None:
    voice = np.zeros((100, 640), np.float32)
    voice[20:70] = 0.1
    voice[40:46] = 0.5
    yaw, pitch, roll = prosody(voice.ravel(), 100, side=np.array([1, 1, -1])).T
    assert pitch.argmin() == pytest.approx(43, abs=2)
    assert yaw[:10].min() > yaw[38:48].max()
    assert roll[5] < 0 < yaw[5]
    left, same, right = prosody(voice.ravel(), 100, side=np.array([-1, 1, 1])).T
    assert np.array_equal(left, -yaw)
    assert np.array_equal(same, pitch)
    assert np.array_equal(right, -roll)


def test_a_louder_recording_moves_nobody_else() -> None:
    voice = babble(1)
    np.testing.assert_allclose(prosody(voice, 100, np.ones(3)), prosody(0.1 * voice, 100, np.ones(3)), atol=1e-3)


def test_lively_heads_mostly_follow_their_voice() -> None:
    """What two voices do to the same head differs by far more than what they share."""
    follows = []
    for seed in range(60):
        first, second = (head_motion(np.random.default_rng(seed), babble(voice), 100)[0] for voice in (1, 2))
        if first.std(0).max() > 2:
            follows.append(
                correlation(
                    first[:, 1] - second[:, 1],
                    (prosody(babble(1), 100, np.ones(3)) - prosody(babble(2), 100, np.ones(3)))[:, 1],
                )
                > 0.9
            )
    assert 0.5 < np.mean(follows) < 0.9


def swaying(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Degrees along the axis that a head sways around for a minute (1500,), and its steps to them (1500,)."""
    rotation = sways(np.random.default_rng(seed), 1500) * ROTATION_LIMITS
    angle = rotation[:, np.abs(rotation).max(0).argmax()]
    return angle, np.diff(angle, prepend=0.0)


@pytest.mark.parametrize("seed", range(8))
def test_where_a_swaying_head_goes_follows_from_where_it_is(seed: int) -> None:
    angle, step = swaying(seed)
    turns = np.flatnonzero((step[1:] * step[:-1] < 0) & (np.abs(step[:-1]) > 0.05))
    assert len(turns) > 10
    assert (step[turns] * angle[turns] > 0).all()  # it turns back on the way out, never towards the middle
    resting = np.abs(step) < 1e-3
    leaves = np.flatnonzero(resting[:-1] & ~resting[1:])
    assert (step[leaves + 1] * angle[leaves] < 0).all()  # and after a rest it sets out towards the middle


def test_swaying_heads_keep_their_speed() -> None:
    steps = np.abs(np.concatenate([swaying(seed)[1] for seed in range(8)]))
    changes = np.abs(np.diff(steps))
    assert (changes < 0.05).mean() > 0.5  # degrees per frame, per frame
    assert steps.max() > 3.5


def test_the_motion_of_a_clip_follows_its_own_voice() -> None:
    clip = make_clip(seed=9, seconds=4.0, resolution=32, augmented_share=0.0)
    assert clip.head_speed.mean() > 0.3
    nod = prosody(clip.waveform, 100, np.ones(3))[:, 1]
    assert correlation(clip.rotation[:, 1], nod) > 0.6


def phrases(seconds: int) -> np.ndarray:
    """Noise for two seconds, silence for one, and so on: (seconds * 16000,)."""
    sound = np.arange(16000 * seconds) // 16000 % 3 < 2
    return (sound * np.random.default_rng(0).standard_normal(16000 * seconds) / 5).astype(np.float32)


@pytest.mark.parametrize("voice", [phrases(60), np.ones(60 * 16000, np.float32)], ids=["phrases", "one long tone"])
def test_eyes_blink_some_twenty_times_a_minute(voice: np.ndarray) -> None:
    blink = [blink_curve(np.random.default_rng(seed), voice, 1500) for seed in range(10)]  # of a minute
    starts = [np.count_nonzero((curve[1:] > 0) & (curve[:-1] == 0)) for curve in blink]
    assert 10 < np.mean(starts) < 25


def test_eyes_blink_as_soon_as_the_voice_pauses() -> None:
    """As what can be learned must follow from the voice: at the same frame of every pause, and hardly ever else."""
    for seed in range(10):
        curve = blink_curve(np.random.default_rng(seed), phrases(60), 1500)
        starts = 1 + np.flatnonzero((curve[1:] > 0) & (curve[:-1] == 0))
        pauses = np.arange(50, 1500, 75)  # where phrases end
        waits = starts[np.searchsorted(starts, pauses)] - pauses
        assert 0 <= waits.min() == waits.max() <= 3
        assert len(starts) < 1.2 * len(pauses)
