"""Runs of a stage: several batches and processes, and what they log."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import TEST_STAGES, trainer

from training.model.vae import to_uint8
from training.samples.regions import RegionWeights
from training.speakers.speaker import make_clip
from training.stages.losses import StageLoss, mean_loss
from training.stages.recipe import Recipe
from training.stages.trainer import HELD_OUT_BATCHES
from training.train import main


@pytest.mark.parametrize("stage", ["image", "video"])
def test_accumulated_batches_give_the_mean_of_their_gradients(stage: str, clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", stage), accumulate=2)
    run = trainer(stage, clips, tmp_path, recipe)
    expected = [torch.zeros_like(parameter) for parameter in run.trained]
    for batch in range(2):
        rng = np.random.Generator(np.random.Philox(key=[0, batch]))
        gradients = torch.autograd.grad(run.loss(rng), run.trained, allow_unused=True)
        for total, gradient in zip(expected, gradients, strict=True):
            total += 0 if gradient is None else gradient / 2
    norm = torch.stack([gradient.norm() for gradient in expected]).norm()
    run.train_step()
    for parameter, gradient in zip(run.trained, expected, strict=True):
        actual = torch.zeros_like(gradient) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(actual, gradient / norm.clamp(min=1), rtol=1e-3, atol=1e-5)


def test_two_processes_train_and_resume_as_one_that_accumulates_two_batches(clips: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    options = ["--stage", "image", "--config", "emo-test", "--device", "cpu", "--threads", "1", "--data", str(clips)]
    for steps in ("2", "3"):  # the second run goes on from the first one's state
        command = [*options, "--steps", steps, "--out"]
        processes = [*torchrun, "-m", "training.train", *command, str(tmp_path / "two")]
        subprocess.run(processes, check=True, capture_output=True, cwd=Path(__file__).parents[3])
        assert main([*command, str(tmp_path / "one"), "--accumulate", "2"]) == 0
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("one", "two"))
    assert one["step"] == two["step"] == 3
    for name, tensor in one["model"].items():
        torch.testing.assert_close(tensor, two["model"][name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("stage", TEST_STAGES)
def test_the_log_has_losses_and_pictures(stage: str, clips: Path, tmp_path: Path) -> None:
    run = trainer(stage, clips, tmp_path)
    run.run()
    (line,) = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    assert line["step"] == 2
    assert line["loss"] > 0
    assert line["frames_per_second"] > 0
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("loss")[0].value == pytest.approx(line["loss"], rel=1e-3)
    assert events.Tags()["images"] == ([] if stage == "audio" else ["samples"])


@pytest.mark.parametrize("stage", TEST_STAGES)
def test_clips_that_only_measure_change_nothing_and_their_loss_is_logged(
    stage: str, clips: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    make_clip(4, seconds=1.0, resolution=32).save(others / "4.npz")
    recipe = replace(Recipe.load("emo-test", stage), steps=4)
    trainer(stage, clips, tmp_path / "without", recipe, save_every=2).run()
    run = trainer(stage, clips, tmp_path / "with", recipe, save_every=2, held_out=others)
    run.run()
    without, measured = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("without", "with")
    )
    assert [line["step"] for line in measured if "held_out_loss" in line] == [2, 4]
    assert [line["loss"] for line in measured if "loss" in line] == [line["loss"] for line in without]
    assert run.held_out_loss is not None
    assert measured[-1]["held_out_loss"] == pytest.approx(mean_loss(run.held_out_loss, HELD_OUT_BATCHES), abs=1e-6)
    own = StageLoss(run.averaged, stage, recipe, run.clips, run.voice_heads)
    assert mean_loss(own, HELD_OUT_BATCHES) != measured[-1]["held_out_loss"]


def test_steps_of_several_batches_are_no_cuda_graph(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "video"), accumulate=2)
    with pytest.raises(ValueError, match="one batch in one process: train without --cuda-graph"):
        trainer("video", clips, tmp_path, recipe, cuda_graph=True)


def test_samples_show_the_reference_the_truth_and_what_was_generated(clips: Path, tmp_path: Path) -> None:
    run = trainer("video", clips, tmp_path)
    grid = run.sample_grid()
    assert grid is not None
    torch.manual_seed(0)
    batch = run.clips.videos(4, RegionWeights())
    true = to_uint8(run.model.vae.decode(torch.stack([batch.reference_latents[1], batch.latents[1, 0]])))
    assert grid.shape == (4 * 32, 7 * 32, 3)
    assert np.array_equal(grid[32:64, :64], np.concatenate(list(true.numpy()), 1))
    assert not np.array_equal(grid[:, 32 : 4 * 32], grid[:, 4 * 32 :])


def test_a_resumed_log_has_each_step_once(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "vae"), steps=20)
    trainer("vae", clips, tmp_path, recipe, save_every=20).run()
    (tmp_path / "log.jsonl").open("a").write('{"step": 40, "loss": 1.0}\n')
    trainer("vae", clips, tmp_path, replace(recipe, steps=40), save_every=20).run()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [20, 40]


def test_the_checkpoint_holds_averaged_weights(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "image"), steps=2, learning_rate=0.1, ema=0.75)
    run = trainer("image", clips, tmp_path, recipe)
    expected = [parameter.detach().clone() for parameter in run.trained]
    for _ in range(2):
        run.train_step()
        expected = [0.75 * mean + 0.25 * own.detach() for mean, own in zip(expected, run.trained, strict=True)]
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    averaged = dict(run.averaged.named_parameters())
    moved = 0
    for own, mean in zip(run.trained, expected, strict=True):
        torch.testing.assert_close(averaged[names[id(own)]], mean, rtol=1e-4, atol=1e-5)
        moved += not torch.allclose(own, mean, atol=1e-3)
    assert moved > len(expected) / 2


def test_without_a_learning_rate_the_weights_stay_as_they_begin(clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "vae"), steps=2, learning_rate=0.0)
    run = trainer("vae", clips, tmp_path, recipe)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.run()
    for name, tensor in run.averaged.vae.state_dict().items():
        torch.testing.assert_close(tensor, before[f"vae.{name}"], rtol=1e-6, atol=1e-7)


def test_the_last_step_by_the_clock_is_saved(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time runs out between two looks at the clock."""
    run = trainer("vae", clips, tmp_path, minutes=1)
    seen = iter([0.0, 0.5, 0.9, *[1.1] * 9])
    monkeypatch.setattr(type(run), "progress", property(lambda _: next(seen)))
    run.run()
    assert (tmp_path / "model.safetensors").exists()
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == run.step
