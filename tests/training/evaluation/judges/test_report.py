"""Readings that agree with the labels pass; each kind of fault makes its own row fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_readings import perfect_mesh, person_points, talking_clip

from training.evaluation.judges import report
from training.evaluation.judges.identity_distances import identity_rows
from training.evaluation.judges.mesh_agreement import mesh_rows
from training.evaluation.judges.reader_agreement import reader_rows
from training.evaluation.judges.readings import MeshReading, write_readings
from training.evaluation.reader import FaceReader, Reading
from training.evaluation.thresholds import Threshold

CLIPS = [talking_clip(seed) for seed in range(3)]
NOISE = np.random.default_rng(7).standard_normal(60)


def _failed(rows: list[Threshold]) -> list[str]:
    return [row.quantity for row in rows if row.passed is False]


def test_a_judge_that_agrees_passes() -> None:
    rows = mesh_rows([(clip, perfect_mesh(clip)) for clip in CLIPS])
    assert all(row.passed for row in rows)
    assert len(rows) == 7
    assert rows[1].measured == "median r = 1.000"


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (lambda seen: replace(seen, opening=seen.opening + 0.03 * np.abs(NOISE)), "mouth opening against the label"),
        (lambda seen: replace(seen, width=seen.width + 0.1 * NOISE), "mouth width against the label"),
        (lambda seen: replace(seen, eyes=-seen.eyes), "blink against the label"),
        (lambda seen: replace(seen, rotation=seen.rotation + 2 * NOISE[:, None]), "yaw against the label"),
        (lambda seen: replace(seen, opening=seen.opening + 0.03), "lips closed in idle stretches"),
        (
            lambda seen: replace(seen, opening=seen.opening + 0.03 * (np.arange(60) % 2)),
            "standard deviation of the opening there",
        ),
        (lambda seen: replace(seen, opening=np.where(np.arange(60) < 2, np.nan, seen.opening)), "frames with a face"),
    ],
)
def test_a_fault_makes_its_row_fail(fault: Callable[[MeshReading], MeshReading], failed: str) -> None:
    assert failed in _failed(mesh_rows([(clip, fault(perfect_mesh(clip))) for clip in CLIPS]))


def test_one_bad_clip_is_the_worst_and_not_the_median() -> None:
    readings = [perfect_mesh(clip) for clip in CLIPS]
    readings[1] = replace(readings[1], opening=readings[1].opening[::-1])
    row = mesh_rows(list(zip(CLIPS, readings, strict=True)))[1]
    assert row.measured == "median r = 1.000"
    assert row.control.startswith("worst -")


def test_what_does_not_vary_is_not_measured() -> None:
    still = talking_clip(yaw=0.1)
    still = replace(still, blink=0 * still.blink, mouth_opening=0 * still.mouth_opening, mouth_width=still.blink * 0.01)
    alone = {row.quantity: row.passed for row in mesh_rows([(still, perfect_mesh(still))])}
    labels = [f"{name} against the label" for name in ("mouth opening", "mouth width", "blink", "yaw")]
    assert [alone[name] for name in labels] == [None] * 4
    beside = mesh_rows([(still, perfect_mesh(still)), *((clip, perfect_mesh(clip)) for clip in CLIPS)])
    assert ["worst 1.000, 3 clips" in row.control for row in beside[1:5]] == [True] * 4


def test_a_clip_without_silence_has_no_idle_stretches() -> None:
    busy = replace(CLIPS[0], phoneme_class=CLIPS[0].phoneme_class + 1)
    assert [row.passed for row in mesh_rows([(busy, perfect_mesh(busy))])[5:]] == [None, None]


class LabelReader(FaceReader):
    """Reads the labels of `CLIPS`, in turn, with an error."""

    def __init__(self, error: Callable[[Reading], Reading] = lambda reading: reading) -> None:
        super().__init__()
        self.error, self.clips = error, iter(CLIPS)

    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        clip = next(self.clips)
        centre, identity = np.zeros((60, 2)), np.ones((60, 64)) / 8
        return self.error(Reading(clip.mouth_opening, clip.mouth_width, clip.blink, clip.rotation, centre, identity))


def test_a_reader_that_reads_what_is_there_passes() -> None:
    rows = reader_rows([(clip, perfect_mesh(clip)) for clip in CLIPS], LabelReader())
    assert [row.passed for row in rows] == [True] * 3
    assert rows[-1].measured == "0.0%"


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (lambda seen: replace(seen, mouth_opening=seen.mouth_opening + 0.3 * NOISE), "the label"),
        (lambda seen: replace(seen, mouth_opening=seen.mouth_opening + 0.5 * NOISE), "mouth opening against the face"),
        (lambda seen: replace(seen, mouth_opening=seen.mouth_opening + 0.2), "whether lips are closed"),
    ],
)
def test_a_bad_reader_makes_its_row_fail(error: Callable[[Reading], Reading], failed: str) -> None:
    rows = reader_rows([(clip, perfect_mesh(clip)) for clip in CLIPS], LabelReader(error))
    assert any(failed in quantity for quantity in _failed(rows))


def test_people_are_told_apart() -> None:
    between, within, portrait = rows = identity_rows({name: person_points(name) for name in "abcd"})
    assert all(row.passed for row in rows)
    assert between.control.startswith("4 people")
    assert "mean 0.1" in within.measured
    assert portrait.measured == "mean 0.100"


def test_people_who_look_alike_or_change_fail() -> None:
    assert _failed(identity_rows({name: person_points(name, face=3) for name in "ab"})) == [
        "distance of different people"
    ]
    assert _failed(identity_rows({name: person_points(name, spread=0.5) for name in "abc"})) == [
        "distance of one person across frames",
        "distance of a frame and its photograph",
    ]


def test_clips_of_one_person_are_not_compared_as_two() -> None:
    assert identity_rows({"first": person_points("a"), "second": person_points("a")})[0].passed is None


def test_clips_without_a_photograph_or_a_face_are_left_out() -> None:
    drawn = replace(person_points("a"), portrait=np.zeros(0))
    faceless = replace(person_points("b"), frames=np.zeros((0, 128)))
    between, within, portrait = identity_rows({"drawn": drawn, "faceless": faceless})
    assert between.passed is None
    assert within.control.startswith("1 of 2 clips")
    assert portrait.passed is None


def _folder(tmp_path: Path) -> Path:
    for index, clip in enumerate(CLIPS):
        clip.save(tmp_path / f"{index}.npz")
    write_readings(tmp_path / "mesh.json", {str(index): perfect_mesh(clip) for index, clip in enumerate(CLIPS)})
    write_readings(tmp_path / "identity.json", {name: person_points(name) for name in "abc"})
    return tmp_path


def test_the_command_prints_a_table_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _folder(tmp_path)
    files = ["--face-mesh", str(folder / "mesh.json"), "--identity", str(folder / "identity.json")]
    assert report.main([str(folder), *files, "--out", str(tmp_path / "rows.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert all(line.startswith("ok") for line in lines[1:])
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 10


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: talking_clip(9).save(folder / "new.npz"), "mesh.json does not have clip new"),
        (lambda folder: talking_clip(0, 50).save(folder / "0.npz"), "mesh.json has another clip 0"),
        (lambda folder: (folder / "mesh.json").write_text("{}"), "mesh.json holds no readings of this judge"),
        (lambda folder: (folder / "identity.json").replace(folder / "mesh.json"), "holds no readings of this judge"),
        (lambda folder: (folder / "mesh.json").unlink(), "mesh.json"),
    ],
)
def test_readings_that_do_not_fit_are_refused_in_one_line(
    damage: Callable[[Path], object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path)
    damage(folder)
    assert report.main([str(folder), "--face-mesh", str(folder / "mesh.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("report: error: ")
    assert error.count("\n") == 1
    assert message in error
