"""Rows of the checklist that PyTorch runs: graph by graph, the most important figures first."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_rows.attention_kernels import FastestAttention, fastest_attention
from benchmarks.gpu_rows.blocks import cache_counts, compile_blocks, precompile, process_count
from benchmarks.gpu_rows.clip import CLIP_GRAPHS, REFERENCE_GRAPHS, VOICE_GRAPH, ClipWork
from benchmarks.gpu_rows.measure import Call, captured_call, kernel_milliseconds, milliseconds, set_up_pytorch
from benchmarks.gpu_rows.variants import GPU_ROWS, GpuVariant
from benchmarks.gpu_rows.weights import has_bundled_weights, make_model
from benchmarks.machine import WORK

#: The graphs whose outputs are compared with the reference, and the output.
_COMPARED = {"guided_backbone": "next_latents", "vae_decoder": "frames"}


@torch.no_grad()
def time_pytorch(name: str, row: str, device: str, reference: Path) -> Iterator[dict[str, Any]]:
    """Time the graphs of a clip, one after the other.

    Args:
        name: name of the model, as `make_model` takes it
        row: name of the row in `GPU_ROWS`, which says how PyTorch runs it
        device: PyTorch's device
        reference: file of the outputs in float32: a row in float32 writes it, all others are compared with it

    Yields:
        after each graph all figures so far: `weights`, bundled or random; `milliseconds` by graph; `step_tflop` of a
        guided step; `step_error`, the relative error of its latents; `frames_psnr` of the decoder in dB;
        `prepare_seconds`, all that went before the timing; `memory_gib`, the most that was allocated; `uncaptured`, why
        a graph is not replayed; `precompiled` as `precompile` gives it, with what then came from the cache;
        `attention` and `kernels` as `FastestAttention` and `kernel_milliseconds` give them.
    """
    started = time.perf_counter()
    variant = GPU_ROWS[row]
    is_reference = variant.precision == "fp32"
    set_up_pytorch(device, search=not is_reference)
    model = make_model(name, variant, device)
    figures: dict[str, Any] = {"weights": "bundled" if has_bundled_weights(name) else "random", "milliseconds": {}}
    names = REFERENCE_GRAPHS if is_reference else CLIP_GRAPHS
    work = ClipWork(model, device)
    with FlopCounterMode(display=False) as counter:  # before kernels are chosen, which count differently
        work.keep_deep_features(work.call("guided_backbone")())
    figures["step_tflop"] = counter.get_total_flops() / 1e12
    with fastest_attention() if variant.fastest_attention else contextlib.nullcontext() as fastest:
        if variant.fastest_attention:
            work.call("guided_backbone")()  # it chooses kernels
        if variant.compiled:
            figures["precompiled"] = _compile(name, row, device, work, fastest)
            compile_blocks(model)
        figures["prepare_seconds"] = time.perf_counter() - started
        for graph in names:
            call, outputs = _ready(work.call(graph), graph, variant, device, figures)
            if graph in _COMPARED:
                _compare(figures, graph, outputs[_COMPARED[graph]], reference, is_reference)
            figures["milliseconds"][graph] = milliseconds(call, device, 2 if is_reference else 7)
            if device == "cuda":
                figures["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
            if variant.compiled:
                figures["precompiled"]["cache"] = cache_counts()
            if isinstance(fastest, FastestAttention):
                figures["attention"] = fastest.tried
            yield figures
            del call, outputs
        if device == "cuda" and not is_reference:
            for graph in _COMPARED:
                figures.setdefault("kernels", {})[graph] = _kernels(work.call(graph))
                yield figures


def _compile(name: str, row: str, device: str, work: ClipWork, fastest: object) -> dict[str, Any]:
    """Compile the blocks beforehand, side by side, where the machine has the cores for it; what that took."""
    known: dict[str, str] = {}
    if isinstance(fastest, FastestAttention):
        for graph in CLIP_GRAPHS:  # attention chooses its kernels before anything is compiled
            if graph.endswith("backbone"):
                work.call(graph)()
        known = {" ".join(map(str, shape)): kernel for shape, kernel in fastest.chosen.items()}
    processes = process_count(device)
    if processes == 1:
        return {"processes": 1}
    chosen = WORK / f"{name}-{row}-attention.json"
    chosen.write_text(json.dumps(known))
    return precompile(name, row, device, chosen, processes)


def _ready(
    call: Call, graph: str, variant: GpuVariant, device: str, figures: dict[str, Any]
) -> tuple[Call, dict[str, Tensor]]:
    """A call that has run, as a CUDA graph if the variant wants it and it can be one, and its outputs."""
    started = time.perf_counter()
    outputs = call()
    if variant.captured and device == "cuda" and graph != VOICE_GRAPH:  # its library looks at values on the way
        try:
            call = captured_call(call)
            outputs = call()
        except RuntimeError as error:
            figures.setdefault("uncaptured", {})[graph] = str(error).splitlines()[0]
    if device == "cuda":
        torch.cuda.synchronize()
    figures["prepare_seconds"] += time.perf_counter() - started
    return call, outputs


def _compare(figures: dict[str, Any], graph: str, output: Tensor, path: Path, is_reference: bool) -> None:
    """Compare an output with the reference's, or keep it as the reference."""
    known: dict[str, Tensor] = torch.load(path) if path.exists() else {}
    output = output.float().cpu()
    if is_reference:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**known, graph: output}, path)
    elif graph in known and graph == "vae_decoder":
        squared = float((output - known[graph]).square().mean())
        figures["frames_psnr"] = 10 * math.log10(255**2 / squared) if squared else 100.0
    elif graph in known:
        figures["step_error"] = float((output - known[graph]).norm() / known[graph].norm())


def _kernels(call: Call) -> dict[str, float] | str:
    try:
        return kernel_milliseconds(call)
    except (AttributeError, RuntimeError) as error:  # not every machine lets a program look
        return str(error).splitlines()[0]
