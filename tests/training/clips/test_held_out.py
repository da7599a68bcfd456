"""Who is kept from training: always the same, and as many as asked for."""

from __future__ import annotations

import numpy as np
import pytest

from training.clips.held_out import is_held_out_person, is_held_out_seed


def test_a_tenth_of_the_seeds_is_held_out() -> None:
    assert 0.08 < np.mean([is_held_out_seed(seed) for seed in range(2000)]) < 0.12


def test_the_share_held_out_is_the_one_asked_for_and_stays() -> None:
    names = [f"person {number}" for number in range(4000)]
    held_out = {percent: {name for name in names if is_held_out_person(name, percent)} for percent in (0, 10, 30, 100)}
    assert [len(found) for found in held_out.values()] == [
        0,
        pytest.approx(400, abs=80),
        pytest.approx(1200, abs=120),
        4000,
    ]
    assert held_out[10] < held_out[30]
    assert is_held_out_person("Radio", 17.0)
    assert not is_held_out_person("Radio", 16.0)
