"""ONNX Runtime: runs a bundle's graphs as they are, on the CPU or on CUDA."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emo_rt.bundle import HINT, GraphSpec, TensorSpec
from emo_rt.engines.engine import (
    Tensor,
    check_declared,
    check_process,
    check_shape,
    find_input,
    first_line,
    not_run,
    to_numpy,
)
from emo_rt.engines.telemetry import without_telemetry
from emo_rt.errors import BundleError

with without_telemetry():
    import onnxruntime as ort


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime, on CUDA where the installed package has it and a GPU is there, else on the CPU.

    Args:
        name: name of the graph, for messages
        path: path of its ONNX file
        graph: the manifest's record of the graph; the file must agree with it
        threads: number of CPU threads; None for one per core

    Raises:
        BundleError: if the file cannot be loaded or has other tensors than the manifest says.
        InputError: in a fork of a process that has loaded an engine with several threads.
    """

    def __init__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> None:
        self.name, self.inputs, self.outputs = name, graph.inputs, graph.outputs
        self._path, self._threads = path, threads
        self._check_process()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors arrive as exceptions
        options.use_deterministic_compute = True
        options.intra_op_num_threads = threads or 0
        # Threads that wait by spinning take the cores from the other graphs of a video: a clip took a third longer.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if _has_cuda() else ["CPUExecutionProvider"]
        try:
            # MatMulAddFusion hides 8-bit products from the fusion that computes them in 8 bits, and speeds nothing up.
            self._session = ort.InferenceSession(
                str(path),
                options,
                providers=providers,
                disabled_optimizers=["MatMulAddFusion"],
                enable_fallback=int(_has_cuda()),  # it prints, and tries the same again
            )
        except Exception as error:  # the binding has no common base for its errors
            raise BundleError(
                f"bundle {path.parent}: {path.name} does not load ({first_line(error)}); {HINT}"
            ) from error
        # What the session runs on, not what was asked for: without a GPU or CUDA's libraries it takes the CPU.
        self._device = "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
        if self._device == "cpu" and _has_cuda():
            _warn_of_cpu()
        nodes = (self._session.get_inputs(), self._session.get_outputs())
        check_declared(path, graph, *({node.name: tuple(node.shape) for node in part} for part in nodes))

    @staticmethod
    def describe() -> str:
        """ONNX Runtime's version, and whether it is the package for CUDA."""
        return f"onnxruntime {ort.__version__}{' with CUDA' if _has_cuda() else ''}"

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the outputs are OrtValues on the device."""
        self._check_process()
        binding = self._session.io_binding()
        for spec in self.inputs:
            binding.bind_ortvalue_input(spec.name, self._on_device(spec, find_input(self, spec, inputs)))
        for spec in self.outputs:
            binding.bind_output(spec.name, self._device)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # the binding has no common base for its errors
            raise not_run(self._path, error) from error
        return dict(zip((spec.name for spec in self.outputs), binding.get_outputs(), strict=True))

    def _check_process(self) -> None:
        if self._threads != 1:
            check_process("ONNX Runtime")

    def _on_device(self, spec: TensorSpec, tensor: Tensor) -> ort.OrtValue:
        if isinstance(tensor, ort.OrtValue) and tensor.data_type() == _ort_type(spec.dtype):
            check_shape(self, spec, tensor.shape())
            return tensor
        array = np.ascontiguousarray(to_numpy(tensor), dtype=spec.dtype)
        check_shape(self, spec, array.shape)
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)


@functools.cache
def _has_cuda() -> bool:
    """Whether the installed package is the one for CUDA. Its libraries are loaded, also those that PyTorch brings."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return False
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints, and the standard output may be a video
            ort.preload_dlls()
    return True


@functools.cache
def _warn_of_cpu() -> None:
    """Says once that there is no CUDA: ONNX Runtime itself falls back without a word."""
    print(
        "onnxruntime-gpu finds no GPU, or not the libraries of its CUDA version: it runs on the CPU "
        "(pip install 'onnxruntime-gpu[cuda,cudnn]')",
        file=sys.stderr,
    )


def _ort_type(dtype: str) -> str:
    names = {"float32": "float", "float64": "double"}
    return f"tensor({names.get(dtype, dtype)})"
