"""Controls: where the face may be, how fast the head turns (paper, sections 1 and 3.2), and gestures (*ours*)."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor, nn

from training.model.config import EmoConfig

#: What counts as 1 of each gesture: degrees of yaw, pitch and roll, and shut eyes.
GESTURE_SCALES = (5.0, 5.0, 5.0, 0.5)


class FaceLocator(nn.Module):
    """Light convolutional encoder of the face region, a mask of where the face may be; it is added to the latents."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        channels = 16
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1), nn.SiLU()]
        for _ in range(config.vae_factor.bit_length() - 1):  # down to the latents' size
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.SiLU()]
            channels *= 2
        last = nn.Conv2d(channels, config.latent_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, face_region: Tensor) -> Tensor:
        """Masks (b, 1, resolution, resolution) of 0 and 1 to encoded regions (b, c, h, w) of the latents' shape."""
        out: Tensor = self.layers(face_region)
        return out


class SpeedEncoder(nn.Module):
    """Encoder of head rotation speeds, as soft buckets, to the tokens that the temporal modules attend to."""

    centers: Tensor
    radii: Tensor
    positions: Tensor

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.margin = config.audio_margin
        self.register_buffer("centers", torch.tensor(config.speed_centers), persistent=False)
        self.register_buffer("radii", torch.tensor(config.speed_radii), persistent=False)
        width = config.speed_channels
        # Attention ignores the order of its keys: without positions the tokens would say how fast, but not when.
        table = SinusoidalPositionalEmbedding(width, config.temporal_positions).pe
        assert isinstance(table, Tensor)
        self.register_buffer("positions", table, persistent=False)
        inputs = (2 * self.margin + 1) * len(config.speed_centers)
        self.mlp = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))

    def buckets(self, head_speed: Tensor) -> Tensor:
        """Speeds w (...,) in degrees per frame to soft buckets (..., d): s_d = tanh((w - c_d) / r_d * 3)."""
        return torch.tanh((head_speed[..., None] - self.centers) / self.radii * 3)

    def forward(self, head_speed: Tensor) -> Tensor:
        """Speeds (b, f + 2m) in degrees per frame to tokens (b, f, speed_channels)."""
        nearby = self.buckets(head_speed).unfold(1, 2 * self.margin + 1, 1)  # [b, f, d, 2m + 1]
        tokens: Tensor = self.mlp(nearby.transpose(2, 3).flatten(2))
        return tokens + self.positions[:, : tokens.shape[1]]


class GestureEncoder(nn.Module):
    """Encoder of gestures: how far the head is turned and the eyes are shut in each frame (*ours*).

    What it gives is added to the time embedding, and scales what the residual blocks give.
    """

    scales: Tensor

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.register_buffer("scales", torch.tensor(GESTURE_SCALES), persistent=False)
        last = nn.Linear(config.time_channels, config.time_channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(len(GESTURE_SCALES), config.time_channels), nn.SiLU(), last)

    def forward(self, gestures: Tensor) -> Tensor:
        """Gestures (b, f, 4) to embeddings (b, f, time_channels).

        Args:
            gestures: yaw, pitch and roll of the head against the portrait's in degrees, and closing of the eyes from 0,
                open, to 1, shut.
        """
        out: Tensor = self.layers(gestures / self.scales)
        return out
