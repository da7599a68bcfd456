"""OpenVINO: compiles a bundle's graphs for this machine's CPU and runs them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from emo_rt.bundle import HINT, GraphSpec
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
from emo_rt.errors import BundleError, InputError

with without_telemetry():
    import openvino

#: The thread that calls OpenVINO. OpenVINO 2026.4 gives its caller a signal stack and frees that stack later. The main
#: thread alone takes signals: if it were the caller, a Ctrl-C would crash.
_CALLER = ThreadPoolExecutor(1, "openvino")


def check_bfloat16() -> None:
    """Raises InputError if this processor has no instructions for bfloat16."""
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("backend openvino-bf16 needs a processor with bfloat16 (AVX-512 BF16 or AMX): use openvino")


class OpenVinoEngine:
    """A graph compiled by OpenVINO, in the precision that the graph declares.

    Args:
        name: name of the graph, for messages
        path: path of its ONNX file
        graph: the manifest's record of the graph; the file must agree with it
        threads: number of CPU threads; None for one per core

    Raises:
        BundleError: if the file cannot be loaded or has other tensors than the manifest says.
        InputError: in a fork of a process that has loaded an engine.
    """

    #: The type that float32 tensors are computed in. OpenVINO's own default is bfloat16 where the processor has it.
    PRECISION = "f32"

    def __init__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> None:
        check_process("OpenVINO")
        self.name, self.inputs, self.outputs, self._path = name, graph.inputs, graph.outputs, path
        settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.PRECISION}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
            settings["ENABLE_CPU_PINNING"] = False  # each process would pin its threads to the same first cores
        try:
            self._compiled = _CALLER.submit(_compile, path, settings).result()
        except RuntimeError as error:
            raise BundleError(
                f"bundle {path.parent}: {path.name} does not load ({first_line(error)}); {HINT}"
            ) from error
        ports = (self._compiled.inputs, self._compiled.outputs)
        check_declared(path, graph, *({port.any_name: tuple(port.shape) for port in part} for part in ports))
        self._request = _CALLER.submit(self._compiled.create_infer_request).result()

    @staticmethod
    def describe() -> str:
        """OpenVINO's version."""
        return f"openvino {openvino.__version__}"

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the outputs are NumPy arrays."""
        arrays = {}
        for spec in self.inputs:
            array = to_numpy(find_input(self, spec, inputs))
            check_shape(self, spec, array.shape)
            arrays[spec.name] = np.ascontiguousarray(array, dtype=spec.dtype)
        check_process("OpenVINO")
        try:
            return _CALLER.submit(self._infer, arrays).result()
        except RuntimeError as error:
            raise not_run(self._path, error) from error

    def _infer(self, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
        results = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        return {spec.name: np.array(results[spec.name]) for spec in self.outputs}


class OpenVinoBf16Engine(OpenVinoEngine):
    """A graph compiled by OpenVINO whose float32 tensors are computed in bfloat16."""

    PRECISION = "bf16"


def _compile(path: Path, settings: dict[str, object]) -> openvino.CompiledModel:
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", settings)
