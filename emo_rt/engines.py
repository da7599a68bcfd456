"""Engines: what runs a graph. Every backend looks the same, and the cascade never asks which one it got.

A tensor is a NumPy array or whatever the backend leaves on its device; what one engine returns, the next one takes
without a way through the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import onnxruntime as ort

from emo_rt.bundle import CURE, Bundle, Graph, TensorSpec
from emo_rt.errors import BundleError, InputError

Tensor: TypeAlias = np.ndarray | ort.OrtValue


class Engine(Protocol):
    """One loaded graph."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs the graph. Takes what it needs from `inputs`, converts dtypes, and returns every output by name.

        Raises:
            InputError: for a missing tensor or one of another shape.
        """
        ...


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor on the host."""
    return tensor.numpy() if isinstance(tensor, ort.OrtValue) else tensor


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU, or on CUDA where the installed package has it.

    Args:
        name: of the graph, for messages.
        path: its ONNX file.
        graph: what the manifest says of it; the file must agree.
        threads: CPU threads, or None for one per core.

    Raises:
        BundleError: if the file cannot be loaded or is not what the manifest says.
    """

    def __init__(self, name: str, path: Path, graph: Graph, threads: int | None = None) -> None:
        self.name, self.inputs, self.outputs = name, graph.inputs, graph.outputs
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors arrive as exceptions
        options.use_deterministic_compute = True
        options.intra_op_num_threads = threads or 0
        cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # the binding has no common base for its errors
            raise BundleError(
                f"bundle {path.parent}: {path.name} does not load ({_first_line(error)}); {CURE}"
            ) from error
        self._device = "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
        for kind, specs, nodes in (
            ("input", graph.inputs, self._session.get_inputs()),
            ("output", graph.outputs, self._session.get_outputs()),
        ):
            if {spec.name: spec.shape for spec in specs} != {node.name: tuple(node.shape) for node in nodes}:
                raise BundleError(f"bundle {path.parent}: {path.name} has other {kind}s than the manifest says; {CURE}")

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the results are OrtValues on the device."""
        binding = self._session.io_binding()
        for spec in self.inputs:
            if spec.name not in inputs:
                raise InputError(f"{self.name}: the input {spec.name} is missing")
            binding.bind_ortvalue_input(spec.name, self._on_device(spec, inputs[spec.name]))
        for spec in self.outputs:
            binding.bind_output(spec.name, self._device)
        self._session.run_with_iobinding(binding)
        return dict(zip((spec.name for spec in self.outputs), binding.get_outputs(), strict=True))

    def _on_device(self, spec: TensorSpec, tensor: Tensor) -> ort.OrtValue:
        shape = tuple(tensor.shape() if isinstance(tensor, ort.OrtValue) else tensor.shape)
        if shape != spec.shape:
            raise InputError(f"{self.name}: the input {spec.name} has the shape {shape}, expected {spec.shape}")
        if isinstance(tensor, ort.OrtValue) and tensor.data_type() == _ort_type(spec.dtype):
            return tensor
        array = np.ascontiguousarray(to_numpy(tensor), dtype=spec.dtype)
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)


def _ort_type(dtype: str) -> str:
    names = {"float32": "float", "float64": "double"}
    return f"tensor({names.get(dtype, dtype)})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


BACKENDS: dict[str, Callable[[str, Path, Graph, int | None], Engine]] = {"onnxruntime": OnnxRuntimeEngine}


def load_engine(bundle: Bundle, graph_name: str, backend: str = "onnxruntime", threads: int | None = None) -> Engine:
    """Loads one graph of a bundle.

    Raises:
        InputError: if there is no such backend.
        BundleError: if the graph does not load.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown; choose {', '.join(BACKENDS)}")
    return BACKENDS[backend](graph_name, bundle.graph_path(graph_name), bundle.manifest.graphs[graph_name], threads)
