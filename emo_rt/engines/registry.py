"""The backends by name. Only the one that is asked for is imported: the others need not be installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from emo_rt.bundle import Bundle, GraphSpec
from emo_rt.engines.engine import Engine
from emo_rt.errors import InputError


class Backend(NamedTuple):
    """Where an engine is, what it needs, and how one gets that."""

    module: str
    engine: str
    packages: tuple[str, ...]
    cure: str


BACKENDS = {
    "onnxruntime": Backend(
        "emo_rt.engines.onnxruntime", "OnnxRuntimeEngine", ("onnxruntime",), "pip install onnxruntime"
    ),
    "openvino": Backend("emo_rt.engines.openvino", "OpenVinoEngine", ("openvino",), "pip install openvino"),
    "openvino-bf16": Backend("emo_rt.engines.openvino", "OpenVinoBf16Engine", ("openvino",), "pip install openvino"),
    "tensorrt": Backend(
        "emo_rt.engines.tensorrt",
        "TensorRtEngine",
        ("cuda",),
        "pip install tensorrt cuda-python, or tensorrt-rtx cuda-python on a GeForce or RTX",
    ),
}


def check_backend(backend: str) -> None:
    """Raises InputError if there is no such backend, or what it needs is not installed."""
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown; choose {', '.join(BACKENDS)}")
    if any(importlib.util.find_spec(package) is None for package in BACKENDS[backend].packages):
        raise InputError(f"backend {backend} is not installed: {BACKENDS[backend].cure}")


def check_runs_here(backend: str) -> None:
    """Raises InputError if a backend is not installed, or this machine lacks what it runs on."""
    check_backend(backend)
    if backend == "tensorrt":
        importlib.import_module(BACKENDS[backend].module).gpu()
    elif backend == "openvino-bf16":
        importlib.import_module(BACKENDS[backend].module).check_bfloat16()


def runs_here() -> list[str]:
    """The backends that are installed and find on this machine what they run on."""
    found = []
    for backend in BACKENDS:
        with contextlib.suppress(InputError):
            check_runs_here(backend)
            found.append(backend)
    return found


def engine_class(backend: str) -> Callable[[str, Path, GraphSpec, int | None], Engine]:
    """What makes a backend's engine of a graph's name, its ONNX file, its part of the manifest, and CPU threads.

    Raises:
        InputError: if there is no such backend, or it is not installed.
    """
    check_backend(backend)
    module = importlib.import_module(BACKENDS[backend].module)
    found: Callable[[str, Path, GraphSpec, int | None], Engine] = getattr(module, BACKENDS[backend].engine)
    return found


def load_engine(bundle: Bundle, graph_name: str, backend: str = "onnxruntime", threads: int | None = None) -> Engine:
    """Loads one graph of a bundle.

    Raises:
        InputError: if there is no such backend, or it is not installed.
        BundleError: if the graph does not load.
    """
    load = engine_class(backend)
    return load(graph_name, bundle.graph_path(graph_name), bundle.manifest.graphs[graph_name], threads)
