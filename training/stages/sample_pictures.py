"""Pictures for the training log: what a model makes of a few of the clips that it trains on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.model.conditions import Conditions
from training.model.controls import Lids
from training.model.model import EmoModel
from training.model.schedule import noise_scheduler
from training.model.vae import to_uint8
from training.model.warp import WARP_MAPS, composed, moved_portrait
from training.samples.clip_folder import TrainingBatch


@torch.no_grad()
def diffusion_grid(model: EmoModel, batch: TrainingBatch, conditions: Conditions, temporal: bool) -> np.ndarray:
    """Draws one row for each sample: the reference, up to three true frames, and the same frames generated.

    They are generated without guidance, from the same noise each time.

    Args:
        model: model that generates
        batch: samples
        conditions: conditions of the samples
        temporal: whether the temporal modules run

    Returns:
        RGB uint8 (rows · resolution, columns · resolution, 3)
    """
    device = next(model.parameters()).device
    true = batch.latents.to(device)
    latents = torch.randn(true.shape, generator=torch.Generator().manual_seed(0)).to(device)
    scheduler = noise_scheduler(model.config)
    scheduler.set_timesteps(model.config.steps)
    for timestep in scheduler.timesteps:
        prediction = model.backbone(latents, timestep.to(device).expand(len(latents)), conditions, temporal=temporal)
        prediction = composed(prediction, conditions, model.vae)
        latents = scheduler.step(prediction.float(), int(timestep), latents).prev_sample  # type: ignore[union-attr]
    frames = torch.linspace(0, true.shape[1] - 1, min(3, true.shape[1])).long()
    reference = batch.reference_latents.to(device)[:, None]
    shown = torch.cat([reference, true[:, frames], latents[:, frames]], 1)  # [b, columns, c, h, w]
    return _tiled(torch.stack([model.vae.decode(row) for row in shown]))


@torch.no_grad()
def reconstruction_grid(model: EmoModel, images: Tensor) -> np.ndarray:
    """Draws pictures (b, 3, h, w) in [-1, 1] above what the VAE makes of them: RGB uint8 (2h, b · w, 3)."""
    return _tiled(torch.stack([images, model.vae.decode(model.vae.encode(images))]))


@torch.no_grad()
def eyelid_grid(model: EmoModel, latents: Tensor) -> np.ndarray:
    """Draws portraits of latents (b, c, h, w) with eyes open, half shut and shut: RGB uint8 (3h, b · w, 3)."""
    portraits = model.vae.decode(latents)
    assert model.eyelids is not None
    field, unmoved = model.eyelids(portraits), latents.new_zeros(len(latents), 1, WARP_MAPS, *latents.shape[2:])
    rows = [
        moved_portrait(unmoved, portraits, Lids(field, field.new_full((len(latents), 1), closing)))[0]
        for closing in (0.0, 0.5, 1.0)
    ]
    return _tiled(torch.stack(rows))


def _tiled(pictures: Tensor) -> np.ndarray:
    """Puts pictures (rows, columns, 3, h, w) in [-1, 1] into one RGB uint8 picture."""
    rows = to_uint8(pictures).cpu().numpy()
    return np.concatenate([np.concatenate(list(row), 1) for row in rows])
