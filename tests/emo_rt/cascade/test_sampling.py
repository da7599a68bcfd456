"""A sampling says which graph runs each step."""

from __future__ import annotations

import pytest
from fake_bundle import CONFIG

from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError


def test_values_that_are_not_given_are_the_bundles_defaults() -> None:
    own = Sampling.of(CONFIG)
    assert own == Sampling(CONFIG.steps, CONFIG.guidance_scale, CONFIG.steps, 1)
    assert Sampling.of(CONFIG, 3, 1.5, 2, 2) == Sampling(3, 1.5, 2, 2)
    assert Sampling.of(CONFIG, guidance_scale=1).guided_steps == 0
    with pytest.raises(InputError, match="cache interval is 0"):
        Sampling.of(CONFIG, cache_interval=0)
    with pytest.raises(InputError, match="guided steps is -1"):
        Sampling.of(CONFIG, guided_steps=-1)


def test_cached_steps_follow_a_full_step_with_the_same_guidance() -> None:
    assert Sampling(6, 2.0, 4, 3).graphs == [
        *("guided_backbone", "cached_guided_backbone", "cached_guided_backbone", "guided_backbone"),
        *("backbone", "cached_backbone"),  # there are no deep features without guidance yet
    ]
    assert Sampling(3, 2.0, 0, 3).graphs == ["backbone", "cached_backbone", "cached_backbone"]
    assert Sampling(2, 2.0, 2).graphs == ["guided_backbone"] * 2


def test_a_sampling_describes_itself() -> None:
    assert str(Sampling(1, 2.0, 0)) == "1 step, none guided"
    assert str(Sampling(8, 2.0, 8)) == "8 steps, all guided"
    assert str(Sampling(9, 3.0, 2, 3)) == "9 steps, 2 guided, 1 in 3 full"
