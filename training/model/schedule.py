"""The noise schedule as diffusers' scheduler, and the training target and loss weights that go with it."""

from __future__ import annotations

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from training.model.config import EmoConfig


def noise_scheduler(config: EmoConfig) -> DDIMScheduler:
    """DDIM scheduler that the model is trained and sampled with (paper, section 4.1)."""
    return DDIMScheduler(
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule=config.beta_schedule,
        rescale_betas_zero_snr=config.rescale_betas_zero_snr,
        timestep_spacing=config.timestep_spacing,
        prediction_type=config.prediction_type,
        clip_sample=False,
        set_alpha_to_one=True,
    )


def training_target(scheduler: DDIMScheduler, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """Target of the Backbone's prediction.

    Args:
        scheduler: scheduler of `noise_scheduler`.
        latents: clean latents (b, ...).
        noise: noise that was added, of the same shape.
        timestep: timesteps of the noise (b,).

    Returns:
        the target, of the shape of `latents`.
    """
    prediction_type = scheduler.config["prediction_type"]
    if prediction_type == "sample":
        return latents
    if prediction_type == "epsilon":
        return noise
    velocity: Tensor = scheduler.get_velocity(latents, noise, timestep)  # type: ignore[arg-type]
    return velocity


def loss_weights(scheduler: DDIMScheduler, timestep: Tensor, gamma: float = 5.0) -> Tensor:
    """Min-SNR weights of the squared error (Hang et al., arXiv 2303.09556).

    A model that predicts the sample itself keeps weight 1: its first steps, where there is no signal, decide the mouth.

    Args:
        scheduler: scheduler of `noise_scheduler`.
        timestep: timesteps (b,).
        gamma: largest signal-to-noise ratio that counts.

    Returns:
        weights (b,).
    """
    prediction_type = scheduler.config["prediction_type"]
    if prediction_type == "sample":
        return torch.ones_like(timestep, dtype=torch.float32)
    alphas = scheduler.alphas_cumprod.to(timestep.device)[timestep]
    snr = alphas / (1 - alphas)
    if prediction_type == "v_prediction":
        snr = snr + 1  # within the minimum, too, as in the published systems: else pure noise has weight 0
    return snr.clamp(max=gamma) / snr
