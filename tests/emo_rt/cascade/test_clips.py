"""The noise of a clip is a function of seed and clip alone."""

from __future__ import annotations

import numpy as np
import pytest

from emo_rt.cascade.clips import clip_noise
from emo_rt.errors import InputError

FIRST_NOISE = [0.059911035, 0.015559634, -1.1644385]


def test_noise_is_a_function_of_seed_and_clip_alone() -> None:
    first = clip_noise(7, 0, (4, 2, 3, 3))
    assert first.shape == (4, 2, 3, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, clip_noise(7, 0, (4, 2, 3, 3)))
    for seed, clip in ((8, 0), (7, 1), (0, 7)):
        assert not np.array_equal(first, clip_noise(seed, clip, (4, 2, 3, 3)))


def test_noise_never_changes() -> None:
    """A change here changes every video that was ever made with a seed."""
    expected = np.random.Generator(np.random.Philox(key=[3, 5])).standard_normal((2, 2), dtype=np.float32)
    np.testing.assert_array_equal(clip_noise(3, 5, (2, 2)), expected)
    np.testing.assert_allclose(clip_noise(0, 0, (3,)), FIRST_NOISE, rtol=1e-6)


def test_noise_is_standard_normal() -> None:
    noise = clip_noise(2**64 - 1, 0, (100_000,))
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="seed"):
        clip_noise(seed, 0, (1,))
