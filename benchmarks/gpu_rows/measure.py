"""How a call on a device is timed, captured and taken apart, and the rates that the device itself reaches."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: A call of a graph, and what it gives: tensors by name.
Call = Callable[[], dict[str, Tensor]]


def set_up_pytorch(device: str, *, search: bool) -> None:
    """Set PyTorch's switches for a row: float32 is float32, and memory is counted from now on.

    Args:
        device: PyTorch's device
        search: whether cuDNN tries its kernels for each shape; for float32 that takes minutes
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = search
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def milliseconds(call: Callable[[], object], device: str, repeats: int) -> float:
    """The median time of a call in milliseconds, on a GPU by its own clock.

    Args:
        call: call that has run before
        device: PyTorch's device
        repeats: number of calls
    """
    times = []
    for _ in range(repeats):
        if device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            started = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def captured_call(call: Call) -> Call:
    """A call as one CUDA graph: it gives the same tensors again, with new values.

    Args:
        call: call that has run before, on the GPU
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call()

    def replay() -> dict[str, Tensor]:
        graph.replay()
        return outputs

    return replay


def kernel_milliseconds(call: Callable[[], object], count: int = 20) -> dict[str, float]:
    """Milliseconds of the GPU's kernels in a call by name, the longest first; all but `count` kernels as `others`."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        torch.cuda.synchronize()
    times: Counter[str] = Counter()
    for event in profiler.events() or []:
        if event.device_type == torch.autograd.DeviceType.CUDA:
            times[event.name[:120]] += event.time_range.elapsed_us() / 1e3
    longest = times.most_common(count)
    others = sum(times.values()) - sum(time for _, time in longest)
    return {name: round(time, 3) for name, time in [*longest, ("others", others)] if time}


def device_rates(device: str) -> dict[str, Any]:
    """What the device reaches at most.

    Args:
        device: PyTorch's device

    Returns:
        `matmul_tflops`, the rate of a large matrix product in TFLOP/s by precision, on random numbers; `copy_tb_s`, the
        rate of a large copy in TB/s, read and written.
    """
    side, size = (8192, 2**32) if device == "cuda" else (256, 2**20)
    rates: dict[str, Any] = {"matmul_tflops": {}}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        rates["matmul_tflops"][precision] = _matmul_tflops(side, dtype, device)
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    rates["copy_tb_s"] = 2 * size / milliseconds(lambda: target.copy_(source), device, 5) / 1e9
    return rates


def _matmul_tflops(side: int, dtype: torch.dtype, device: str) -> float:
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    return 2 * side**3 / milliseconds(lambda: torch.mm(a, b), device, 5) / 1e9
