"""How a model computes while it trains: with less memory, or faster on a CPU. What it learns stays the same."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from training.model import attention
from training.model.attention import SpatialBlock
from training.model.model import EmoModel
from training.model.temporal import TemporalBlock

#: Length up to which a sequence is short.
SHORT_SEQUENCE = 32

#: Steps that run before a CUDA graph captures one.
EAGER_STEPS = 3


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


def attention_by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of queries (b, h, q, d) to keys and values (b, h, k, d) by two matrix products: (b, h, q, d)."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return scores.softmax(-1) @ value


@contextmanager
def attention_kernel(kernel: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Runs all attention of the Backbone and the ReferenceNet by a kernel within the block."""
    usual = attention.scaled_dot_product_attention
    attention.scaled_dot_product_attention = kernel  # type: ignore[assignment]
    try:
        yield
    finally:
        attention.scaled_dot_product_attention = usual


def short_attention_by_products() -> AbstractContextManager[None]:
    """Lets attention over short sequences, the frames of a pixel, be two matrix products within the block.

    PyTorch's fused kernels fill each sequence up to a tile of 128. For 4096 pixels of 12 frames with 4 motion frames,
    forwards and backwards, they take 1.5 ms on an H200, products 1.0 ms.
    """
    fused = attention.scaled_dot_product_attention

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if query.shape[-2] > SHORT_SEQUENCE or key.shape[-2] > SHORT_SEQUENCE:
            return fused(query, key, value)
        return attention_by_products(query, key, value)

    return attention_kernel(attend)


class RoundedModel:
    """A copy of a model in bfloat16 that computes losses and gradients for it.

    The model keeps its weights in float32. Unlike autocast, nothing is converted between two layers: norms take and
    give bfloat16, and compute in float32 inside.

    Args:
        model: the model; what does not train there does not in the copy

    Attributes:
        copy: the model in bfloat16
    """

    def __init__(self, model: EmoModel) -> None:
        self.copy = copy.deepcopy(model).to(torch.bfloat16)
        pairs = zip(model.parameters(), self.copy.parameters(), strict=True)
        self._pairs = [(own, rounded) for own, rounded in pairs if own.requires_grad]

    def return_gradients(self) -> None:
        """Gives the model the gradients of its copy."""
        for own, rounded in self._pairs:
            own.grad = None if rounded.grad is None else rounded.grad.float()

    @torch.no_grad()
    def round(self) -> None:
        """Gives the copy the model's weights."""
        for own, rounded in self._pairs:
            rounded.copy_(own)


class CapturedSteps:
    """A training step that a GPU replays from a CUDA graph, one graph for each variant.

    The first steps of a variant run as they are: they allocate, and libraries choose their kernels. The next one is
    captured. A replay takes random numbers from PyTorch's seed as it is then.

    Args:
        step: takes a variant and gives a loss (), all of it on the GPU, and waits for nothing
    """

    def __init__(self, step: Callable[[int], Tensor]) -> None:
        self._step = step
        self._eager: Counter[int] = Counter()
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, variant: int) -> Tensor:
        """Runs a step, and gives its loss ()."""
        if variant not in self._graphs and self._eager[variant] < EAGER_STEPS:
            self._eager[variant] += 1
            side = torch.cuda.Stream()  # what is captured may not depend on work of the default stream
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                loss = self._step(variant)
            torch.cuda.current_stream().wait_stream(side)
            return loss
        if variant not in self._graphs:
            graph = torch.cuda.CUDAGraph()
            pool = next(iter(self._graphs.values()))[0].pool() if self._graphs else None
            with torch.cuda.graph(graph, pool=pool):
                loss = self._step(variant)
            self._graphs[variant] = graph, loss
        graph, loss = self._graphs[variant]
        graph.replay()
        return loss.clone()


def store_channels_last(model: EmoModel, last: bool) -> None:
    """Stores convolution weights with the channels last, which convolutions compute fastest with, or first."""
    layout = torch.channels_last if last else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]
