"""ONNX Runtime: runs a bundle's graphs as they are, on the CPU or on CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emo_rt.bundle import HINT, GraphSpec, TensorSpec
from emo_rt.engines.engine import Tensor, check_declared, check_shape, find_input, first_line, to_numpy
from emo_rt.engines.telemetry import without_telemetry
from emo_rt.errors import BundleError

with without_telemetry():
    import onnxruntime as ort


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime, on CUDA where the installed package has it, else on the CPU.

    Args:
        name: name of the graph, for messages
        path: path of its ONNX file
        graph: the manifest's record of the graph; the file must agree with it
        threads: number of CPU threads; None for one per core

    Raises:
        BundleError: if the file cannot be loaded or has other tensors than the manifest says.
    """

    def __init__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> None:
        self.name, self.inputs, self.outputs = name, graph.inputs, graph.outputs
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors arrive as exceptions
        options.use_deterministic_compute = True
        options.intra_op_num_threads = threads or 0
        # Threads that wait by spinning take the cores from the other graphs of a video: a clip took a third longer.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        cuda = "CUDAExecutionProvider" in ort.get_available_providers()
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
        try:
            # MatMulAddFusion hides 8-bit products from the fusion that computes them in 8 bits, and speeds nothing up.
            self._session = ort.InferenceSession(
                str(path), options, providers=providers, disabled_optimizers=["MatMulAddFusion"]
            )
        except Exception as error:  # the binding has no common base for its errors
            raise BundleError(
                f"bundle {path.parent}: {path.name} does not load ({first_line(error)}); {HINT}"
            ) from error
        self._device = "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
        nodes = (self._session.get_inputs(), self._session.get_outputs())
        check_declared(path, graph, *({node.name: tuple(node.shape) for node in part} for part in nodes))

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the outputs are OrtValues on the device."""
        binding = self._session.io_binding()
        for spec in self.inputs:
            binding.bind_ortvalue_input(spec.name, self._on_device(spec, find_input(self, spec, inputs)))
        for spec in self.outputs:
            binding.bind_output(spec.name, self._device)
        self._session.run_with_iobinding(binding)
        return dict(zip((spec.name for spec in self.outputs), binding.get_outputs(), strict=True))

    def _on_device(self, spec: TensorSpec, tensor: Tensor) -> ort.OrtValue:
        if isinstance(tensor, ort.OrtValue) and tensor.data_type() == _ort_type(spec.dtype):
            check_shape(self, spec, tensor.shape())
            return tensor
        array = np.ascontiguousarray(to_numpy(tensor), dtype=spec.dtype)
        check_shape(self, spec, array.shape)
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)


def _ort_type(dtype: str) -> str:
    names = {"float32": "float", "float64": "double"}
    return f"tensor({names.get(dtype, dtype)})"
