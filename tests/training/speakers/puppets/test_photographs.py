"""Prepared portraits: what is written is read, and what is not whole is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_photograph import made_photograph

from training.speakers.puppets.photographs import Photograph, photograph_paths


def test_a_photograph_survives_saving(tmp_path: Path) -> None:
    photograph = made_photograph()
    photograph.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anna.jpg", "anna.mask.png", "anna.npz"]
    (path,) = photograph_paths(tmp_path)
    loaded = Photograph.load(path)
    assert (loaded.name, loaded.identity) == ("anna", "anna")
    np.testing.assert_array_equal(loaded.landmarks, photograph.landmarks)
    np.testing.assert_array_equal(loaded.mask, photograph.mask)
    assert np.abs(loaded.picture.astype(int) - photograph.picture).mean() < 2


def test_it_is_remembered_who_wears_glasses(tmp_path: Path) -> None:
    for glasses in (False, True):
        replace(made_photograph(), glasses=glasses).save(tmp_path)
        assert Photograph.load(tmp_path / "anna.npz").glasses is glasses


def test_a_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no prepared portraits: .*training\.prepare portraits"):
        photograph_paths(tmp_path)


@pytest.mark.parametrize(
    ("missing", "words"),
    [("anna.mask.png", r"anna\.mask\.png cannot be read"), ("anna.jpg", r"anna\.jpg cannot be read")],
)
def test_a_missing_part_is_named(missing: str, words: str, tmp_path: Path) -> None:
    made_photograph().save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ValueError, match=words):
        Photograph.load(tmp_path / "anna.npz")


def test_landmarks_of_another_version_or_size_are_refused(tmp_path: Path) -> None:
    made_photograph().save(tmp_path)
    path = tmp_path / "anna.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **arrays | {"version": 7})
    with pytest.raises(ValueError, match="is of version 7, not 1: make it anew"):
        Photograph.load(path)
    np.savez(path, **arrays | {"landmarks": np.zeros((68, 3))})
    with pytest.raises(ValueError, match=r"shape \(68, 3\)"):
        Photograph.load(path)
    whole = path.read_bytes()
    for damaged in (b"no archive", b"", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"anna\.npz is no prepared portrait"):
            Photograph.load(path)
