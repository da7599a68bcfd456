"""ReferenceNet: SD 1.5's UNet without temporal layers; it encodes the portrait and the motion frames (section 3.2)."""

from __future__ import annotations

from torch import Tensor

from training.model.attention import ReferenceBlock, SpatialTransformer
from training.model.config import EmoConfig
from training.model.temporal import TemporalModule
from training.model.unet import UNet


class ReferenceNet(UNet):
    """The features that its layers leave behind are its output; it runs once per clip, never per denoising step."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__(config, lambda channels: ReferenceBlock(channels, config.attention_heads), temporal=False)

    def forward(self, latents: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Encode clean latents (b, c, h, w), at timestep 0.

        Returns:
            reference features, one (b, hw, c) for each attention layer, and motion features, one (b, c, h, w) for
            each temporal module of the Backbone; both in the order of :meth:`UNet.walk`.
        """
        reference_features: list[Tensor] = []
        motion_features: list[Tensor] = []

        def visit(maps: Tensor, attention: SpatialTransformer | None, _: TemporalModule | None) -> Tensor:
            if attention is not None:
                hidden, features = attention.block(attention.enter(maps))
                reference_features.append(features)
                maps = attention.leave(hidden, maps)
            motion_features.append(maps)
            return maps

        embedding = self.embed_time(latents.new_zeros(1)).expand(latents.shape[0], -1)
        self.walk(self.conv_in(latents), embedding, visit)
        places = zip(motion_features, self.temporal_places, strict=True)
        return reference_features, [maps for maps, moves in places if moves]
