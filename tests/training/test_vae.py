"""The VAE: diffusers' own, and what the folding of pixels adds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import autoencoder

from training.config import EmoConfig
from training.vae import VAE, to_float, to_uint8


def test_without_folding_it_is_diffusers_autoencoder_with_its_scale(config: EmoConfig) -> None:
    config = replace(config, vae_patch=1)
    theirs = autoencoder(config, scaling_factor=0.3)
    ours = VAE(config, theirs)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = theirs.encode(images).latent_dist.mode() * 0.3
    assert latents.shape == (2, config.latent_channels, config.latent_size, config.latent_size)
    torch.testing.assert_close(ours.encode(images), latents)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents / 0.3).sample)


@pytest.mark.parametrize("patch", [1, 2])
def test_latents_and_pictures_have_the_configs_sizes(config: EmoConfig, patch: int) -> None:
    config = replace(config, vae_patch=patch)
    vae = VAE(config, autoencoder(config))
    latents = vae.encode(torch.rand(1, 3, 32, 32))
    assert latents.shape == (1, config.latent_channels, config.latent_size, config.latent_size)
    assert config.latent_size == 16 // patch
    assert vae.decode(latents).shape == (1, 3, 32, 32)


def test_folding_keeps_each_block_of_pixels_together(config: EmoConfig) -> None:
    theirs = autoencoder(config)
    vae = VAE(config, theirs)
    images = torch.rand(1, 3, 32, 32)
    folded = images.reshape(1, 3, 16, 2, 16, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 12, 16, 16)
    latents = theirs.encode(folded).latent_dist.mode() * 0.5
    torch.testing.assert_close(vae.encode(images), latents)
    decoded = theirs.decode(latents / 0.5).sample.reshape(1, 3, 2, 2, 16, 16)
    expected = decoded.permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 32, 32)
    torch.testing.assert_close(vae.decode(latents), expected)


def test_pictures_survive_the_way_to_floats_and_back() -> None:
    frames = torch.randint(256, (3, 4, 5, 3), dtype=torch.uint8)
    floats = to_float(frames)
    assert floats.shape == (3, 3, 4, 5)
    assert floats.min() >= -1
    assert floats.max() <= 1
    assert torch.equal(to_uint8(floats), frames)
    assert to_uint8(torch.full((3, 1, 1), 1.7)).max() == 255
    assert to_uint8(torch.full((3, 1, 1), -1.7)).max() == 0
