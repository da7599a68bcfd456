"""What the metrics say of curves and frames whose answer is known."""

import numpy as np
import pytest

from training.clips.phonemes import PHONEME_CLASSES
from training.evaluation.metrics import (
    LipClosures,
    best_lag_correlation,
    border_ratio,
    colour_drift,
    correlation,
    find_blinks,
    lagged_correlation,
    lip_closures,
    matched_events,
    mean_speed,
    nearest,
    nearest_pictures,
    picture_psnr,
    psnr,
    rank_correlation,
    share_inside,
    wandering,
)
from training.speakers.speaker import make_clip


def classes(text: str) -> np.ndarray:
    """Two letters for each frame; `_` is silence."""
    return np.array([0 if letter == "_" else PHONEME_CLASSES.index(letter) for letter in text])


def test_a_mouth_closes_for_a_sound_in_any_of_its_frames() -> None:
    opening = np.array([0.5, 0.1, 0.5, 0.5, 0.9, 0.0])
    assert lip_closures(opening, classes("_mm_kkpp__bb")) == LipClosures(2, 3)  # m in frames 0 and 1, p in 3, b in 5


def test_sounds_beyond_the_end_do_not_count() -> None:
    assert lip_closures(np.array([0.0]), classes("__mm")) == LipClosures(0, 0)
    assert LipClosures(0, 0).share is None


def test_the_truth_closes_its_lips_and_an_open_mouth_does_not() -> None:
    clips = [make_clip(seed, seconds=2.0, resolution=32) for seed in (1, 2, 3)]
    truth, open_mouth = (
        LipClosures.total(lip_closures(opening(clip), clip.phoneme_class) for clip in clips)
        for opening in (lambda clip: clip.mouth_opening, lambda clip: np.ones_like(clip.mouth_opening))
    )
    assert truth.sounds >= 2
    assert truth.share == 1
    assert open_mouth == LipClosures(0, truth.sounds)


def test_a_jump_between_clips_shows() -> None:
    levels = np.array([0, 1, 2, 3, 13, 14, 15, 16])
    frames = np.broadcast_to(levels[:, None, None, None], (8, 4, 4, 3)).astype(np.uint8)
    assert border_ratio(frames, clip_frames=4) == pytest.approx(10)
    assert border_ratio(frames, clip_frames=8) is None


def test_colour_drift_by_hand() -> None:
    """Black to white is the whole range of L, 100."""
    frames = np.concatenate([np.zeros((4, 2, 2, 3)), np.full((4, 2, 2, 3), 255)]).astype(np.uint8)
    assert colour_drift(frames, span=4) == pytest.approx(100, abs=0.1)
    assert colour_drift(frames, span=8) == 0


def test_correlation_by_hand() -> None:
    curve = np.array([0.0, 1.0, 2.0])
    assert correlation(curve, 3 * curve + 1) == pytest.approx(1)
    assert correlation(curve, -curve) == pytest.approx(-1)
    assert correlation(curve, np.array([0.0, 2.0, 1.0])) == pytest.approx(0.5)
    assert correlation(np.array([1e-3, 2e-3], np.float32), np.array([5.0, 7.0])) == pytest.approx(1)


@pytest.mark.parametrize("still", [np.zeros(5), np.full(5, 0.1), np.full(5, 0.3, np.float32)])
def test_a_curve_that_does_not_move_correlates_with_nothing(still: np.ndarray) -> None:
    assert correlation(still, np.arange(5.0)) == 0
    assert correlation(np.arange(5.0), still) == 0
    assert correlation(still, still) == 0
    assert correlation(np.zeros(0), np.zeros(0)) == 0


def test_correlation_rejects_curves_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        correlation(np.zeros(4), np.zeros(5))


def test_a_late_picture_correlates_at_a_positive_lag() -> None:
    label = np.random.default_rng(0).random(50)
    assert lagged_correlation(np.roll(label, 1), label, 1) == pytest.approx(1)
    assert lagged_correlation(np.roll(label, -1), label, -1) == pytest.approx(1)
    assert abs(lagged_correlation(np.roll(label, 1), label, 0)) < 0.5


def test_the_best_lag_is_that_of_all_curves_together_and_two_frames_are_too_late() -> None:
    labels = list(np.random.default_rng(0).random((4, 50)))
    assert best_lag_correlation([(np.roll(label, 1), label) for label in labels]) == (1, pytest.approx(1))
    assert best_lag_correlation([(np.roll(label, 2), label) for label in labels])[1] < 0.3


def test_rank_correlation_by_hand() -> None:
    asked = np.array([0.0, 1.0, 2.0, 3.0])
    assert rank_correlation(asked, np.exp(asked)) == pytest.approx(1)
    assert rank_correlation(asked, -(asked**3)) == pytest.approx(-1)
    assert rank_correlation(asked, np.array([1.0, 0.0, 3.0, 2.0])) == pytest.approx(0.6)
    assert rank_correlation(asked, np.array([0.0, 1.0, 1.0, 1.0])) == pytest.approx(np.sqrt(0.6))  # ties share a rank


def test_a_head_that_never_moves_follows_no_speed() -> None:
    still = np.array([mean_speed(np.zeros((20, 3))) for _ in range(4)])
    assert rank_correlation(np.arange(4.0), still) == 0
    assert rank_correlation(np.zeros(1), np.ones(1)) == rank_correlation(np.zeros(0), np.zeros(0)) == 0


def test_a_steady_turn_has_its_speed() -> None:
    rotation = np.zeros((20, 3))
    rotation[:, 0] = 1.5 * np.arange(20)
    assert mean_speed(rotation) == pytest.approx(1.5, rel=1e-4)


def test_blinks_are_counted_once_each() -> None:
    curve = np.zeros(40)
    curve[5:9] = [0.6, 1.0, 0.8, 0.3]
    curve[20:24] = [0.9, 0.4, 0.9, 0.2]  # trembles, but does not open
    curve[30:33] = 0.45  # half closed lids are no blink
    assert find_blinks(curve) == [(5, 8), (20, 22)]
    assert find_blinks(curve[6:7]) == [(0, 0)]
    assert find_blinks(np.zeros(9)) == find_blinks(np.zeros(0)) == []


def test_events_match_once_and_near() -> None:
    assert matched_events([(5, 8), (20, 22)], [(6, 7), (21, 23)]) == (2, 2, 2)
    assert matched_events([(5, 6), (7, 8)], [(5, 8)]) == (1, 2, 1)
    assert matched_events([(1, 2)], [(9, 10)]) == (0, 1, 1)


def test_permuted_people_are_found_by_chance() -> None:
    gallery = np.random.default_rng(0).standard_normal((100, 64))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    assert (nearest(gallery, gallery) == np.arange(100)).all()
    shuffled = np.random.default_rng(1).permutation(100)
    assert (nearest(gallery[shuffled], gallery) == np.arange(100)).mean() < 0.05


def test_places_outside_of_the_region_count() -> None:
    region = np.zeros((1, 1, 8, 8))
    region[:, :, 2:6, 4:8] = 1  # rows 2 to 5, columns 4 to 7
    assert share_inside(np.array([[0.75, 0.5], [0.5, 0.6], [0.25, 0.5], [0.75, 0.9]]), region) == 0.5


def test_wandering_by_hand() -> None:
    assert wandering(np.array([[0.0, 0.0], [0.0, 2.0]])) == 1
    assert wandering(np.ones((5, 2))) == 0


def test_psnr_by_hand() -> None:
    black, grey = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 51, np.uint8)
    assert psnr(black, grey) == pytest.approx(-20 * np.log10(0.2))
    assert picture_psnr(np.concatenate([black, grey]), np.concatenate([grey, grey])) == pytest.approx(
        [-20 * np.log10(0.2), 100]
    )
    assert psnr(np.array([0.0, 0.5]), np.array([0.0, 0.6]), data_range=2.0) == pytest.approx(10 * np.log10(4 / 0.005))


def test_equal_pictures_have_100_db_and_broken_ones_none() -> None:
    grey = np.full((1, 2, 2, 3), 51, np.uint8)
    assert psnr(grey, grey) == 100
    assert psnr(np.zeros(3), np.full(3, 1e-9), data_range=1.0) == 100
    assert np.isnan(psnr(np.full(3, np.nan), np.zeros(3)))


def test_the_nearest_picture_has_the_least_error() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    shuffled = np.array([3, 0, 4, 1, 2])
    np.testing.assert_array_equal(nearest_pictures(pictures[shuffled] // 2 * 2, pictures), shuffled)
