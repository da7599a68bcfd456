"""The VAE: diffusers' AutoencoderKL, with pixels folded into channels where a cheap decoder matters."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from training.config import EmoConfig


class VAE(nn.Module):
    """Pictures to scaled latents and back. With ``vae_patch`` 1 it is SD's own."""

    def __init__(self, config: EmoConfig, autoencoder: AutoencoderKL | None = None) -> None:
        super().__init__()
        self.patch = config.vae_patch
        channels = 3 * self.patch**2
        self.autoencoder = autoencoder or AutoencoderKL(in_channels=channels, out_channels=channels, **config.vae)

    @property
    def scaling_factor(self) -> float:
        """One over the standard deviation of the unscaled latents (SD 1.5: 0.18215)."""
        return float(self.autoencoder.config["scaling_factor"])

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (b, 3, h, w) in [-1, 1] to the mode of their latents, scaled: (b, c, h / factor, w / factor)."""
        moments = self.autoencoder.encode(pixel_unshuffle(images, self.patch)).latent_dist
        mode: Tensor = moments.mode()
        return mode * self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (b, c, h, w) to pictures (b, 3, h · factor, w · factor), about in [-1, 1]."""
        return pixel_shuffle(self.autoencoder.decode(latents / self.scaling_factor).sample, self.patch)


def to_float(frames: Tensor) -> Tensor:
    """uint8 pictures (..., h, w, 3) to (..., 3, h, w) in [-1, 1]."""
    return frames.movedim(-1, -3).float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Pictures (..., 3, h, w) in [-1, 1] to uint8 (..., h, w, 3)."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)
