"""The backends by name. Only the one that is asked for is imported: the others need not be installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

from emo_rt.bundle import Bundle, Graph
from emo_rt.engine import Engine
from emo_rt.errors import InputError

#: Where each backend's engine is, what it needs, and how one gets that.
BACKENDS = {
    "onnxruntime": ("emo_rt.onnxruntime_engine", "OnnxRuntimeEngine", ("onnxruntime",), "pip install onnxruntime"),
    "openvino": ("emo_rt.openvino_engine", "OpenVinoEngine", ("openvino",), "pip install openvino"),
    "tensorrt": (
        "emo_rt.tensorrt_engine",
        "TensorRtEngine",
        ("cuda",),
        "pip install tensorrt cuda-python, or tensorrt-rtx cuda-python on a GeForce or RTX",
    ),
}


def check_backend(backend: str) -> None:
    """Raises InputError if there is no such backend, or what it needs is not installed."""
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown; choose {', '.join(BACKENDS)}")
    packages, cure = BACKENDS[backend][2:]
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise InputError(f"backend {backend} is not installed: {cure}")


def check_runs_here(backend: str) -> None:
    """Raises InputError if a backend is not installed, or this machine lacks what it runs on."""
    check_backend(backend)
    if backend == "tensorrt":
        importlib.import_module(BACKENDS[backend][0]).gpu()


def engine_class(backend: str) -> Callable[[str, Path, Graph, int | None], Engine]:
    """What makes a backend's engine of a graph's name, its ONNX file, its part of the manifest, and CPU threads.

    Raises:
        InputError: if there is no such backend, or it is not installed.
    """
    check_backend(backend)
    module, name = BACKENDS[backend][:2]
    found: Callable[[str, Path, Graph, int | None], Engine] = getattr(importlib.import_module(module), name)
    return found


def load_engine(bundle: Bundle, graph_name: str, backend: str = "onnxruntime", threads: int | None = None) -> Engine:
    """Loads one graph of a bundle.

    Raises:
        InputError: if there is no such backend, or it is not installed.
        BundleError: if the graph does not load.
    """
    load = engine_class(backend)
    return load(graph_name, bundle.graph_path(graph_name), bundle.manifest.graphs[graph_name], threads)
