"""Speed layers: head rotation speed as soft buckets, encoded by an MLP (paper, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.config import EmoConfig


class SpeedEncoder(nn.Module):
    """Head rotation speeds to the tokens that the temporal modules attend to."""

    centers: Tensor
    radii: Tensor

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.margin = config.audio_margin
        self.register_buffer("centers", torch.tensor(config.speed_centers), persistent=False)
        self.register_buffer("radii", torch.tensor(config.speed_radii), persistent=False)
        width = config.speed_channels
        inputs = (2 * self.margin + 1) * len(config.speed_centers)
        self.mlp = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))

    def buckets(self, head_speed: Tensor) -> Tensor:
        """Speeds (...,) in degrees per frame to (..., d): s_d = tanh((w - c_d) / r_d * 3)."""
        return torch.tanh((head_speed[..., None] - self.centers) / self.radii * 3)

    def forward(self, head_speed: Tensor) -> Tensor:
        """Speeds (b, f + 2m) in degrees per frame to tokens (b, f, speed_channels)."""
        nearby = self.buckets(head_speed).unfold(1, 2 * self.margin + 1, 1)  # [b, f, d, 2m + 1]
        out: Tensor = self.mlp(nearby.transpose(2, 3).flatten(2))
        return out
