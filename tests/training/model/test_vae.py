"""The VAE: diffusers' own, and what the folding of pixels adds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from tiny_models import autoencoder, draw_constants
from torch.nn.functional import conv_transpose2d, pixel_shuffle

from training.model.config import EmoConfig
from training.model.vae import VAE, to_float, to_uint8


def vae_of(config: EmoConfig, theirs: AutoencoderKL) -> VAE:
    vae = VAE(config)
    vae.autoencoder = theirs
    return draw_constants(vae)


def test_without_folding_and_shortcut_it_is_diffusers_autoencoder_with_its_scale(config: EmoConfig) -> None:
    config = replace(config, vae_patch=1, vae_shortcut=False)
    theirs = autoencoder(config, scaling_factor=0.3)
    ours = vae_of(config, theirs)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = theirs.encode(images).latent_dist.mode() * 0.3
    assert latents.shape == (2, config.latent_channels, config.latent_size, config.latent_size)
    torch.testing.assert_close(ours.encode(images), latents)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents / 0.3).sample)


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("patch", [1, 2])
def test_latents_and_pictures_have_the_configs_sizes(config: EmoConfig, patch: int, shortcut: bool) -> None:
    config = replace(config, vae_patch=patch, vae_shortcut=shortcut)
    vae = vae_of(config, autoencoder(config))
    latents = vae.encode(torch.rand(1, 3, 32, 32))
    assert latents.shape == (1, config.latent_channels, config.latent_size, config.latent_size)
    assert config.latent_size == 16 // patch
    assert vae.decode(latents).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("shortcut", [False, True])
def test_folding_keeps_each_block_of_pixels_together(config: EmoConfig, shortcut: bool) -> None:
    config = replace(config, vae_shortcut=shortcut)
    theirs = autoencoder(config)
    vae = vae_of(config, theirs)
    images = torch.rand(1, 3, 32, 32)
    folded = images.reshape(1, 3, 16, 2, 16, 2).permute(0, 1, 3, 5, 2, 4).reshape(1, 12, 16, 16)
    latents = theirs.encode(folded).latent_dist.mode()
    if shortcut:
        latents = latents + vae.shortcut_encoder(images)
    torch.testing.assert_close(vae.encode(images), latents * 0.5)
    decoded = theirs.decode(latents).sample.reshape(1, 3, 2, 2, 16, 16)
    expected = decoded.permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 32, 32)
    if shortcut:
        factor, weight = config.vae_factor, vae.shortcut_decoder.weight
        patches = weight.flatten(1).T.unflatten(1, (3, factor, factor))  # of each latent channel
        assert vae.shortcut_decoder.bias is not None
        offset = vae.shortcut_decoder.bias.reshape(3, factor, factor).tile(32 // factor, 32 // factor)
        expected = expected + conv_transpose2d(latents, patches, stride=factor) + offset
    torch.testing.assert_close(vae.decode(latents * 0.5), expected)


def test_a_fitted_shortcut_alone_gives_independent_latents_and_the_best_linear_pictures(config: EmoConfig) -> None:
    config = replace(config, vae_shortcut=True)
    vae = VAE(config)
    coarse = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic")
    vae.fit_shortcut(images)
    latents = vae.shortcut_encoder(images)
    # A component of deviation s is s / sqrt(s) in the latents and drawn with sqrt(s): half its scale on each side.
    drawn = vae.shortcut_decoder.weight.flatten(1).square().sum(0)
    torch.testing.assert_close(torch.cov(latents.transpose(0, 1).flatten(1)), torch.diag(drawn), rtol=1e-2, atol=1e-2)
    assert drawn.max() > 2 * drawn.min()
    error = (pixel_shuffle(vae.shortcut_decoder(latents), config.vae_factor) - images).square().mean()
    assert error < 0.5 * images.var()


def test_pictures_survive_the_way_to_floats_and_back() -> None:
    frames = torch.randint(256, (3, 4, 5, 3), dtype=torch.uint8)
    floats = to_float(frames)
    assert floats.shape == (3, 3, 4, 5)
    assert floats.min() >= -1
    assert floats.max() <= 1
    assert torch.equal(to_uint8(floats), frames)
    assert to_uint8(torch.full((3, 1, 1), 1.7)).max() == 255
    assert to_uint8(torch.full((3, 1, 1), -1.7)).max() == 0
