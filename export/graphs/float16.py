"""A model in float16, its ReferenceNet scaled so that no feature map leaves float16's range."""

from __future__ import annotations

import math

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from training.model.attention import SpatialTransformer
from training.model.model import EmoModel
from training.model.reference_net import ReferenceNet

#: The limit of feature maps for a random picture; those of a real one may be four times larger before they overflow.
LARGEST_FLOAT16 = 2.0**14


def to_float16(model: EmoModel) -> EmoModel:
    """Turn a float32 `model` into float16, in place, with outputs that stay the same but for rounding.

    Training lets the maps that a ReferenceNet's residual blocks pass on grow without limit, because only norms read
    them: in one model to 1.7 million, where float16 ends at 65504. One power of two scales all of them. That changes
    nothing behind a norm if the norm's epsilon shrinks with its square.
    """
    largest = largest_map(model)
    if largest > LARGEST_FLOAT16:
        scale_maps(model.reference_net, 2.0 ** math.floor(math.log2(LARGEST_FLOAT16 / largest)))
    return model.half()


@torch.no_grad()
def largest_map(model: EmoModel) -> float:
    """The largest magnitude that the ReferenceNet's residual blocks and samplers pass on for random latents."""
    config = model.config
    latents = torch.randn(
        (1, config.latent_channels, config.latent_size, config.latent_size), generator=torch.Generator().manual_seed(0)
    )
    sizes: list[float] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, maps: sizes.append(float(maps.abs().max())))
        for module in model.reference_net.modules()
        if isinstance(module, (ResnetBlock2D, Downsample2D, Upsample2D))
    ]
    model.reference_net(latents.to(model.reference_net.conv_in.weight.device))
    for hook in hooks:
        hook.remove()
    return max(sizes)


@torch.no_grad()
def scale_maps(network: ReferenceNet, factor: float) -> None:
    """Multiply all maps that pass from block to block by `factor`, in place; the norms' outputs stay the same."""

    def scale(layer: nn.Module | None, reads_maps: bool) -> None:
        """Scale what a layer adds to the maps: its bias alone if it reads the maps, which are scaled already."""
        if layer is not None:
            for name, parameter in layer.named_parameters():
                if name == "bias" or not reads_maps:
                    parameter.mul_(factor)

    scale(network.conv_in, reads_maps=False)
    for level in network.levels():
        for resnet in level.resnets:
            assert isinstance(resnet, ResnetBlock2D)
            resnet.norm1.eps *= factor**2
            scale(resnet.conv2, reads_maps=False)
            scale(resnet.conv_shortcut, reads_maps=True)
        for attention in level.attentions:
            assert isinstance(attention, SpatialTransformer)
            attention.norm.eps *= factor**2
            scale(attention.proj_out, reads_maps=False)
        for sampler in (*level.downsamplers, *level.upsamplers):
            scale(sampler.conv, reads_maps=True)
