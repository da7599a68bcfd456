"""A killed run goes on as if nothing had happened, and no failure costs what was saved."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import TEST_STAGES, trainer

from training.stages.recipe import Recipe
from training.train import main


class Killed(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("stage", TEST_STAGES)
def test_a_killed_run_goes_on_to_the_same_weights(
    stage: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(Recipe.load("emo-test", stage), steps=4)
    trainer(stage, clips, tmp_path / "whole", recipe, save_every=4).run()

    killed = trainer(stage, clips, tmp_path / "killed", recipe, save_every=2)
    step = killed.train_step

    def die_at_the_third() -> float:
        if killed.step == 2:
            raise Killed
        return step()

    monkeypatch.setattr(killed, "train_step", die_at_the_third)
    with pytest.raises(Killed):
        killed.run()
    torch.manual_seed(123)  # a new process: nothing may hang on PyTorch's own generator
    resumed = trainer(stage, clips, tmp_path / "killed", recipe, save_every=4)
    resumed.run()

    assert resumed.step == 4
    assert_same_state(tmp_path / "whole", tmp_path / "killed")
    for file in ("model.safetensors", "vae/diffusion_pytorch_model.safetensors", "wav2vec2/model.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()
    assert (tmp_path / "whole/vae/config.json").read_text() == (tmp_path / "killed/vae/config.json").read_text()


def assert_same_state(first: Path, second: Path) -> None:
    one, two = (torch.load(directory / "state.pt", weights_only=True) for directory in (first, second))
    assert one["step"] == two["step"]
    for part in ("model", "average", "head"):
        for name, tensor in one[part].items():
            assert torch.equal(tensor, two[part][name]), f"{part} {name}"


def test_each_step_has_the_recipes_learning_rate_after_a_resume_too(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "vae"), steps=3)
    run = trainer("vae", clips, tmp_path, recipe)
    seen = []
    for _ in range(3):
        seen.append(run.optimizer.param_groups[0]["lr"])
        run.train_step()
    longer = replace(recipe, steps=5, learning_rate=1e-4)
    resumed = trainer("vae", clips, tmp_path, longer)
    resumed.load_state_dict(run.state_dict())
    for _ in range(2):
        seen.append(resumed.optimizer.param_groups[0]["lr"])
        resumed.train_step()
    assert seen == [
        *(recipe.learning_rate_at(step, step / recipe.steps) for step in range(3)),
        *(longer.learning_rate_at(step, step / longer.steps) for step in range(3, 5)),
    ]


def test_a_state_from_before_the_optimizer_knew_its_first_learning_rate_resumes(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "vae"), steps=4)
    trainer("vae", clips, tmp_path / "whole", recipe).run()
    half = trainer("vae", clips, tmp_path / "old", recipe)
    half.train_step()
    half.train_step()
    state = half.state_dict()
    for group in state["optimizer"]["param_groups"]:
        del group["initial_lr"]
        group["lr"] = recipe.learning_rate_at(1, 1 / recipe.steps)
    (tmp_path / "old").mkdir()
    torch.save(state, tmp_path / "old" / "state.pt")
    trainer("vae", clips, tmp_path / "old", recipe).run()
    assert_same_state(tmp_path / "whole", tmp_path / "old")


def test_a_full_disk_costs_no_saved_step(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file may grow beyond 60 kB for a while: writing fails as on a full disk."""
    out = tmp_path / "run"
    command = ["--stage", "vae", "--config", "emo-test", "--data", str(clips), "--out", str(out), "--save-every", "2"]
    assert main([*command, "--steps", "2"]) == 0
    saved = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".pt", ".safetensors")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        assert main([*command, "--steps", "4"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"training: error: cannot save step 4 to {out}: ")
    assert {path: path.read_bytes() for path in saved} == saved
    assert not (out / "partial").exists()
    assert main([*command, "--steps", "4"]) == 0


def test_a_broken_state_is_named(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--stage", "vae", "--config", "emo-test", "--data", str(clips), "--out", str(tmp_path)]
    (tmp_path / "state.pt").write_bytes(b"half a state")
    assert main(command) == 2
    assert f"{tmp_path / 'state.pt'} is no state of this run" in capsys.readouterr().err
