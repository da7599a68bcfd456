"""Whose photograph a seed gets: nobody is in both splits, and few seeds change when people join."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from made_photograph import made_photograph

from training.clips.held_out import is_held_out_person, is_held_out_seed
from training.speakers.casting import HELD_OUT_PERCENT, Cast

SEEDS = range(600)
HELD_OUT_SEED = next(seed for seed in SEEDS if is_held_out_seed(seed))


def cast_of(*names: str) -> Cast:
    """People with one picture each, which nobody looks at."""
    return Cast(Path("faces"), {name: [Path("faces") / f"{name}.npz"] for name in names}, "")


MANY = cast_of(*(f"person{number}" for number in range(40)))


def test_held_out_seeds_have_held_out_people() -> None:
    for seed in SEEDS:
        assert is_held_out_person(MANY.photograph(seed).stem, HELD_OUT_PERCENT) == is_held_out_seed(seed)


def test_everybody_has_a_turn() -> None:
    turns = Counter(MANY.photograph(seed).stem for seed in SEEDS)
    assert len(turns) == 40
    assert max(turns.values()) < 60


def test_another_person_changes_few_seeds() -> None:
    more = cast_of(*MANY.photographs, "newcomer")
    changed = [seed for seed in SEEDS if MANY.photograph(seed) != more.photograph(seed)]
    assert {more.photograph(seed).stem for seed in changed} == {"newcomer"}
    assert 0 < len(changed) < 0.06 * len(SEEDS)


def test_pictures_of_one_person_share_its_turns() -> None:
    pictures = [Path(f"{number}.npz") for number in range(4)]
    cast = Cast(Path("faces"), {"anna": pictures}, "")
    seeds = [seed for seed in range(60) if is_held_out_seed(seed) == is_held_out_person("anna", HELD_OUT_PERCENT)]
    assert {cast.photograph(seed) for seed in seeds} == set(pictures)


def test_a_folder_tells_who_is_in_it(tmp_path: Path) -> None:
    for name in ("anna", "otto"):
        made_photograph(name).save(tmp_path)
    before = Cast.read(tmp_path)
    assert before.photographs == {name: [tmp_path / f"{name}.npz"] for name in ("anna", "otto")}
    assert before.fingerprint.startswith("2 pictures of 2 people (")
    assert Cast.read(tmp_path).fingerprint == before.fingerprint
    made_photograph("otto", parted=0.2).save(tmp_path)
    assert Cast.read(tmp_path).fingerprint != before.fingerprint


@pytest.mark.parametrize("part", ["anna.mask.png", "anna.jpg"])
def test_a_missing_part_is_named_at_once(part: str, tmp_path: Path) -> None:
    made_photograph().save(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(ValueError, match=rf"{part} is missing: make it anew with"):
        Cast.read(tmp_path)


def test_a_folder_in_which_nobody_is_held_out_says_what_to_do() -> None:
    names = [f"person{number}" for number in range(9)]
    few = cast_of(*[name for name in names if not is_held_out_person(name, HELD_OUT_PERCENT)][:3])
    with pytest.raises(
        ValueError, match=r"faces: nobody of its 3 people is kept from training; .* or take --split train"
    ):
        few.photograph(HELD_OUT_SEED)
    assert few.photograph(HELD_OUT_SEED + 1)
