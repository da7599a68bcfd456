"""Controls: where the face may be, how fast the head turns (paper, sections 1 and 3.2), and gestures (*ours*).

The gestures of a frame are how far the head is turned and how far the eyes are shut. Whoever is to draw a blink has to
know where the lids are, to a pixel. The portrait says it once for a whole video. So a small network reads it there, and
each frame shuts the lids as far as its gestures say.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from training.model.config import EmoConfig

#: Degrees of yaw, pitch or roll that count as 1.
TURN_SCALE = 5.0
#: Numbers that say what a frame does: yaw, pitch and roll, and how far the eyes are shut.
GESTURES = 4

#: Channels at a half, a quarter, an eighth and a sixteenth of the picture's side.
_CHANNELS = (12, 24, 40, 56)
#: How far a predicted 1 reaches, in widths of the picture: as far as a lid moves.
_LID_REACH = 0.05
#: How much further lids move than predicted: a smooth field is too small where they meet, and eyes would stay ajar.
LID_GAIN = 1.25


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
    """Encoder of how far the head is turned in each frame (*ours*).

    What it gives is added to the time embedding, and scales what the residual blocks give.
    """

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        last = nn.Linear(config.time_channels, config.time_channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(GESTURES - 1, config.time_channels), nn.SiLU(), last)

    def forward(self, gestures: Tensor) -> Tensor:
        """Gestures (b, f, 4) to embeddings (b, f, time_channels).

        Args:
            gestures: yaw, pitch and roll of the head against the portrait's in degrees, and closing of the eyes from 0,
                open, to 1, shut, of which it takes no notice.
        """
        out: Tensor = self.layers(gestures[..., :-1] / TURN_SCALE)
        return out


class Eyelids(nn.Module):
    """Reads from a portrait where each pixel comes from when its eyes are shut."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, *_CHANNELS)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 2, 1), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, 1, 1), nn.SiLU()
            )
            for inputs, outputs in itertools.pairwise(sizes)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(below + beside, beside, 3, 1, 1), nn.SiLU(), nn.Conv2d(beside, beside, 3, 1, 1), nn.SiLU()
            )
            for below, beside in zip(_CHANNELS[:0:-1], _CHANNELS[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(_CHANNELS[0], 2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, portrait: Tensor) -> Tensor:
        """Fields of shut eyes: how far right and down of a pixel what is seen there was before.

        Args:
            portrait: portraits (b, 3, R, R) in [-1, 1]; R is a multiple of 16

        Returns:
            fields (b, 2, R / 2, R / 2), in widths of the picture; zeros where nothing moves
        """
        maps, beside = portrait, []
        for layer in self.down:
            maps = layer(maps)
            beside.append(maps)
        for layer, skipped in zip(self.up, reversed(beside[:-1]), strict=True):
            larger = interpolate(maps, scale_factor=2.0, mode="nearest")
            maps = layer(torch.cat([larger, skipped], 1))
        out: Tensor = _LID_REACH * self.out(maps)
        return out


class Lids(NamedTuple):
    """How the eyes of portraits shut in the frames of clips.

    Attributes:
        field: output of `Eyelids` (b, 2, h, w)
        closing: how far the eyes are shut in each frame (b, f), from 0, open, to 1, shut
    """

    field: Tensor
    closing: Tensor

    def shifts(self, grid: Tensor) -> Tensor:
        """How far right and down of places in the portraits what is seen there was before, in widths of the picture.

        Args:
            grid: the places (b·f, h, w, 2) from -1 to 1, x and y

        Returns:
            shifts (b·f, h, w, 2)
        """
        fields = self.field.to(grid.dtype).repeat_interleave(len(grid) // len(self.field), 0)
        moved = grid_sample(fields, grid, padding_mode="border", align_corners=False).movedim(1, -1)
        return LID_GAIN * self.closing.to(grid.dtype).flatten()[:, None, None, None] * moved

    def shut(self, grid: Tensor) -> Tensor:
        """Where what is seen at places in the portraits (b·f, h, w, 2) was before, from -1 to 1."""
        return grid + 2 * self.shifts(grid)  # a picture is 2 wide there
