"""Backbone: the denoising UNet with reference-attention, audio-attention and temporal modules (paper, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.model.attention import BackboneBlock, SpatialTransformer, key_value, repeat
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.temporal import TemporalModule
from training.model.unet import UNet
from training.model.warp import WARP_MAPS


class Backbone(UNet):
    """Denoising UNet. It predicts for f noisy latents at once what the config's `prediction_type` names."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__(
            config,
            lambda channels: BackboneBlock(channels, config.attention_heads, config.audio_channels),
            temporal=True,
        )
        channels = config.block_out_channels[0]
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, channels, eps=1e-5)
        outputs = config.latent_channels + (WARP_MAPS if config.portrait_warp else 0)
        self.conv_out = nn.Conv2d(channels, outputs, 3, padding=1)
        if config.known_frames_in_latents:
            self.portrait_in = nn.Conv2d(config.latent_channels, channels, 3, padding=1)
            self.motion_in = nn.Conv2d(config.motion_frames * config.latent_channels, channels, 3, padding=1)
            if config.prediction_type == "sample":  # a new model predicts no movement at all
                for parameter in self.conv_out.parameters():
                    nn.init.zeros_(parameter)
        for level in self.levels():
            for scale in level.gesture_scales:
                for parameter in scale.parameters():
                    nn.init.zeros_(parameter)
        if config.audio_in_time_embedding:
            tokens = 2 * config.audio_margin + 1
            self.audio_embedding = nn.Linear(tokens * config.audio_channels, config.time_channels)
            nn.init.zeros_(self.audio_embedding.weight)
            nn.init.zeros_(self.audio_embedding.bias)

    def reference_conditions(self, reference_features: list[Tensor]) -> Conditions:
        """`reference` of the ReferenceNet's features, one (b, hw, c) for each spatial attention layer."""
        pairs = zip((block.attn2 for block in self._blocks()), reference_features, strict=True)
        return Conditions(reference=dict(enumerate(key_value(*pair) for pair in pairs)))

    def known_frame_conditions(self, reference_latents: Tensor, motion_latents: Tensor) -> Conditions:
        """`known_maps`, and `last_latents` unless a warp takes their place, if the config has them.

        Where the motion frames are zeros, before the first clip, the portrait replaces them.

        Args:
            reference_latents: latents of the portrait (b, c, h, w).
            motion_latents: latents of the motion frames (b, n, c, h, w).
        """
        if not self.config.known_frames_in_latents:
            return Conditions()
        recent = torch.where(has_motion(motion_latents), motion_latents, reference_latents[:, None])
        known = self.portrait_in(reference_latents) + self.motion_in(recent.flatten(1, 2))
        return Conditions(known_maps=known, last_latents=None if self.config.portrait_warp else recent[:, -1])

    def audio_conditions(self, audio_tokens: Tensor) -> Conditions:
        """`audio` of audio tokens (b, f, 2m + 1, audio_channels), and `audio_embedding` if the config has one."""
        audio = dict(enumerate(key_value(block.attn_audio, audio_tokens) for block in self._blocks()))
        if not self.config.audio_in_time_embedding:
            return Conditions(audio=audio)
        return Conditions(audio=audio, audio_embedding=self.audio_embedding(audio_tokens.flatten(2)))

    def motion_conditions(self, motion_features: list[Tensor]) -> Conditions:
        """`motion` of the ReferenceNet's features, one (b, n, c, h, w) for each temporal module."""
        pairs = zip(self.temporal_modules(), motion_features, strict=True)
        return Conditions(motion=dict(enumerate(module.motion_keys(features) for module, features in pairs)))

    def speed_conditions(self, speed_tokens: Tensor) -> Conditions:
        """`speed` of speed tokens (b, f, speed_channels)."""
        layers = [module.block.attn_speed for module in self.temporal_modules()]
        return Conditions(speed=dict(enumerate(key_value(layer, speed_tokens) for layer in layers)))

    def cached_step_conditions(self, conditions: Conditions) -> Conditions:
        """Conditions that `predict` takes beside deep features: those of the outermost level."""
        outer = {layer for level in (self.down_blocks[0], self.up_blocks[-1]) for layer in level.modules()}
        return conditions.for_layers(
            [number for number, layer in enumerate(self.attention_layers()) if layer in outer],
            [number for number, module in enumerate(self.temporal_modules()) if module in outer],
        )

    def forward(self, latents: Tensor, timestep: Tensor, conditions: Conditions, temporal: bool = True) -> Tensor:
        """Prediction of `predict` (b, f, c, h, w), for timesteps (b,)."""
        return self.predict(latents, self.embed_time(timestep), conditions, temporal)[0]

    def predict(
        self,
        latents: Tensor,
        time_embedding: Tensor,
        conditions: Conditions,
        temporal: bool = True,
        deep_features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """One full or cached step of the network.

        Args:
            latents: noisy latents (b, f, c, h, w).
            time_embedding: embedded timesteps (b, time_channels), from `embed_time`.
            conditions: conditions of the clips. Where b is 1, those of the voice may be of several voices; what these
                share is computed once.
            temporal: False leaves the temporal modules out (image stage).
            deep_features: deep features of an earlier step. They change little from one step to the next. With them,
                only the outermost level runs (Ma et al. 2023, DeepCache).

        Returns:
            the prediction (b, f, c, h, w), or (voices, f, c, h, w), and the deep features (b·f, c, h, w).
        """
        frames = latents.shape[1]
        numbers: dict[nn.Module, int] = {
            layer: number
            for layers in (self.attention_layers(), self.temporal_modules())
            for number, layer in enumerate(layers)
        }

        def visit(
            maps: Tensor,
            gesture_scale: nn.Linear | None,
            attention: SpatialTransformer | None,
            module: TemporalModule | None,
        ) -> Tensor:
            if gesture_scale is not None and conditions.gesture_embedding is not None:
                scales = gesture_scale(conditions.gesture_embedding).flatten(0, 1)  # [b·f, c]
                maps = maps * (1 + repeat(scales, maps.shape[0])[..., None, None])
            if attention is not None:
                reference = conditions.reference.get(numbers[attention])
                audio = conditions.audio.get(numbers[attention])
                maps = attention(maps, frames, reference, audio)
            if module is not None and temporal:
                motion, speed = conditions.motion.get(numbers[module]), conditions.speed.get(numbers[module])
                maps = module(maps.unflatten(0, (-1, frames)), motion, speed).flatten(0, 1)
            return maps

        maps, embedding = self._first_maps(latents, time_embedding, conditions)
        maps, deep_features = self.walk(maps.flatten(0, 1), embedding.flatten(0, 1), visit, deep_features)
        out: Tensor = self.conv_out(nn.functional.silu(self.conv_norm_out(maps))).unflatten(0, (-1, frames))
        if conditions.last_latents is not None and self.config.prediction_type == "sample":
            out = out + conditions.last_latents[:, None]
        return out, deep_features

    def _first_maps(self, latents: Tensor, time_embedding: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Feature maps (b, f, c, h, w) and embeddings that enter the first residual block.

        The embeddings are (b, f, time_channels), or (1, 1, time_channels) where one serves all frames.
        """
        frames = latents.shape[1]
        if conditions.face_latents is not None:
            latents = latents + conditions.face_latents[:, None]
        maps = self.conv_in(latents.flatten(0, 1)).unflatten(0, (-1, frames))
        if conditions.known_maps is not None:
            maps = maps + conditions.known_maps[:, None]
        embedding = time_embedding[:, None]
        if conditions.gesture_embedding is not None:
            embedding = embedding + conditions.gesture_embedding
        if conditions.audio_embedding is not None:
            embedding = embedding + conditions.audio_embedding
            maps = maps.expand(embedding.shape[0], -1, -1, -1, -1)
        elif latents.shape[0] > 1:
            embedding = embedding.expand(-1, frames, -1)
        return maps, embedding

    def _blocks(self) -> list[BackboneBlock]:
        return [layer.block for layer in self.attention_layers()]  # type: ignore[misc]


def has_motion(motion_latents: Tensor) -> Tensor:
    """Whether there are motion frames (b, n, c, h, w), as (b, 1, 1, 1, 1): before the first clip they are zeros."""
    return motion_latents.abs().amax((1, 2, 3, 4), keepdim=True) > 0
