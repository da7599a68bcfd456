"""The blocks that `torch.compile` compiles, and processes that compile them side by side beforehand.

Blocks of one kind and shape share their code; the whole network would be a graph of thousands of operators. One process
compiles one shape after the other, and waits for each most of the time. So several processes compile a share each and
leave the code in PyTorch's cache on disk, where the process that is timed finds it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from benchmarks.gpu_rows.attention_kernels import FastestAttention, fastest_attention
from benchmarks.gpu_rows.clip import CLIP_GRAPHS, ONCE, VOICE_GRAPH, ClipWork
from benchmarks.gpu_rows.measure import set_up_pytorch
from benchmarks.gpu_rows.variants import GPU_ROWS
from benchmarks.gpu_rows.weights import make_model
from benchmarks.machine import CHECKOUT
from training.model.attention import SpatialTransformer
from training.model.model import EmoModel
from training.model.temporal import TemporalModule

#: The processes at most, and the GPU's memory that each of them needs in bytes.
_MOST_PROCESSES, _PROCESS_BYTES = 8, 14 * 2**30
#: The seconds after which they are ended.
_MOST_SECONDS = 80.0


def network_blocks(model: EmoModel) -> list[nn.Module]:
    """The blocks of the Backbone and of the decoder, and the norms before their last layers."""
    decoder = model.vae.autoencoder.decoder
    kinds = (ResnetBlock2D, SpatialTransformer, TemporalModule)
    return [
        *(module for module in model.backbone.modules() if isinstance(module, kinds)),
        *(module for module in decoder.modules() if isinstance(module, (ResnetBlock2D, Attention))),
        model.backbone.conv_norm_out,
        decoder.conv_norm_out,
    ]


def compile_blocks(model: EmoModel, part: int = 0, parts: int = 1) -> None:
    """Let `torch.compile` compile blocks when they run next.

    Args:
        model: model whose blocks are compiled, in place
        part: number of the share of all kinds of blocks
        parts: number of shares
    """
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = 1024  # each shape has code of its own
    kinds: dict[tuple[object, ...], int] = {}
    for block in network_blocks(model):
        kind = (type(block), *(parameter.shape for parameter in block.parameters()))
        if kinds.setdefault(kind, len(kinds)) % parts == part:
            block.compile(dynamic=False)


def cache_counts() -> dict[str, int]:
    """How often this process has looked for compiled code in PyTorch's cache, by outcome."""
    counters = torch._dynamo.utils.counters
    return {
        f"{kind} {name}": count
        for kind in ("aot_autograd", "inductor")
        for name, count in counters[kind].items()
        if "cache" in name
    }


def process_count(device: str) -> int:
    """The number of processes that this machine lets compile side by side; 1 means that none is worth its start."""
    count = min(_MOST_PROCESSES, (os.cpu_count() or 1) // 2)
    if device == "cuda":
        torch.cuda.empty_cache()
        count = min(count, torch.cuda.mem_get_info()[0] // _PROCESS_BYTES)
    return max(1, count)


def precompile(name: str, row: str, device: str, chosen: Path, processes: int) -> dict[str, Any]:
    """Compile all blocks into the cache on disk, in processes side by side.

    Args:
        name: name of the model
        row: name of the row that is going to be compiled
        device: PyTorch's device
        chosen: JSON file of `FastestAttention.chosen`, by shapes as text
        processes: number of processes

    Returns:
        `processes`; `seconds` that they took; `failed`, the last lines of those that did not get through.
    """
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.gpu_rows.blocks", "--model", name, "--row", row, "--device", device]
    command += ["--chosen", str(chosen), "--parts", str(processes), "--part"]
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    logs = [chosen.with_suffix(f".{part}.log") for part in range(processes)]
    running = []
    for part, log in enumerate(logs):
        with log.open("w") as output:
            running.append(
                subprocess.Popen(
                    [*command, str(part)], cwd=CHECKOUT, env=environment, stdout=output, stderr=subprocess.STDOUT
                )
            )
    for process in running:
        try:
            process.wait(max(0.0, started + _MOST_SECONDS - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    failed = [
        (log.read_text(errors="replace").strip().splitlines() or ["it was stopped"])[-1]
        for process, log in zip(running, logs, strict=True)
        if process.returncode
    ]
    return {"processes": processes, "seconds": time.monotonic() - started, "failed": failed}


@torch.no_grad()
def main(arguments: list[str] | None = None) -> int:
    """Compile a share of the blocks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_rows.blocks", description=__doc__)
    for option in ("--model", "--row", "--device"):
        parser.add_argument(option, required=True)
    for option in ("--part", "--parts"):
        parser.add_argument(option, type=int, required=True)
    parser.add_argument("--chosen", type=Path, required=True)
    args = parser.parse_args(arguments)
    variant = GPU_ROWS[args.row]
    set_up_pytorch(args.device, search=False)  # the cache tells code by some of the switches
    torch.set_default_dtype({"bf16": torch.bfloat16, "fp16": torch.float16}.get(variant.precision, torch.float32))
    try:  # no float32 on the way: the memory is shared
        model = make_model(args.model, variant, args.device)
    finally:
        torch.set_default_dtype(torch.float32)
    with fastest_attention() if variant.fastest_attention else contextlib.nullcontext() as fastest:
        if isinstance(fastest, FastestAttention):
            known = json.loads(args.chosen.read_text())
            fastest.chosen.update({tuple(map(int, shape.split())): name for shape, name in known.items()})
        work = ClipWork(model, args.device)
        compile_blocks(model, args.part, args.parts)
        for graph in CLIP_GRAPHS:
            if graph in (ONCE, VOICE_GRAPH):
                continue
            outputs = work.call(graph)()
            if graph == "guided_backbone":
                work.keep_deep_features(outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
