"""The kernels that attention has on a device, and which one is fastest for a shape."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.gpu_rows.measure import milliseconds
from training.stages.performance import attention_by_products, attention_kernel

#: The largest number of scores that are written to memory to try products of matrices.
_MOST_SCORES = 2**27
#: The fewest keys that cuDNN's kernel is tried with: it is made anew for each shape.
_FEWEST_KEYS = 64


def _flash(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
    return out


def _efficient(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, None, False)[0]
    return out


def _cudnn(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._scaled_dot_product_cudnn_attention(query, key, value, None, False)[0]
    return out


_Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
_KERNELS: dict[str, _Kernel] = {
    "default": scaled_dot_product_attention,
    "matmul": attention_by_products,
    "flash": _flash,
    "efficient": _efficient,
    "cudnn": _cudnn,
}


class FastestAttention:
    """Attention with the kernel that is fastest for each shape, which the first call with that shape finds out.

    Attributes:
        chosen: names of the kernels by (batch, heads, queries, head_dim, keys)
        tried: times of all kernels in milliseconds, by the same shapes as text
    """

    def __init__(self) -> None:
        self.chosen: dict[tuple[int, ...], str] = {}
        self.tried: dict[str, dict[str, float]] = {}

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of queries (b, h, q, d) to keys and values (b, h, k, d): (b, h, q, d)."""
        shape = (*query.shape, key.shape[2])
        if not torch.compiler.is_compiling() and shape not in self.chosen:
            self._choose(shape, query, key, value)
        if shape not in self.chosen:
            return scaled_dot_product_attention(query, key, value)
        return _KERNELS[self.chosen[shape]](query, key, value)

    def _choose(self, shape: tuple[int, ...], query: Tensor, key: Tensor, value: Tensor) -> None:
        batch, heads, queries, _, keys = shape
        names = ["default"]
        if batch * heads * queries * keys <= _MOST_SCORES:
            names.append("matmul")
        if query.is_cuda:
            names += ["flash", "efficient", *(["cudnn"] if keys >= _FEWEST_KEYS else [])]
        times = {}
        for name in names:
            kernel = _KERNELS[name]
            with contextlib.suppress(RuntimeError):  # not every kernel takes every shape
                kernel(query, key, value)
                call = lambda kernel=kernel: kernel(query, key, value)  # noqa: E731
                times[name] = milliseconds(call, query.device.type, 3)
        self.chosen[shape] = min(times, key=times.__getitem__)
        self.tried[" ".join(map(str, shape))] = {name: round(time, 4) for name, time in times.items()}


@contextlib.contextmanager
def fastest_attention() -> Iterator[FastestAttention]:
    """Run all attention of the Backbone and the ReferenceNet by a `FastestAttention` within the block."""
    fastest = FastestAttention()
    with attention_kernel(fastest):
        yield fastest
