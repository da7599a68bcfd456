"""How a model computes while it trains: with less memory, or faster on a CPU. What it learns stays the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from training.model.attention import SpatialBlock
from training.model.model import EmoModel
from training.model.temporal import TemporalBlock


def checkpoint_gradients(model: EmoModel) -> None:
    """Makes the blocks of both UNets keep only their inputs; the backward pass computes the rest again."""
    for network in (model.backbone, model.reference_net):
        for block in network.modules():
            if isinstance(block, ResnetBlock2D | SpatialBlock | TemporalBlock):
                block.forward = partial(  # type: ignore[method-assign]
                    checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
                )


def fast_cpu_bfloat16(model: EmoModel) -> Callable[[], AbstractContextManager[None]]:
    """Avoids the operations that are slow on a CPU in bfloat16.

    Group norms compute in float32 whatever they are given: in bfloat16 they take three times as long. Attention leaves
    out PyTorch's fused kernel, whose backward pass takes nine times as long in bfloat16 as in float32.

    Returns:
        context manager in which each forward and backward pass has to run
    """
    for layer in model.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return partial(sdpa_kernel, SDPBackend.MATH)


def use_channels_last(model: EmoModel) -> None:
    """Stores convolution weights with the channels last, which convolutions compute fastest with."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
