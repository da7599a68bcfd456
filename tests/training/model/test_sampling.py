"""Guidance and DDIM inside the exported step, against diffusers' scheduler and separate passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tiny_models import Inputs, emo_model, latents
from torch import Tensor

from emo_rt.cascade.schedule import ddim_coefficients
from export.graphs.modules import BackboneGraph, GuidedBackboneGraph, TimeEmbeddingGraph
from export.manifest import noise_schedule
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline
from training.model.schedule import loss_weights, noise_scheduler, training_target

PREDICTIONS = [
    {"prediction_type": "sample"},
    {"prediction_type": "v_prediction"},
    {"prediction_type": "epsilon", "rescale_betas_zero_snr": False},
]


def without_voice(inputs: Inputs) -> Inputs:
    silent = Inputs.__new__(Inputs)
    vars(silent).update(vars(inputs))
    silent.audio_features = torch.zeros_like(inputs.audio_features)
    return silent


def both_voices(model: EmoModel, inputs: Inputs) -> dict[str, Tensor]:
    """Named tensors of conditions of no voice and of the voice, as from the exported conditioning."""
    silent = without_voice(inputs).conditions(model).named_tensors()
    return {
        name: torch.cat([silent[name], tensor]) if name.startswith("audio_") else tensor
        for name, tensor in inputs.conditions(model).named_tensors().items()
    }


def step(
    model: EmoModel,
    noisy: Tensor,
    inputs: Inputs,
    scale: float,
    coefficients: Sequence[float],
    timestep: float = 500.0,
) -> Tensor:
    scalars = [torch.tensor([float(value)]) for value in (scale, *coefficients)]
    embedding = TimeEmbeddingGraph(model)(torch.tensor([float(timestep)]))
    return GuidedBackboneGraph(model)(noisy, embedding, *scalars, both_voices(model, inputs))["next_latents"]


@pytest.mark.parametrize("changes", PREDICTIONS, ids=lambda changes: changes["prediction_type"])
def test_the_exported_steps_sample_what_diffusers_samples(changes: dict[str, Any]) -> None:
    model = emo_model(**changes)
    inputs, noisy, steps = Inputs(model.config), latents(model.config, model.config.clip_frames), 7
    voiced, unvoiced = inputs.conditions(model), without_voice(inputs).conditions(model)
    expected = EmoPipeline(model).denoise(noisy[None], voiced, unvoiced, steps, guidance_scale=2.5)[0]
    for timestep, *coefficients in ddim_coefficients(noise_schedule(model.config), steps):
        noisy = step(model, noisy, inputs, 2.5, coefficients, timestep)
    torch.testing.assert_close(noisy, expected, rtol=1e-4, atol=1e-4)


def test_guidance_in_one_batch_is_two_passes(model: EmoModel) -> None:
    inputs, noisy = Inputs(model.config), latents(model.config, model.config.clip_frames)
    timestep = torch.tensor([500.0])
    with_voice = model.backbone(noisy[None], timestep, inputs.conditions(model))[0]
    silent = model.backbone(noisy[None], timestep, without_voice(inputs).conditions(model))[0]
    assert (with_voice - silent).abs().max() > 1e-2
    for scale in (0.0, 1.0, 3.5):
        expected = silent + scale * (with_voice - silent)
        torch.testing.assert_close(step(model, noisy, inputs, scale, (0, 1)), expected, rtol=1e-5, atol=1e-5)


def test_the_step_keeps_its_arithmetic_apart_from_the_prediction(model: EmoModel) -> None:
    inputs, noisy = Inputs(model.config), latents(model.config, model.config.clip_frames)
    prediction = step(model, noisy, inputs, 2.0, (0, 1))
    torch.testing.assert_close(step(model, noisy, inputs, 2.0, (0.75, -0.5)), 0.75 * noisy - 0.5 * prediction)


def test_without_guidance_only_the_voice_counts(model: EmoModel) -> None:
    inputs, noisy = Inputs(model.config), latents(model.config, model.config.clip_frames)
    timestep = torch.tensor([500.0])
    expected = model.backbone(noisy[None], timestep, inputs.conditions(model))[0]
    one, zero = torch.ones(1), torch.zeros(1)
    embedding = TimeEmbeddingGraph(model)(timestep)
    actual = BackboneGraph(model)(noisy, embedding, zero, one, both_voices(model, inputs))["next_latents"]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_only_the_voice_is_guided(model: EmoModel) -> None:
    inputs = Inputs(model.config)
    voiced, silent = (each.conditions(model).named_tensors() for each in (inputs, without_voice(inputs)))
    changed = {name for name in voiced if not torch.equal(voiced[name], silent[name])}
    assert changed == {name for name in voiced if name.startswith("audio_")}


@pytest.mark.parametrize("changes", PREDICTIONS, ids=lambda changes: changes["prediction_type"])
def test_one_step_with_a_perfect_prediction_removes_all_noise(changes: dict[str, Any]) -> None:
    """Training's target is what sampling expects."""
    config = emo_model(**changes).config
    scheduler = noise_scheduler(config)
    clean, noise = latents(config, 2), latents(config, 2, seed=1)
    for timestep in (10, 500, 900):
        at = torch.tensor([timestep] * 2)
        noisy = scheduler.add_noise(clean, noise, at)
        target = training_target(scheduler, clean, noise, at)
        scheduler.set_timesteps(4)
        recovered = scheduler.step(target, timestep, noisy).pred_original_sample
        torch.testing.assert_close(recovered, clean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["emo-test", "emo-photo", "emo-sd15"])
def test_every_timestep_that_sampling_visits_is_trained(name: str) -> None:
    """Also the first one, which has no signal at all where the noise schedule ends in pure noise."""
    config = EmoConfig.from_name(name)
    scheduler: DDIMScheduler = noise_scheduler(config)
    scheduler.set_timesteps(config.steps)
    weights = loss_weights(scheduler, scheduler.timesteps)
    assert torch.isfinite(weights).all()
    assert (weights > 0.01).all()
