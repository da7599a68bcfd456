"""Gestures: where they begin, how fast heads turn, how often eyes blink, and that they follow from seed and frame."""

from __future__ import annotations

import numpy as np
import pytest

from emo_rt.cascade.gestures import Gestures

MINUTE = np.arange(60 * 25)


def test_any_frame_can_be_asked_for_alone() -> None:
    whole = Gestures(3, 0.4, 25).at(MINUTE)
    assert whole.shape == (len(MINUTE), 4)
    assert whole.dtype == np.float32
    some = np.array([700, 3, 4, 5, 1499, 250, 0])
    np.testing.assert_array_equal(Gestures(3, 0.4, 25).at(some), whole[some])
    assert not np.allclose(Gestures(4, 0.4, 25).at(some), whole[some], atol=0.1)


def test_a_video_begins_as_in_the_portrait() -> None:
    for seed in range(5):
        gestures = Gestures(seed, 0.5, 25).at(np.arange(50))
        np.testing.assert_array_equal(gestures[0, :3], 0)
        assert np.linalg.norm(np.diff(gestures[:, :3], axis=0), axis=1).max() < 2.5  # degrees per frame: no jump
        assert np.abs(gestures[:, :3]).max() > 1


@pytest.mark.parametrize("speed", [0.1, 0.2, 0.5, 1.0, 2.0, 4.0])
def test_heads_turn_as_fast_as_asked_within_the_angles_that_puppets_reach(speed: float) -> None:
    for seed in range(5):
        turned = Gestures(seed, speed, 25).at(MINUTE)[:, :3]
        assert np.linalg.norm(np.diff(turned, axis=0), axis=1).mean() == pytest.approx(speed, rel=0.1)
        assert np.abs(turned).max() < 16


def test_a_head_keeps_still_at_speed_0_and_blinks_all_the_same() -> None:
    gestures = Gestures(1, 0, 25).at(MINUTE)
    np.testing.assert_array_equal(gestures[:, :3], 0)
    assert gestures[:, 3].any()


def test_eyes_blink_fifteen_times_a_minute_and_shut_whole() -> None:
    for seed in range(5):
        shut = Gestures(seed, 0.2, 25).at(MINUTE)[:, 3]
        begins = np.flatnonzero((shut[1:] > 0) & (shut[:-1] == 0))
        assert len(begins) + (shut[0] > 0) == 15
        assert (shut == 1).sum() >= 15
        assert len(set(np.diff(begins))) > 5  # not like a clock
        assert (np.diff(begins) > 5).all()
