"""The VAE: diffusers' AutoencoderKL, optionally with pixels folded into channels and a linear shortcut (*ours*)."""

from __future__ import annotations

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from training.model.config import EmoConfig


class VAE(nn.Module):
    """Pictures to scaled latents and back. With `vae_patch` 1 and without a shortcut it is SD's VAE.

    With `vae_shortcut` a linear map of each latent's patch of pixels, in both directions, is added to the autoencoder.
    The autoencoder learns the rest. So a small VAE begins at the principal components of the pictures, not at grey.
    """

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.patch = config.vae_patch
        channels = 3 * self.patch**2
        self.autoencoder = AutoencoderKL(in_channels=channels, out_channels=channels, **config.vae)
        # A new model puts little noise on the latents: a decoder that sees only noise learns nothing.
        nn.init.constant_(self.autoencoder.quant_conv.bias[config.latent_channels :], -6.0)
        if config.vae_shortcut:
            factor, latent_channels = config.vae_factor, config.latent_channels
            self.shortcut_encoder = nn.Conv2d(3, latent_channels, factor, stride=factor)
            self.shortcut_decoder = nn.Conv2d(latent_channels, 3 * factor**2, 1)
            nn.init.zeros_(self.autoencoder.quant_conv.weight[:latent_channels])
            nn.init.zeros_(self.autoencoder.quant_conv.bias[:latent_channels])
            nn.init.zeros_(self.autoencoder.decoder.conv_out.weight)
            nn.init.zeros_(self.autoencoder.decoder.conv_out.bias)

    @property
    def scaling_factor(self) -> float:
        """One over the standard deviation of the unscaled latents (SD 1.5: 0.18215)."""
        return float(self.autoencoder.config["scaling_factor"])

    def posterior(self, images: Tensor) -> DiagonalGaussianDistribution:
        """Distribution of the unscaled latents of pictures (b, 3, h, w) in [-1, 1]."""
        posterior = self.autoencoder.encode(pixel_unshuffle(images, self.patch)).latent_dist
        if hasattr(self, "shortcut_encoder"):
            posterior.mean = posterior.mean + self.shortcut_encoder(images)
        return posterior

    def reconstruct(self, unscaled: Tensor) -> Tensor:
        """Unscaled latents (b, c, h, w) to pictures (b, 3, h · factor, w · factor), about in [-1, 1]."""
        images = pixel_shuffle(self.autoencoder.decode(unscaled).sample, self.patch)
        if not hasattr(self, "shortcut_decoder"):
            return images
        return images + pixel_shuffle(self.shortcut_decoder(unscaled), self.shortcut_encoder.stride[0])

    def encode(self, images: Tensor) -> Tensor:
        """Pictures (b, 3, h, w) in [-1, 1] to the mode of their latents, scaled: (b, c, h / factor, w / factor)."""
        mode: Tensor = self.posterior(images).mode()
        return mode * self.scaling_factor

    def encode_by_shortcut(self, images: Tensor) -> Tensor:
        """The shortcut's part of `encode`: all of it, where the autoencoder has not been trained."""
        latents: Tensor = self.shortcut_encoder(images.to(self.shortcut_encoder.weight.dtype))
        return latents * self.scaling_factor

    def decode_by_shortcut(self, latents: Tensor) -> Tensor:
        """The shortcut's part of `decode`: all of it, where the autoencoder has not been trained."""
        patches: Tensor = self.shortcut_decoder(latents.to(self.shortcut_decoder.weight.dtype) / self.scaling_factor)
        return pixel_shuffle(patches, self.shortcut_encoder.stride[0])

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (b, c, h, w) to pictures (b, 3, h · factor, w · factor), about in [-1, 1]."""
        return self.reconstruct(latents / self.scaling_factor)

    @torch.no_grad()
    def channel_weights(self) -> Tensor:
        """Share of each latent channel in the picture (c,), with mean 1.

        The channels of a shortcut range from the light of a face to the edge of a lash. Without a shortcut all weights
        are 1.
        """
        if not hasattr(self, "shortcut_decoder"):
            return torch.ones(self.autoencoder.config["latent_channels"], device=self.autoencoder.device)
        drawn = self.shortcut_decoder.weight.flatten(1).norm(dim=0)
        return drawn / drawn.mean()

    @torch.no_grad()
    def fit_shortcut(self, images: Tensor) -> None:
        """Set the shortcut to the principal components of the patches of pictures (b, 3, h, w).

        A component of standard deviation s is scaled to sqrt(s). With equal variances, noise would hide light and
        lashes alike, and a denoiser would learn what nobody sees. With the components' own, lashes would hardly count.
        """
        factor, count = self.shortcut_encoder.stride[0], self.shortcut_encoder.out_channels
        assert self.shortcut_encoder.bias is not None
        assert self.shortcut_decoder.bias is not None
        patches = pixel_unshuffle(images, factor).movedim(1, -1).flatten(0, -2)  # [patches, 3 * factor ** 2]
        mean = patches.mean(0)
        variance, components = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        deviation, components = variance[-count:].sqrt(), components[:, -count:]
        divisor = deviation.sqrt()
        self.shortcut_encoder.weight.copy_((components / divisor).T.reshape(count, 3, factor, factor))
        self.shortcut_encoder.bias.copy_(-(mean @ components) / divisor)
        self.shortcut_decoder.weight.copy_((components * divisor)[..., None, None])
        self.shortcut_decoder.bias.copy_(mean)


def to_float(frames: Tensor) -> Tensor:
    """Pictures (..., h, w, 3) of uint8 to float32 (..., 3, h, w) in [-1, 1]."""
    return frames.float().movedim(-1, -3) / 127.5 - 1  # float first: TensorRT takes uint8 only as an input


def to_uint8(images: Tensor) -> Tensor:
    """Pictures (..., 3, h, w) in [-1, 1] to uint8 (..., h, w, 3)."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(-3, -1)


@torch.no_grad()
def encode_frames(vae: VAE, frames: np.ndarray, batch_size: int = 16) -> Tensor:
    """uint8 pictures (t, h, w, 3) to scaled latents (t, c, h / factor, w / factor) on the VAE's device.

    Args:
        vae: encoder of the pictures.
        frames: RGB pictures.
        batch_size: number of pictures at a time; large batches are slow on a CPU.
    """
    device = next(vae.parameters()).device
    return torch.cat([vae.encode(part.to(device)) for part in to_float(torch.from_numpy(frames)).split(batch_size)])


@torch.no_grad()
def decode_frames(vae: VAE, latents: Tensor, batch_size: int = 16) -> np.ndarray:
    """Scaled latents (t, c, h, w) to uint8 pictures (t, h · factor, w · factor, 3).

    Args:
        vae: decoder of the latents.
        latents: clean latents on the VAE's device.
        batch_size: number of pictures at a time; large batches are slow on a CPU.
    """
    frames: np.ndarray = torch.cat([to_uint8(vae.decode(part)).cpu() for part in latents.split(batch_size)]).numpy()
    return frames
