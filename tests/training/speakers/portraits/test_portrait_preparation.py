"""Preparing a folder of portraits goes on where it was stopped, sees what has changed and refuses bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from known_portraits import KnownFaces, face_points, write_portrait

from training import prepare
from training.speakers.portraits import landmarker, preparation
from training.speakers.puppets.photographs import Photograph, photograph_paths

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _known_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "load_landmarker", lambda: KnownFaces(face_points()))


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    folder = tmp_path / "portraits"
    for seed, name in enumerate(["anna/1.png", "anna/2.png", "ben.png"]):
        write_portrait(folder / name, seed)
    write_portrait(folder / "cloud.png", face=False)
    (folder / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    return folder


def _run(*arguments: object) -> int:
    return prepare.main(["portraits", *map(str, arguments)])


def _report(out: Path) -> dict[str, dict[str, object]]:
    lines = map(json.loads, (out / "portraits.jsonl").read_text().splitlines())
    return {line["picture"]: line for line in lines}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_portraits_become_photographs(portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(portraits, tmp_path / "out") == 0
    photographs = [Photograph.load(path) for path in photograph_paths(tmp_path / "out")]
    assert [(photo.name, photo.identity) for photo in photographs] == [
        ("anna_1", "anna"),
        ("anna_2", "anna"),
        ("ben", "ben"),
    ]
    assert all(np.array_equal(photo.landmarks, face_points()) for photo in photographs)
    report = _report(tmp_path / "out")
    assert {name: line["rejected"] for name, line in report.items() if line["rejected"]} == {
        "cloud.png": "no face",
        "torn.jpg": "not a readable picture",
    }
    assert [report[name]["identity"] for name in ("anna/1.png", "anna/2.png", "ben.png")] == ["anna", "anna", "ben"]
    table = capsys.readouterr().out
    assert "3 photographs of 2 people" in table
    assert "1   no face" in table


def test_what_is_finished_is_not_done_again(portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert _run(portraits, out) == 0
    before = _files(out)
    monkeypatch.setattr(preparation, "make_photograph", lambda *_: pytest.fail("done again"))
    assert _run(portraits, out) == 0
    assert _files(out) == before


def test_a_stopped_run_goes_on(portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(portraits, tmp_path / "whole") == 0
    out, make, made = tmp_path / "out", preparation.make_photograph, []

    def stop(*arguments: object) -> Photograph:
        made.append(arguments)
        if len(made) == 2:
            raise KeyboardInterrupt
        return make(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "make_photograph", stop)
        assert _run(portraits, out) == 130
    assert list(_report(out)) == ["anna/1.png"]
    with (out / "portraits.jsonl").open("a") as file:
        file.write('{"picture": "anna/2.p')  # a line that was being written
    assert _run(portraits, out) == 0
    assert _files(out) == _files(tmp_path / "whole")


def test_a_changed_picture_and_a_lost_photograph_are_done_again(portraits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run(portraits, out) == 0
    before = _files(out)
    (out / "anna_2.npz").unlink()
    write_portrait(portraits / "ben.png", face=False)
    write_portrait(portraits / "anna" / "1.png", seed=9)
    assert _run(portraits, out) == 0
    after = _files(out)
    assert sorted(after) == sorted(name for name in before if not name.startswith("ben."))
    assert after["anna_2.npz"]
    assert after["anna_1.jpg"] != before["anna_1.jpg"]
    assert _report(out)["ben.png"]["rejected"] == "no face"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["gone", "out"], "gone: no such folder"),
        (["empty", "out"], "empty has no pictures"),
        (["faceless", "out"], "faceless has no portrait that can talk: 2 x no face"),
        (["portraits", "portraits/out"], "portraits/out is in portraits"),
        (["portraits", "out", "--workers", "0"], "--workers is at least 1, not 0"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_nothing(
    given: list[str],
    message: str,
    portraits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for seed, name in enumerate(["a.png", "b.png"]):
        write_portrait(Path("faceless") / name, seed, face=False)
    before = sorted(tmp_path.rglob("*"))
    assert _run(*given) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prepare")]
    assert len(lines) == 1
    assert lines[0].startswith(f"prepare: error: {message}")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_was_there_stays(portraits: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write_portrait(tmp_path / "faceless" / "a.png", face=False)
    assert _run(tmp_path / "faceless", tmp_path / "out") == 2
    assert _files(tmp_path / "out") == {"notes.txt": b"mine"}


def test_mediapipe_that_is_missing_is_asked_for(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preparation, "load_landmarker", landmarker.MediaPipeLandmarker)
    for module in (None, type(sys)("mediapipe")):  # missing, and a release without the models
        monkeypatch.setitem(sys.modules, "mediapipe", module)
        assert _run(portraits, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "mediapipe==0.10.21 is needed" in error
        assert "docs/training.md" in error
        assert not (tmp_path / "out").exists()


def test_a_folder_of_videos_may_be_called_portraits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("portraits").mkdir()
    assert prepare.main(["./portraits", "out"]) == 2
    assert "portraits has no videos" in capsys.readouterr().err


def test_nothing_of_pytorch_or_onnx_is_loaded() -> None:
    code = (
        "import sys; from training import prepare; code = prepare.main(['portraits', 'gone', 'out']); "
        "print(code, *(name for name in ('torch', 'onnxruntime', 'diffusers', 'av') if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "2\n"
