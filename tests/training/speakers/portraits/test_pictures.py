"""Which portraits are found, what they are called, and whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.speakers.portraits.pictures import find_portraits


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_subfolder_is_one_person_and_a_picture_beside_it_another(tmp_path: Path) -> None:
    _touch(tmp_path, "anna/a.jpg", "anna/b.PNG", "cleo.webp", "ben & co/x y.jpeg", "anna/notes.txt")
    found = [(file.picture, file.name, file.identity) for file in find_portraits(tmp_path)]
    assert found == [
        ("anna/a.jpg", "anna_a", "anna"),
        ("anna/b.PNG", "anna_b", "anna"),
        ("ben & co/x y.jpeg", "ben_co_x_y", "ben & co"),
        ("cleo.webp", "cleo", "cleo"),
    ]


def test_names_are_never_shared(tmp_path: Path) -> None:
    _touch(tmp_path, "a/b.jpg", "a_b.jpg", "a_b.png", "c.jpg", "é.jpg", "è.jpg")
    names = [file.name for file in find_portraits(tmp_path)]
    assert len(set(names)) == len(names) == 6
    assert "c" in names


def test_masks_and_hidden_files_are_no_portraits(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "a.mask.png", "._a.jpg", ".cache/b.jpg")
    assert [file.picture for file in find_portraits(tmp_path)] == ["a.jpg"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_portraits(tmp_path / "gone")
    _touch(tmp_path, "notes.txt")
    with pytest.raises(FileNotFoundError, match="has no pictures"):
        find_portraits(tmp_path)
