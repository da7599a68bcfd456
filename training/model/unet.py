"""The UNet that Backbone and ReferenceNet are built on: SD 1.5's structure and parameter names (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from training.model.attention import SpatialBlock, SpatialTransformer, repeat
from training.model.config import EmoConfig
from training.model.temporal import TemporalModule

#: Layers behind a residual block: feature maps to feature maps, by a scale for gestures, an attention and a temporal
#: module, each of which may be None.
Visit = Callable[[Tensor, nn.Linear | None, SpatialTransformer | None, TemporalModule | None], Tensor]


class Level(nn.Module):
    """One resolution of the UNet on one side. The lists may be empty and have diffusers' names."""

    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.ModuleList()
        self.gesture_scales = nn.ModuleList()
        self.attentions = nn.ModuleList()
        self.motion_modules = nn.ModuleList()
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def visit(self, position: int, maps: Tensor, visit: Visit) -> Tensor:
        """Call `visit` with the layers that follow residual block `position` and its maps (b, c, h, w)."""
        lists = (self.gesture_scales, self.attentions, self.motion_modules)
        return visit(maps, *(layers[position] if layers else None for layers in lists))  # type: ignore[arg-type]


class UNet(nn.Module):
    """Residual blocks, down- and upsampling of SD 1.5; a subclass chooses the attention layers.

    Args:
        config: configuration of the model.
        block: factory of an attention layer's transformer block, by its number of channels.
        temporal: whether temporal modules follow the residual blocks of the config's temporal levels, and gestures
            scale what the blocks give, if the config has them.

    Attributes:
        temporal_places: for each call of `visit` in order, whether the Backbone has a temporal module there.
    """

    def __init__(self, config: EmoConfig, block: Callable[[int], SpatialBlock], temporal: bool) -> None:
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        temporal_levels = config.temporal_levels or (True,) * len(channels)
        self.temporal_places: list[bool] = []

        def add_layer(level: Level, inputs: int, outputs: int, has_attention: bool, is_temporal: bool) -> None:
            self.temporal_places.append(is_temporal)
            level.resnets.append(_resnet(config, inputs, outputs))
            if temporal and config.gestures:
                level.gesture_scales.append(nn.Linear(config.time_channels, outputs))
            if has_attention:
                level.attentions.append(SpatialTransformer(outputs, config.norm_groups, block(outputs)))
            if temporal and is_temporal:
                level.motion_modules.append(_temporal_module(config, outputs))

        self.time_proj = Timesteps(channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(channels[0], config.time_channels)
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)

        self.down_blocks = nn.ModuleList()
        skips = [channels[0]]
        current = channels[0]
        last = len(channels) - 1
        for index, outputs in enumerate(channels):
            level = Level()
            for _ in range(config.layers_per_block):
                add_layer(level, current, outputs, config.attention_levels[index], temporal_levels[index])
                current = outputs
                skips.append(current)
            if index < last:
                level.downsamplers.append(Downsample2D(current, use_conv=True, padding=1, name="op"))
                skips.append(current)
            self.down_blocks.append(level)

        self.mid_block = Level()
        add_layer(self.mid_block, current, current, has_attention=True, is_temporal=True)
        self.mid_block.resnets.append(_resnet(config, current, current))

        self.up_blocks = nn.ModuleList()
        for index, outputs in reversed(list(enumerate(channels))):
            level = Level()
            for _ in range(config.layers_per_block + 1):
                inputs = current + skips.pop()
                add_layer(level, inputs, outputs, config.attention_levels[index], temporal_levels[index])
                current = outputs
            if index > 0:
                level.upsamplers.append(Upsample2D(current, use_conv=True))
            self.up_blocks.append(level)

    def embed_time(self, timestep: Tensor) -> Tensor:
        """Timesteps (b,) to embeddings (b, time_channels)."""
        out: Tensor = self.time_embedding(self.time_proj(timestep).to(self.conv_in.weight.dtype))
        return out

    def walk(
        self, maps: Tensor, embedding: Tensor, visit: Visit, deep_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run all residual blocks behind `conv_in`.

        Args:
            maps: feature maps (b, block_out_channels[0], h, w).
            embedding: time embeddings (b, time_channels), or (1, time_channels) for the whole batch. Where the batch
                grows to k·b, they are repeated.
            visit: function that is called behind each residual block that an attention layer or a temporal module may
                follow, in order. It may return k maps for each of its input, and the batch grows to k·b.
            deep_features: deep features of an earlier walk, in place of the output of all levels but the outermost,
                which then do not run.

        Returns:
            the feature maps before the output layers (b, c, h, w), and the deep features: the output of all levels but
            the outermost, (b, c, h, w).
        """
        skips = [maps]

        def embedded(maps: Tensor) -> Tensor:
            return embedding if embedding.shape[0] == 1 else repeat(embedding, maps.shape[0])

        def descend(level: nn.Module, maps: Tensor) -> Tensor:
            assert isinstance(level, Level)
            for position, resnet in enumerate(level.resnets):
                maps = level.visit(position, resnet(maps, embedded(maps)), visit)
                skips.append(maps)
            return maps

        def ascend(level: nn.Module, maps: Tensor) -> Tensor:
            assert isinstance(level, Level)
            for position, resnet in enumerate(level.resnets):
                skip = repeat(skips.pop(), maps.shape[0])
                maps = level.visit(position, resnet(torch.cat([maps, skip], 1), embedded(maps)), visit)
            for upsample in level.upsamplers:
                maps = upsample(maps)
            return maps

        maps = descend(self.down_blocks[0], maps)
        if deep_features is None:
            for above, level in pairwise(self.down_blocks):
                assert isinstance(above, Level)
                maps = above.downsamplers[0](maps)
                skips.append(maps)
                maps = descend(level, maps)
            maps = self.mid_block.visit(0, self.mid_block.resnets[0](maps, embedded(maps)), visit)
            deep_features = self.mid_block.resnets[1](maps, embedded(maps))
            for level in self.up_blocks[:-1]:
                deep_features = ascend(level, deep_features)
        return ascend(self.up_blocks[-1], deep_features), deep_features

    def attention_layers(self) -> list[SpatialTransformer]:
        """Spatial attention layers in the order of `walk`."""
        return [layer for level in self.levels() for layer in level.attentions]  # type: ignore[misc]

    def temporal_modules(self) -> list[TemporalModule]:
        """Temporal modules in the order of `walk`."""
        return [layer for level in self.levels() for layer in level.motion_modules]  # type: ignore[misc]

    def levels(self) -> list[Level]:
        """Levels on the way down, the middle, levels on the way up."""
        return [*self.down_blocks, self.mid_block, *self.up_blocks]


def _resnet(config: EmoConfig, inputs: int, outputs: int) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=inputs,
        out_channels=outputs,
        temb_channels=config.time_channels,
        groups=config.norm_groups,
        eps=1e-5,
    )


def _temporal_module(config: EmoConfig, channels: int) -> TemporalModule:
    return TemporalModule(
        channels, config.temporal_heads, config.norm_groups, config.temporal_positions, config.speed_channels
    )
