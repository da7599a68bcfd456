"""People follow from their seeds, and differ as people do."""

from __future__ import annotations

import dataclasses

import numpy as np

from training.speakers.drawn.heads import Portraits
from training.speakers.drawn.people import sample_portraits


def test_a_person_follows_from_the_seed_whoever_stands_beside() -> None:
    alone, together = sample_portraits([7]), sample_portraits([3, 7])[1]
    for field in dataclasses.fields(Portraits):
        np.testing.assert_array_equal(getattr(alone, field.name), getattr(together, field.name))


def test_what_is_drawn_at_random_stays_in_its_order() -> None:
    """A draw more, or one elsewhere, changes all people that models were trained on."""
    people = sample_portraits(range(6))
    np.testing.assert_allclose(people.skin[:, 0], [0.4755, 0.5849, 0.4557, 0.5330, 0.9704, 0.7321], atol=1e-4)  # first
    np.testing.assert_allclose(
        people.ambient[:, 0], [0.3855, 0.3590, 0.4661, 0.3581, 0.4226, 0.4629], atol=1e-4
    )  # last


def test_traits_come_together_as_they_do_in_people() -> None:
    people = sample_portraits(range(400))
    assert 0.05 < (people.beard > 0).float().mean() < 0.3
    assert (people.beard[people.moustache > 0] > 0).all()  # nobody has a moustache alone
    long_haired = (people.hair_length > 0.8) & (people.hair_side > 0.69)
    assert (people.ear[long_haired] == 0).all()
    assert 0.1 < long_haired.float().mean() < 0.5
    bald = people.hair_present == 0
    assert (people.hair_volume[bald] == 0).all()
    assert 0 < bald.float().mean() < 0.1
