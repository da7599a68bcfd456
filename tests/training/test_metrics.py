"""What the metrics say of curves and frames whose answer is known."""

import numpy as np
import pytest

from training.corpus import make_clip
from training.metrics import border_ratio, closures, colour_drift
from training.phonemes import PHONEME_CLASSES


def classes(text: str) -> np.ndarray:
    """Two letters for each frame; ``_`` is silence."""
    return np.array([0 if letter == "_" else PHONEME_CLASSES.index(letter) for letter in text])


def test_a_mouth_closes_for_a_sound_in_any_of_its_frames() -> None:
    opening = np.array([0.5, 0.1, 0.5, 0.5, 0.9, 0.0])
    assert closures(opening, classes("_mm_kkpp__bb")) == (2, 3)  # m in frames 0 and 1, p in 3, b in 5


def test_sounds_beyond_the_end_do_not_count() -> None:
    assert closures(np.array([0.0]), classes("__mm")) == (0, 0)


def test_the_truth_closes_its_lips_and_an_open_mouth_does_not() -> None:
    clips = [make_clip(seed, seconds=2.0, resolution=32) for seed in (1, 2, 3)]
    truth, open_mouth = (
        np.sum([closures(opening(clip), clip.phoneme_class) for clip in clips], axis=0)
        for opening in (lambda clip: clip.mouth_opening, lambda clip: np.ones_like(clip.mouth_opening))
    )
    assert truth[1] >= 2
    assert truth[0] == truth[1]
    assert tuple(open_mouth) == (0, truth[1])


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
