"""The command: an untrained model runs through it, and what is wrong is a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from training.evaluate import main
from training.evaluation.evaluation import EvaluationOptions
from training.evaluation.reader import FaceReader
from training.evaluation.thresholds import Threshold, threshold_table
from training.model.config import EmoConfig

FRAMES = 6


def places(directory: Path, out: Path) -> list[str]:
    data = [f"--{name}={directory / folder}" for name, folder in (("model", "model"), ("data", "clips"))]
    return [*data, f"--reader={directory / 'reader'}", f"--out={out}"]


def test_the_command_line_writes_its_files_and_goes_on_where_it_stopped(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*places(directory, tmp_path), f"--family-data={directory / 'clips'}"]
    options += ["--videos=2", f"--seconds={FRAMES / 25}", "--steps=1", "--speed=0.25"]
    options += ["--family-videos=1", "--speed-videos=1", "--region-videos=1", "--long-videos=1", "--long-seconds=0.48"]
    assert main(options) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    rows = [Threshold(**row) for row in result["thresholds"]]
    printed = capsys.readouterr().out
    assert threshold_table(rows) in printed
    assert "not measured" not in threshold_table([row for row in rows if "borders" not in row.quantity])
    assert "a trial, no verdict" in printed
    sync = result["sync"]
    assert (sync["videos"], sync["frames"], result["steps"], result["speed"]) == (2, FRAMES, 1, 0.25)
    assert result["guidance_scale"] == EmoConfig.from_name("emo-test").guidance_scale
    opening = sync["opening"]
    assert opening["control_sentences"] == 2
    for name in ("correlation", "control", "best_lag_correlation", "control_best_lag", "lowest", "highest"):
        assert -1 <= opening[name] <= 1
    assert set(opening["by_lag"]) == {"-1", "0", "1"}
    assert [video["name"] for video in sync["per_video"]] == ["17", "33"]
    assert Image.open(tmp_path / "strip.png").height > 0
    assert Image.open(tmp_path / "contact_sheet.png").size == (11 * 32 + 4, 4 * 32 + 4)
    # The second time nothing is generated.
    monkeypatch.setattr("training.model.pipeline.EmoPipeline.__call__", None)
    assert main(options) == 0
    again = json.loads((tmp_path / "evaluation.json").read_text())
    assert again | {"seconds": 0} == result | {"seconds": 0}


def test_experiments_can_be_left_out(directory: Path, tmp_path: Path) -> None:
    options = ["--videos=1", f"--seconds={FRAMES / 25}", "--steps=1", "--no-experiments"]
    family = f"--family-data={directory / 'clips'}"
    assert main([*places(directory, tmp_path), family, *options]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert [result[name] for name in ("voice_family", "speeds", "regions", "long")] == [None] * 4
    assert sum(row["passed"] is None for row in result["thresholds"]) >= 6


def test_the_quick_signal_takes_the_bundled_reader(directory: Path, tmp_path: Path) -> None:
    options = [option for option in places(directory, tmp_path) if not option.startswith("--reader")]
    assert main([*options, "--quick", "--windows=5"]) == 0
    result = json.loads((tmp_path / "quick.json").read_text())
    assert set(result["mouth_loss"]) == {"right", "wrong", "none"}
    assert set(result["opening_correlation"]) == {"right", "wrong", "none"}
    reached = {kind: accuracy["opening_correlation"] for kind, accuracy in result["reader_accuracy"].items()}
    assert reached["held-out-drawn"] > 0.99
    assert reached["held-out-puppets"] > 0.95
    assert not (tmp_path / "evaluation.json").exists()


def test_a_reader_that_is_not_good_enough_does_not_judge(
    directory: Path, reader: FaceReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.save(tmp_path)
    (tmp_path / "reader.json").write_text(
        json.dumps({"tests": {"held-out": {"renders": {"opening_correlation": 0.9}}}})
    )
    assert main([*places(directory, tmp_path / "out"), f"--reader={tmp_path}"]) == 2
    assert "not good enough to judge" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_line_names_what_is_missing(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*places(directory, tmp_path), f"--model={tmp_path}", f"--data={tmp_path}"]) == 2
    assert "is no checkpoint" in capsys.readouterr().err


def test_numbers_that_are_too_small_are_a_clear_error(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ({"videos": 0}, {"seconds": 0.0}, {"steps": 0}):
        with pytest.raises(ValueError, match="must be above 0"):
            EvaluationOptions(out=tmp_path, **wrong)
    with pytest.raises(ValueError, match="cannot have less than 0 videos"):
        EvaluationOptions(out=tmp_path, long_videos=-1)
    assert main([*places(directory, tmp_path), "--videos=0"]) == 2
    assert "must be above 0" in capsys.readouterr().err
