"""The rows of the checklist for GPUs: what runs the model, one technique on top of the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuVariant:
    """What runs the model.

    Attributes:
        precision: precision of the graphs: fp32, bf16, fp16, int8 or fp8
        backend: backend of the runtime, or `pytorch`
        channels_last: whether PyTorch's feature maps have their channels last in memory
        captured: whether each of PyTorch's graphs is replayed as a CUDA graph
        fastest_attention: whether each shape of attention gets the kernel that is fastest for it here
        compiled: whether `torch.compile` compiles the blocks of PyTorch's networks
        cache_interval: number of steps of which one is full, for a backend of the runtime
    """

    precision: str
    backend: str = "pytorch"
    channels_last: bool = False
    captured: bool = False
    fastest_attention: bool = False
    compiled: bool = False
    cache_interval: int = 1


#: The row that all others are compared with.
REFERENCE_ROW = "pytorch-fp32"
GPU_ROWS = {
    REFERENCE_ROW: GpuVariant("fp32"),
    "pytorch-bf16": GpuVariant("bf16"),
    "pytorch-bf16-channels-last": GpuVariant("bf16", channels_last=True),
    "pytorch-bf16-graph": GpuVariant("bf16", channels_last=True, captured=True),
    "pytorch-bf16-attention": GpuVariant("bf16", channels_last=True, captured=True, fastest_attention=True),
    "pytorch-bf16-compiled": GpuVariant(
        "bf16", channels_last=True, captured=True, fastest_attention=True, compiled=True
    ),
    "pytorch-fp16-graph": GpuVariant("fp16", channels_last=True, captured=True),
    "pytorch-fp16-compiled": GpuVariant(
        "fp16", channels_last=True, captured=True, fastest_attention=True, compiled=True
    ),
    "onnxruntime-fp16": GpuVariant("fp16", "onnxruntime"),
    "tensorrt-fp16": GpuVariant("fp16", "tensorrt"),
    "tensorrt-fp16-cached": GpuVariant("fp16", "tensorrt", cache_interval=4),
    "tensorrt-int8": GpuVariant("int8", "tensorrt"),
    "tensorrt-fp8": GpuVariant("fp8", "tensorrt"),
}
