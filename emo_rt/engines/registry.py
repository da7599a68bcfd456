"""The backends by name. A backend's package is imported when the backend is asked for: the others may be missing."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from pathlib import Path
from typing import NamedTuple, Protocol

from emo_rt.bundle import Bundle, GraphSpec
from emo_rt.engines.engine import Engine
from emo_rt.errors import InputError


class Backend(NamedTuple):
    """A library that runs graphs.

    Attributes:
        module: module of the engine's class
        engine: name of the engine's class
        packages: packages that the module imports
        hint: command that installs them
    """

    module: str
    engine: str
    packages: tuple[str, ...]
    hint: str


class EngineClass(Protocol):
    """The class of a backend's engines."""

    def __call__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> Engine:
        """Loads a graph from its ONNX file; `graph` is the manifest's record of it."""
        ...

    def describe(self) -> str:
        """The library's version, and the device where it is not the CPU."""
        ...


BACKENDS = {
    "onnxruntime": Backend(
        "emo_rt.engines.onnxruntime", "OnnxRuntimeEngine", ("onnxruntime",), "pip install onnxruntime"
    ),
    "openvino": Backend("emo_rt.engines.openvino", "OpenVinoEngine", ("openvino",), "pip install openvino"),
    "openvino-bf16": Backend("emo_rt.engines.openvino", "OpenVinoBf16Engine", ("openvino",), "pip install openvino"),
    "tensorrt": Backend(
        "emo_rt.engines.tensorrt",
        "TensorRtEngine",
        ("cuda.core",),  # PyTorch for CUDA brings `cuda` without it
        "pip install tensorrt cuda-python, or tensorrt-rtx cuda-python on a GeForce or RTX",
    ),
}


def check_backend(backend: str) -> None:
    """Raises InputError if there is no such backend or its packages are not installed."""
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown; choose {', '.join(BACKENDS)}")
    if not all(map(_is_installed, BACKENDS[backend].packages)):
        raise InputError(f"backend {backend} is not installed: {BACKENDS[backend].hint}")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # there is not even the package around it
        return False


def check_runs_here(backend: str) -> None:
    """Raises InputError if a backend is not installed or this machine lacks the hardware that it needs."""
    check_backend(backend)
    if backend == "tensorrt":
        module = importlib.import_module(BACKENDS[backend].module)
        module.gpu()
        module.import_tensorrt()
    elif backend == "openvino-bf16":
        importlib.import_module(BACKENDS[backend].module).check_bfloat16()


def describe(backend: str) -> str:
    """Version of a backend's library, and on which device it runs: what costs depend on beside the processor.

    Raises:
        InputError: if there is no such backend, it is not installed, or this machine lacks its hardware.
    """
    return f"{backend}: {engine_class(backend).describe()}"


def available_backends() -> list[str]:
    """The backends that are installed and find the hardware that they need on this machine."""
    found = []
    for backend in BACKENDS:
        with contextlib.suppress(InputError):
            check_runs_here(backend)
            found.append(backend)
    return found


def planned_backends() -> list[str]:
    """The available backends that the planner chooses from.

    `openvino` is left out where `openvino-bf16` runs: it is the same engine, and slower.
    """
    found = available_backends()
    return [backend for backend in found if backend != "openvino" or "openvino-bf16" not in found]


def engine_class(backend: str) -> EngineClass:
    """The class of a backend's engines.

    Returns:
        a class to call with a graph's name, its ONNX file, the manifest's record of it and the number of CPU threads

    Raises:
        InputError: if there is no such backend or it is not installed.
    """
    check_backend(backend)
    module = importlib.import_module(BACKENDS[backend].module)
    found: EngineClass = getattr(module, BACKENDS[backend].engine)
    return found


def load_engine(bundle: Bundle, graph_name: str, backend: str = "onnxruntime", threads: int | None = None) -> Engine:
    """Loads one graph of a bundle.

    Args:
        bundle: verified bundle
        graph_name: name of the graph, one of `emo_rt.bundle.GRAPH_NAMES`
        backend: name of the backend, a key of `BACKENDS`
        threads: number of CPU threads; None for one per core

    Raises:
        InputError: if there is no such backend or it is not installed.
        BundleError: if the graph does not load.
    """
    load = engine_class(backend)
    return load(graph_name, bundle.graph_path(graph_name), bundle.manifest.graphs[graph_name], threads)
