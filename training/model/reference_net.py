"""ReferenceNet: SD 1.5's UNet, which encodes the portrait and the motion frames (paper, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from training.model.attention import ReferenceBlock, SpatialTransformer
from training.model.config import EmoConfig
from training.model.temporal import TemporalModule
from training.model.unet import UNet


class ReferenceNet(UNet):
    """UNet without temporal modules whose output is the features of its layers. It runs once per clip."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__(config, lambda channels: ReferenceBlock(channels, config.attention_heads), temporal=False)

    def forward(self, latents: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of clean latents (b, c, h, w), at timestep 0.

        Returns:
            reference features, one (b, hw, c) for each attention layer, and motion features, one (b, c, h, w) for
            each temporal module of the Backbone; both in the order of `UNet.walk`.
        """
        reference_features: list[Tensor] = []
        motion_features: list[Tensor] = []

        def visit(
            maps: Tensor, _: nn.Linear | None, attention: SpatialTransformer | None, *__: TemporalModule | None
        ) -> Tensor:
            if attention is not None:
                hidden, features = attention.block(attention.enter(maps))
                reference_features.append(features)
                maps = attention.leave(hidden, maps)
            motion_features.append(maps)
            return maps

        embedding = self.embed_time(latents.new_zeros(1)).expand(latents.shape[0], -1)
        self.walk(self.conv_in(latents), embedding, visit)
        places = zip(motion_features, self.temporal_places, strict=True)
        return reference_features, [maps for maps, is_temporal in places if is_temporal]
