from __future__ import annotations

import numpy as np
import pytest
from fake_bundle import CONFIG

from emo_rt.cascade.clips import Clip, clip_noise, clips_of
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError


def test_clips_cover_every_frame_once_and_only_the_last_is_trimmed() -> None:
    assert clips_of(26, 12) == [Clip(0, 0, 12), Clip(1, 12, 12), Clip(2, 24, 2)]
    assert clips_of(12, 12) == [Clip(0, 0, 12)]
    assert clips_of(1, 12) == [Clip(0, 0, 1)]


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


def test_only_what_is_not_given_is_the_bundles_own() -> None:
    own = Sampling.of(CONFIG)
    assert own == Sampling(CONFIG.steps, CONFIG.guidance_scale, CONFIG.steps, 1)
    assert Sampling.of(CONFIG, 3, 1.5, 2, 2) == Sampling(3, 1.5, 2, 2)
    assert Sampling.of(CONFIG, guidance_scale=1).guided_steps == 0
    with pytest.raises(InputError, match="cache interval is 0"):
        Sampling.of(CONFIG, cache_interval=0)
    with pytest.raises(InputError, match="guided steps is -1"):
        Sampling.of(CONFIG, guided_steps=-1)


FIRST_NOISE = [0.059911035, 0.015559634, -1.1644385]
