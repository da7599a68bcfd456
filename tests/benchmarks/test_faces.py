"""The benchmark of faces knows right from wrong, and makes what it says of any folder of portraits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import drawn_face
from small_clips import small_clip

from benchmarks import faces
from benchmarks.face_pictures import PARTS, TILTS, FacePicture, clip_pictures, made_count, made_pictures, textures
from benchmarks.faces import in_order, measure, outcome, overlap, table, totals
from emo_rt.media.boxes import Box

BIG, SMALL = Box(10, 10, 100, 100), Box(200, 40, 50, 50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A portrait, and a wall."""
    drawn_face(256).save(tmp_path / "face.png")
    Image.new("RGB", (300, 200), (180, 170, 160)).save(tmp_path / "wall.jpg")
    return tmp_path


def portrait() -> FacePicture:
    return FacePicture("whole", "drawn", np.asarray(drawn_face(256)), (Box(52, 52, 154, 154),))


def test_an_outcome_is_right_refused_or_wrong() -> None:
    assert outcome([BIG, SMALL], [SMALL, BIG]) == "right"
    assert outcome([SMALL], [SMALL, BIG]) == "wrong"  # the largest is wanted
    assert outcome([Box(90, 90, 100, 100)], [BIG]) == "wrong"
    assert outcome([], [BIG]) == "refused"
    assert outcome([], []) == "right"
    assert outcome([SMALL], []) == "wrong"


def test_boxes_overlap_and_stand_in_order() -> None:
    assert overlap(BIG, BIG) == 1
    assert overlap(BIG, SMALL) == 0
    assert overlap(Box(0, 0, 2, 2), Box(1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert in_order([BIG, SMALL], [SMALL, BIG])
    assert not in_order([BIG], [SMALL, BIG])
    assert not in_order([BIG, Box(300, 40, 50, 50)], [SMALL, BIG])


def test_made_pictures_are_as_many_as_said_and_hold_their_faces() -> None:
    grounds = list(textures())
    made = list(made_pictures([portrait()], grounds))
    assert len(made) == made_count(1)
    kinds = {picture.kind: picture for picture in made}
    assert {f"1/{part} of the short side" for part in PARTS} | {f"tilted {t}°" for t in TILTS} <= set(kinds)
    for part in PARTS:
        picture = kinds[f"1/{part} of the short side"]
        assert min(picture.image.shape[:2]) == 1000
        (box,) = picture.faces
        assert box.width == pytest.approx(1000 / part, rel=0.02)
        assert box.fits(picture.image.shape[1::-1])
    assert kinds["covered face"].faces == ()
    assert len(kinds["three people"].faces) == 3
    again = list(made_pictures([portrait()], grounds))
    assert all(np.array_equal(one.image, other.image) for one, other in zip(made, again, strict=True))


def test_made_pictures_are_found_where_they_are_said_to_be() -> None:
    kinds = ("1/12 of the short side", "tilted 60°", "grey", "three people", "covered face")
    pictures = [p for p in made_pictures([portrait()], list(textures())[:1]) if p.kind in kinds]
    results = measure(iter(pictures), len(pictures))
    assert [(row["kind"], row["yunet"]["right"]) for row in results["rows"]] == [(p.kind, 1) for p in pictures]
    assert not results["errors"]
    three = next(row for row in results["rows"] if row["kind"] == "three people")
    assert three["yunet"]["numbered"] == 1
    sums = totals(results["rows"])
    assert (sums["yunet"]["right"], sums["yunet"]["animated"], sums["yunet"]["pictures"]) == (1.0, 0, 5)
    assert "| three people | 1 |" in table(results["rows"])


def test_clips_are_measured_by_how_far_the_head_turns(tmp_path: Path) -> None:
    clip = small_clip(26)
    clip.rotation[:, 0] = -20
    clip.save(tmp_path / "clip.npz")
    pictures = list(clip_pictures(tmp_path))
    assert [picture.kind for picture in pictures] == ["clips, turned 15° to 30°"] * 2
    np.testing.assert_array_equal(pictures[1].image, clip.frames[25])


def test_a_proposed_list_is_measured(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path_factory.mktemp("results")
    monkeypatch.setattr(faces, "results_file", lambda name: out / f"{name}.json")
    monkeypatch.setattr(faces, "drawn_pictures", lambda count: iter(()))
    monkeypatch.setattr(faces, "textures", lambda: iter(()))
    monkeypatch.setattr(faces, "made_pictures", lambda portraits, grounds: iter(portraits))
    assert faces.main([str(folder), "--propose"]) == 0
    lines = (folder / "faces.csv").read_text().splitlines()
    assert lines[0] == "picture,kind,x,y,width,height"
    assert lines[1].startswith("face.png,whole,")
    assert lines[2:] == ["wall.jpg,no face,,,,"]
    assert faces.main([str(folder)]) == 0
    rows = json.loads((out / "faces.json").read_text())["rows"]
    assert [(row["kind"], row["pictures"], row["yunet"]["right"]) for row in rows] == [
        ("whole", 2, 2),
        ("no face", 1, 1),
    ]
    assert "100.00% of faces right, 0 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prepare", "options", "words"),
    [
        (lambda folder: None, [], "faces.csv: no such file; --propose writes one"),
        (lambda folder: (folder / "faces.csv").write_text("a,b\n"), [], "the first line is not picture,kind,x,y"),
        (lambda folder: (folder / "faces.csv").write_text("a,b\n"), ["--propose"], "is there already"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], ["--propose"], "holds no picture"),
        (
            lambda folder: (folder / "faces.csv").write_text("picture,kind,x,y,width,height\nface.png,whole,1,2,x,4\n"),
            [],
            "line 2 has no box of four numbers",
        ),
    ],
)
def test_a_folder_that_cannot_be_measured(
    folder: Path, prepare: Callable[[Path], object], options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(folder)
    assert faces.main([str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
