"""Preparing a folder goes on where it was stopped, keeps identities apart and refuses bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from footage_videos import OPTIONS, TheSameFace, files_of, report_of, write_video

from training import prepare
from training.clips.clip import TrainingClip
from training.footage import preparation
from training.footage.face_models import FaceModels


def test_identities_are_never_shared_between_the_splits(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "load_face_models", lambda _: FaceModels(TheSameFace()))
    frames = speakers["cleo"].frames[:26]
    names = ["a/1.mp4", "a/2.mp4", "WRA_RandPaul0_001.mp4", "RandPaul2_0.mp4", "RandPaul1.mp4", "zoe.mp4", "zoe_2.mp4"]
    for name in names:
        write_video(tmp_path / "in" / name, frames)
    assert prepare.main([str(tmp_path / "in"), str(tmp_path / "out"), *OPTIONS, "--held-out", "50"]) == 0
    report = report_of(tmp_path / "out")
    assert [report[name]["identity"] for name in names] == ["a", "a", *3 * ["RandPaul"], "zoe", "zoe"]
    splits: dict[object, set[object]] = {}
    for line in report.values():
        splits.setdefault(line["identity"], set()).add(line["split"])
        assert all(str(clip).startswith(f"{line['split']}/") for clip in line["clips"])  # type: ignore[attr-defined]
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "held-out"}


def test_what_is_finished_is_not_done_again(
    footage: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(prepared, tmp_path / "out")
    before = files_of(out)

    def never(*_: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(preparation, "clips_of_video", never)
    assert prepare.main([str(footage), str(out), *OPTIONS]) == 0
    assert files_of(out) == before


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    footage: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, save, saved = tmp_path / "out", TrainingClip.save, []

    def stop(clip: TrainingClip, path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            path.with_name("half.npz.part").write_bytes(b"half")
            raise KeyboardInterrupt
        save(clip, path)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingClip, "save", stop)
        assert prepare.main([str(footage), str(out), *OPTIONS]) == 130
    assert list(report_of(out)) == ["anna/talk.mp4"]
    assert len(list(out.rglob("*.npz"))) == 1
    with (out / "report.jsonl").open("a") as file:
        file.write('{"video": "ben/cut.m')  # a line that was being written
    assert prepare.main([str(footage), str(out), *OPTIONS]) == 0
    assert files_of(out) == files_of(prepared)


def test_other_settings_are_refused_in_one_line(
    footage: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(prepared, tmp_path / "out")
    assert prepare.main([str(footage), str(out), *OPTIONS, "--held-out", "5"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--held-out 40.0, not 5.0" in error


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        ([], [], "no such folder"),
        (["in/"], [], "has no videos"),
        (["in/a.mp4"], ["--annotations", "in"], "neither HDTF's"),
        (["in/a.mp4"], ["--landmarker", "no.task"], "no.task: no such file"),
        (["in/a.mp4"], ["--reader", "in"], "reader.safetensors is missing"),
        (["in/a.mp4", "out"], [], "out"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(
    make: list[str],
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in make:
        Path("in").mkdir(exist_ok=True)
        if not name.endswith("/"):
            Path(name).write_text("")
    assert prepare.main(["in", "out", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("prepare: error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    "options",
    [
        ["--seconds", "nan"],
        ["--seconds", "inf"],
        ["--resolution", "0"],
        ["--held-out", "101"],
        ["--min-face", "nan"],
        ["--detect-every", "0"],
        ["--detect-every", "26"],
        ["--workers", "0"],
    ],
)
def test_impossible_options_are_refused(
    options: list[str], footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare.main([str(footage), str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"prepare: error: {options[0]} is ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
