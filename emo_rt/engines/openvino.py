"""OpenVINO: a bundle's graphs compiled for this machine's CPU."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino

from emo_rt.bundle import CURE, GraphSpec
from emo_rt.engines.engine import Tensor, check_shape, find, first_line, to_numpy
from emo_rt.errors import BundleError, InputError

#: OpenVINO 2026.4 gives the thread that calls it a signal stack and frees that later: a Ctrl-C would then crash.
#: Only the main thread takes signals, so that any other may call it.
_CALLER = ThreadPoolExecutor(1, "openvino")


def check_bfloat16() -> None:
    """Raises InputError if this processor has no instructions for bfloat16."""
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("backend openvino-bf16 needs a processor with bfloat16 (AVX-512 BF16 or AMX): use openvino")


class OpenVinoEngine:
    """A graph compiled by OpenVINO, in the precision that the graph says.

    Args:
        name: of the graph, for messages.
        path: its ONNX file.
        graph: what the manifest says of it; the file must agree.
        threads: CPU threads, or None for one per core.

    Raises:
        BundleError: if the file cannot be loaded or is not what the manifest says.
    """

    #: What float32 is computed in. By itself OpenVINO takes bfloat16 where the processor can.
    PRECISION = "f32"

    def __init__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> None:
        self.name, self.inputs, self.outputs = name, graph.inputs, graph.outputs
        settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self.PRECISION}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = _CALLER.submit(_compile, path, settings).result()
        except RuntimeError as error:
            raise BundleError(
                f"bundle {path.parent}: {path.name} does not load ({first_line(error)}); {CURE}"
            ) from error
        for kind, specs, ports in (
            ("input", graph.inputs, self._compiled.inputs),
            ("output", graph.outputs, self._compiled.outputs),
        ):
            if {spec.name: spec.shape for spec in specs} != {port.any_name: tuple(port.shape) for port in ports}:
                raise BundleError(f"bundle {path.parent}: {path.name} has other {kind}s than the manifest says; {CURE}")
        self._request = _CALLER.submit(self._compiled.create_infer_request).result()

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`."""
        arrays = {}
        for spec in self.inputs:
            array = to_numpy(find(self, spec, inputs))
            check_shape(self, spec, array.shape)
            arrays[spec.name] = np.ascontiguousarray(array, dtype=spec.dtype)
        return _CALLER.submit(self._infer, arrays).result()

    def _infer(self, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
        results = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        return {spec.name: np.array(results[spec.name]) for spec in self.outputs}


class OpenVinoBf16Engine(OpenVinoEngine):
    """The same, where all that is float32 in the graph is computed in bfloat16."""

    PRECISION = "bf16"


def _compile(path: Path, settings: dict[str, object]) -> openvino.CompiledModel:
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", settings)
