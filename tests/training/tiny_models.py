"""Models of the test size without constant parameters, in our layout and in the published ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from torch import Tensor, nn

from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.stages.published import motion_adapter_config, unet_config, vae_config

TEXT_WIDTH = 24

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def draw_constants(module: Module) -> Module:
    """Draw each parameter that its initialisation leaves constant: a layer of zeros would hide every error."""
    for parameter in module.parameters():
        if parameter.min() == parameter.max():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval().requires_grad_(False)


def emo_model(seed: int = 0, **changes: Any) -> EmoModel:
    """EMO of the test size, with `changes` to its config."""
    torch.manual_seed(seed)
    return draw_constants(EmoModel(replace(EmoConfig.from_name("emo-test"), **changes)))


def sd15_unet(config: EmoConfig, text_width: int | tuple[int, ...] = TEXT_WIDTH) -> UNet2DConditionModel:
    """SD 1.5's UNet of the config's size, with text of `text_width` channels (at each level)."""
    torch.manual_seed(1)
    return draw_constants(UNet2DConditionModel(**unet_config(config), cross_attention_dim=text_width))


def motion_adapter(config: EmoConfig) -> MotionAdapter:
    """AnimateDiff's motion modules of the config's size."""
    torch.manual_seed(2)
    positions = config.temporal_positions
    return draw_constants(MotionAdapter(**motion_adapter_config(config), motion_max_seq_length=positions))


def autoencoder(config: EmoConfig, scaling_factor: float = 0.5) -> AutoencoderKL:
    """SD 1.5's VAE of the config's size."""
    torch.manual_seed(3)
    return draw_constants(AutoencoderKL(**vae_config(config), scaling_factor=scaling_factor))


@torch.no_grad()
def silence_text(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Zero what the text attention adds."""
    for name, parameter in unet.named_parameters():
        if "attn2.to_out" in name:
            parameter.zero_()
    return unet


def latents(config: EmoConfig, *leading: int, seed: int = 0) -> Tensor:
    """Noise of the shape (*leading, c, h, w)."""
    shape = (*leading, config.latent_channels, config.latent_size, config.latent_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Inputs:
    """Inputs of one clip, drawn from a seed. A test changes a field, then asks for the conditions again."""

    def __init__(self, config: EmoConfig, batch: int = 1, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        inner = config.clip_frames + 2 * config.audio_margin
        self.audio_features = torch.randn(batch, inner, config.audio_features, generator=generator)
        self.head_speed: Tensor | None = torch.rand(batch, inner, generator=generator) * 3
        self.face_region = torch.zeros(batch, 1, config.resolution, config.resolution)
        self.face_region[:, :, 8:24, 8:24] = 1
        self.gestures: Tensor | None = torch.randn(
            batch, config.clip_frames, 4, generator=torch.Generator().manual_seed(seed)
        )
        self.reference_latents = latents(config, batch, seed=seed + 1)
        self.motion_latents = latents(config, batch, config.motion_frames, seed=seed + 2)

    def conditions(self, model: EmoModel) -> Conditions:
        """Conditions that `model` makes of these inputs."""
        return Conditions.merged(
            model.voice_and_place(self.audio_features, self.head_speed, self.face_region, self.gestures),
            model.portrait_and_motion(self.reference_latents, self.motion_latents),
        )


def changed_frames(first: Tensor, second: Tensor) -> list[int]:
    """Which frames differ between two predictions (1, f, c, h, w), beyond the rounding of another batch layout."""
    largest = (first - second)[0].flatten(1).abs().amax(1)
    return torch.nonzero(largest > 1e-5).flatten().tolist()
