"""The UNet skeleton that Backbone and ReferenceNet share: SD 1.5's structure and parameter names."""

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

#: What a network does behind a residual block: (maps, attention or None, temporal module or None) to maps.
Visit = Callable[[Tensor, SpatialTransformer | None, TemporalModule | None], Tensor]


class Level(nn.Module):
    """One resolution of the UNet on one side. Lists may be empty; their names are diffusers'."""

    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.ModuleList()
        self.attentions = nn.ModuleList()
        self.motion_modules = nn.ModuleList()
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def visit(self, position: int, maps: Tensor, visit: Visit) -> Tensor:
        attention = self.attentions[position] if self.attentions else None
        temporal = self.motion_modules[position] if self.motion_modules else None
        return visit(maps, attention, temporal)  # type: ignore[arg-type]


class UNet(nn.Module):
    """Residual blocks, down- and upsampling of SD 1.5; a subclass says what the attention layers are.

    Args:
        config: the size.
        block: makes the transformer block of an attention layer with so many channels.
        temporal: whether temporal modules stand behind the residual blocks of the config's temporal levels.
    """

    def __init__(self, config: EmoConfig, block: Callable[[int], SpatialBlock], temporal: bool) -> None:
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        groups = config.norm_groups

        temporal_levels = config.temporal_levels or (True,) * len(channels)
        #: For each call of ``visit`` in order, whether the Backbone has a temporal module there.
        self.temporal_places: list[bool] = []

        def add_layer(level: Level, inputs: int, outputs: int, attend: bool, moves: bool) -> None:
            self.temporal_places.append(moves)
            level.resnets.append(resnet(inputs, outputs))
            if attend:
                level.attentions.append(SpatialTransformer(outputs, groups, block(outputs)))
            if temporal and moves:
                level.motion_modules.append(
                    TemporalModule(
                        outputs, config.temporal_heads, groups, config.temporal_positions, config.speed_channels
                    )
                )

        def resnet(inputs: int, outputs: int) -> ResnetBlock2D:
            return ResnetBlock2D(
                in_channels=inputs, out_channels=outputs, temb_channels=config.time_channels, groups=groups, eps=1e-5
            )

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
        add_layer(self.mid_block, current, current, attend=True, moves=True)
        self.mid_block.resnets.append(resnet(current, current))

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
        """Run all residual blocks behind ``conv_in``.

        Args:
            maps: (b, block_out_channels[0], h, w).
            embedding: (b, time_channels), or (1, time_channels) for all.
            visit: is called behind each residual block that an attention layer or a temporal module may follow, in
                order; it may give several maps for each.
            deep_features: of an earlier walk: only the outermost level runs, and takes these for what all others give.

        Returns:
            the feature maps before the output layers, and the deep features (b, c, h, w).
        """
        skips = [maps]

        def descend(level: nn.Module, maps: Tensor) -> Tensor:
            assert isinstance(level, Level)
            for position, resnet in enumerate(level.resnets):
                maps = level.visit(position, resnet(maps, embedding), visit)
                skips.append(maps)
            return maps

        def ascend(level: nn.Module, maps: Tensor) -> Tensor:
            assert isinstance(level, Level)
            for position, resnet in enumerate(level.resnets):
                skip = repeat(skips.pop(), maps.shape[0])
                maps = level.visit(position, resnet(torch.cat([maps, skip], 1), embedding), visit)
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
            maps = self.mid_block.visit(0, self.mid_block.resnets[0](maps, embedding), visit)
            deep_features = self.mid_block.resnets[1](maps, embedding)
            for level in self.up_blocks[:-1]:
                deep_features = ascend(level, deep_features)
        return ascend(self.up_blocks[-1], deep_features), deep_features

    def attention_layers(self) -> list[SpatialTransformer]:
        """All spatial attention layers in the order of :meth:`walk`."""
        return [layer for level in self.levels() for layer in level.attentions]  # type: ignore[misc]

    def temporal_modules(self) -> list[TemporalModule]:
        """All temporal modules in the order of :meth:`walk`."""
        return [layer for level in self.levels() for layer in level.motion_modules]  # type: ignore[misc]

    def levels(self) -> list[Level]:
        return [*self.down_blocks, self.mid_block, *self.up_blocks]
