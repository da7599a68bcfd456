"""Backbone: the denoising UNet with reference-attention, audio-attention and temporal modules (paper, section 3.2).

Everything that does not change between two denoising steps enters as ``conditions``, a flat dictionary of tensors. Its
names are those of the exported graphs. A condition that is absent leaves its layers out: so the image stage trains
without audio and time, and the video stage without speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.model.attention import BackboneBlock, SpatialTransformer, key_value
from training.model.config import EmoConfig
from training.model.temporal import KeyValue, TemporalModule
from training.model.unet import UNet

Conditions = Mapping[str, Tensor]


class Backbone(UNet):
    """Predicts, for f noisy latents at once, what the config's ``prediction_type`` says."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__(
            config,
            lambda channels: BackboneBlock(channels, config.attention_heads, config.audio_channels),
            temporal=True,
        )
        channels = config.block_out_channels[0]
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, channels, eps=1e-5)
        self.conv_out = nn.Conv2d(channels, config.latent_channels, 3, padding=1)
        if config.known_frames_in_latents:
            self.portrait_in = nn.Conv2d(config.latent_channels, channels, 3, padding=1)
            self.motion_in = nn.Conv2d(config.motion_frames * config.latent_channels, channels, 3, padding=1)
            if config.prediction_type == "sample":  # begin by predicting no movement at all
                for parameter in self.conv_out.parameters():
                    nn.init.zeros_(parameter)
        if config.audio_in_time_embedding:
            tokens = 2 * config.audio_margin + 1
            self.audio_embedding = nn.Linear(tokens * config.audio_channels, config.time_channels)
            nn.init.zeros_(self.audio_embedding.weight)
            nn.init.zeros_(self.audio_embedding.bias)

    def reference_conditions(self, reference_features: list[Tensor]) -> dict[str, Tensor]:
        """Keys and values, each (b, hw, c), of the ReferenceNet's features of the portrait."""
        pairs = zip((block.attn2 for block in self._blocks()), reference_features, strict=True)
        return _named("reference", [key_value(*pair) for pair in pairs])

    def known_frames(self, reference_latents: Tensor, motion_latents: Tensor) -> dict[str, Tensor]:
        """What the latents of the portrait (b, c, h, w) and the motion frames (b, n, c, h, w) say directly.

        Where the motion frames are zeros, before the first clip, the portrait stands for them.

        Returns:
            ``known_maps`` (b, block_out_channels[0], h, w), ``last_latents`` (b, c, h, w): of the frame before the
            clip. Nothing unless the config wants known frames.
        """
        if not self.config.known_frames_in_latents:
            return {}
        recent = torch.where(has_motion(motion_latents), motion_latents, reference_latents[:, None])
        known = self.portrait_in(reference_latents) + self.motion_in(recent.flatten(1, 2))
        return {"known_maps": known, "last_latents": recent[:, -1]}

    def audio_conditions(self, audio_tokens: Tensor) -> dict[str, Tensor]:
        """Keys and values, each (b, f, 2m + 1, c), of audio tokens (b, f, 2m + 1, audio_channels)."""
        layers = [block.attn_audio for block in self._blocks()]
        conditions = _named("audio", [key_value(layer, audio_tokens) for layer in layers])
        if self.config.audio_in_time_embedding:
            conditions["audio_embedding"] = self.audio_embedding(audio_tokens.flatten(2))  # [b, f, time_channels]
        return conditions

    def motion_conditions(self, motion_features: list[Tensor]) -> dict[str, Tensor]:
        """Keys and values, each (b·hw, n, c), of the ReferenceNet's features (b, n, c, h, w) of the motion frames."""
        pairs = zip(self.temporal_modules(), motion_features, strict=True)
        keys = [module.motion_keys(features) for module, features in pairs]
        return _named("motion_first", [k[0] for k in keys]) | _named("motion_second", [k[1] for k in keys])

    def speed_conditions(self, speed_tokens: Tensor) -> dict[str, Tensor]:
        """Keys and values, each (b, f, c), of speed tokens (b, f, speed_channels)."""
        layers = [module.block.attn_speed for module in self.temporal_modules()]
        return _named("speed", [key_value(layer, speed_tokens) for layer in layers])

    def cached_step_conditions(self, conditions: Conditions) -> dict[str, Tensor]:
        """Those that ``predict`` takes beside deep features."""
        outer = [self.down_blocks[0], self.up_blocks[-1]]

        def deep(layers: Sequence[nn.Module], kinds: Sequence[str]) -> set[str]:
            near = {layer for level in outer for layer in level.modules()}
            far = [index for index, layer in enumerate(layers) if layer not in near]
            return {f"{kind}_{part}_{index:02d}" for kind in kinds for part in ("key", "value") for index in far}

        names = deep(self.attention_layers(), ("reference", "audio"))
        names |= deep(self.temporal_modules(), ("motion_first", "motion_second", "speed"))
        return {name: tensor for name, tensor in conditions.items() if name not in names}

    def forward(self, latents: Tensor, timestep: Tensor, conditions: Conditions, temporal: bool = True) -> Tensor:
        """As ``predict``, for timesteps (b,); the prediction alone."""
        return self.predict(latents, self.embed_time(timestep), conditions, temporal)[0]

    def predict(
        self,
        latents: Tensor,
        time_embedding: Tensor,
        conditions: Conditions,
        temporal: bool = True,
        deep_features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            latents: noisy latents (b, f, c, h, w).
            time_embedding: of the timesteps, as ``embed_time`` gives it (b, time_channels).
            conditions: what the ``*_conditions`` methods give, and ``face_latents`` (b, c, h, w). Where b is 1, those
                of the voice may be of several voices: what they share is computed once.
            temporal: False leaves the temporal modules out (image stage).
            deep_features: of an earlier step: they change little from one to the next, and all levels but the outermost
                are left out (Ma et al. 2023, DeepCache).

        Returns:
            the prediction (b, f, c, h, w), or (voices, f, c, h, w), and the deep features (b·f, c, h, w).
        """
        frames = latents.shape[1]
        places: dict[nn.Module, int] = {
            layer: index
            for layers in (self.attention_layers(), self.temporal_modules())
            for index, layer in enumerate(layers)
        }

        def visit(maps: Tensor, attention: SpatialTransformer | None, module: TemporalModule | None) -> Tensor:
            if attention is not None:
                index = places[attention]
                hidden = attention.enter(maps).unflatten(0, (-1, frames))
                reference, audio = _pair(conditions, "reference", index), _pair(conditions, "audio", index)
                maps = attention.leave(attention.block(hidden, reference, audio).flatten(0, 1), maps)
            if module is not None and temporal:
                index = places[module]
                first, second = _pair(conditions, "motion_first", index), _pair(conditions, "motion_second", index)
                motion = (first, second) if first and second else None
                speed = _pair(conditions, "speed", index)
                maps = module(maps.unflatten(0, (-1, frames)), motion, speed).flatten(0, 1)
            return maps

        if "face_latents" in conditions:
            latents = latents + conditions["face_latents"][:, None]
        maps = self.conv_in(latents.flatten(0, 1)).unflatten(0, (-1, frames))
        if "known_maps" in conditions:
            maps = maps + conditions["known_maps"][:, None]
        embedding = time_embedding[:, None]
        if "audio_embedding" in conditions:
            embedding = embedding + conditions["audio_embedding"]
            maps = maps.expand(embedding.shape[0], -1, -1, -1, -1)
        elif latents.shape[0] > 1:
            embedding = embedding.expand(-1, frames, -1)
        maps, deep_features = self.walk(maps.flatten(0, 1), embedding.flatten(0, 1), visit, deep_features)
        out: Tensor = self.conv_out(nn.functional.silu(self.conv_norm_out(maps))).unflatten(0, (-1, frames))
        if "last_latents" in conditions and self.config.prediction_type == "sample":
            out = out + conditions["last_latents"][:, None]
        return out, deep_features

    def _blocks(self) -> list[BackboneBlock]:
        return [layer.block for layer in self.attention_layers()]  # type: ignore[misc]


def has_motion(motion_latents: Tensor) -> Tensor:
    """Whether there are motion frames (b, n, c, h, w), as (b, 1, 1, 1, 1): before the first clip they are zeros."""
    return motion_latents.abs().amax((1, 2, 3, 4), keepdim=True) > 0


def _named(kind: str, pairs: list[KeyValue]) -> dict[str, Tensor]:
    return {
        f"{kind}_{part}_{index:02d}": tensor
        for index, pair in enumerate(pairs)
        for part, tensor in zip(("key", "value"), pair, strict=True)
    }


def _pair(conditions: Conditions, kind: str, index: int) -> KeyValue | None:
    key = f"{kind}_key_{index:02d}"
    return (conditions[key], conditions[f"{kind}_value_{index:02d}"]) if key in conditions else None
