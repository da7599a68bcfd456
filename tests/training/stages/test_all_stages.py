"""All stages in a number of minutes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from training.model.model import EmoModel
from training.stages.recipe import timed_stages
from training.train import main


def test_all_stages_train_in_the_time_that_there_is(clips: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    # A few steps of the recipe would be lost where the checkpoint rounds.
    command = ["--minutes", "0.4", "--views", "2", "--config", "emo-test", "--learning-rate", "0.02"]
    assert main([*command, "--data", str(clips), "--out", str(tmp_path)]) == 0
    assert 12 < time.monotonic() - started < 48  # the machine may be busy
    stages = timed_stages("emo-test")
    assert stages == ["vae", "audio", "image", "video", "speed"]
    lines = [(tmp_path / stage / "log.jsonl").read_text().splitlines() for stage in stages]
    assert sum(json.loads(line[-1])["step"] for line in lines) > 10  # the recipes' own number
    for stage in stages:
        assert not (tmp_path / stage / "state.pt").exists()
    first, last = (EmoModel.load(tmp_path / stage) for stage in ("vae", "speed"))
    assert first.vae.scaling_factor == last.vae.scaling_factor
    changed = [name for name, tensor in last.state_dict().items() if not tensor.equal(first.state_dict()[name])]
    parts = {name.split(".")[0] for name in changed}
    assert parts >= {"audio_encoder", "audio_projection", "reference_net", "backbone", "face_locator"}
    assert any("_speed" in name for name in changed)
    assert "vae" not in parts


def test_the_config_of_the_bundled_model_trains_by_the_clock() -> None:
    assert timed_stages("emo-photo") == ["vae", "eyelids", "audio", "image", "video"]


@pytest.mark.parametrize("stage", [["--stage", "video"], []])
def test_a_run_by_the_clock_leaves_one_that_can_go_on_alone(
    stage: list[str], clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / ("state.pt" if stage else "video/state.pt")
    state.parent.mkdir(exist_ok=True)
    state.write_bytes(b"of another run")
    command = [*stage, "--minutes", "1", "--config", "emo-test", "--data", str(clips), "--out", str(tmp_path)]
    assert main(command) == 2
    assert f"{state} is of a run that can go on; a run by the clock needs another --out" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.*")) == [state]
    assert state.read_bytes() == b"of another run"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minutes", "0.0001"], "0.0001 minutes are too short to read the clips and save 5 stages"),
        (["--minutes", "1", "--config", "emo-sd15"], "emo-sd15.toml gives no stage a share of the time"),
    ],
)
def test_a_time_that_cannot_be_is_one_clear_line(
    options: list[str], message: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", "emo-test", "--data", str(clips), "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("training: error: ")
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --stage, or --minutes"),
        (["--minutes", "-1"], "--minutes must be more than 0, not -1"),
        (["--minutes", "1", "--steps", "3"], "not allowed with argument"),
        (["--stage", "vae", "--views", "0"], "--views must be 1 or more, not 0"),
        (["--stage", "video", "--cuda-graph", "--device", "cpu"], "--cuda-graph needs --device cuda"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str], message: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--data", str(clips), "--out", str(tmp_path / "out"), *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
