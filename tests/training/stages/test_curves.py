"""Learning curves keep what a run's log says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from training.stages.curves import COLUMNS, POINTS, Curve, main, read_curves


def log(run: Path, lines: list[dict[str, float]]) -> Path:
    run.mkdir()
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_long_run_becomes_means_around_few_steps(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": float(step), "frames_per_second": 9.0} for step in range(1, 10 * POINTS + 1)]
    curve = Curve.read(log(tmp_path / "video", [*lines, {"step": 1000, "held_out_loss": 0.25}]))
    assert curve.run == "video"
    assert len(curve.step) == len(curve.loss) == POINTS
    assert (curve.step[0], curve.loss[0]) == (10, 5.5)
    assert (curve.step[-1], curve.loss[-1]) == (1000, 995.5)
    assert (curve.held_out_step, curve.held_out_loss) == ([1000], [0.25])


def test_the_data_can_be_drawn_again(tmp_path: Path) -> None:
    runs = [log(tmp_path / name, [{"step": 20, "loss": 0.5}, {"step": 40, "loss": 0.25}]) for name in ("vae", "image")]
    assert main([*map(str, runs), "--out", str(tmp_path / "both")]) == 0
    assert main([str(tmp_path / "both.json"), "--out", str(tmp_path / "again")]) == 0
    curves = read_curves(tmp_path / "again.json")
    assert [(curve.run, curve.loss) for curve in curves] == [("vae", [0.5, 0.25]), ("image", [0.5, 0.25])]
    with Image.open(tmp_path / "both.png") as first, Image.open(tmp_path / "again.png") as second:
        assert first.tobytes() == second.tobytes()
        assert first.width > 2 * first.height


def test_many_runs_take_several_rows(tmp_path: Path) -> None:
    run = str(log(tmp_path / "video", [{"step": 20, "loss": 0.5}]))
    for runs in (COLUMNS, COLUMNS + 1):
        assert main([*[run] * runs, "--out", str(tmp_path / str(runs))]) == 0
    one, two = (Image.open(tmp_path / f"{runs}.png").size for runs in (COLUMNS, COLUMNS + 1))
    assert two == (one[0], 2 * one[1])


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "No such file"), ("{", "is no log"), ('{"step": 1}', "has no loss yet")]
)
def test_a_run_without_a_log_is_named(
    content: str | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    if content is not None:
        (run / "log.jsonl").write_text(content)
    assert main([str(run), "--out", str(tmp_path / "curves")]) == 2
    error = capsys.readouterr().err
    assert str(run) in error
    assert complaint in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("curves*"))


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = log(tmp_path / "video", [{"step": 20, "loss": 0.5}])
    (tmp_path / "file").write_text("")
    assert main([str(run), "--out", str(tmp_path / "file" / "curves")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("curves: error: ")
    assert str(tmp_path / "file") in error
    assert error.count("\n") == 1
