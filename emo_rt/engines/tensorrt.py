"""TensorRT: runs engines on an NVIDIA GPU; tensors stay in its memory from one engine to the next."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cuda.core import Buffer, Device

from emo_rt.bundle import MANIFEST_NAME, GraphSpec, TensorSpec
from emo_rt.engines.engine import Tensor, check_shape, find_input, to_numpy
from emo_rt.engines.tensorrt_build import cached_engine, import_tensorrt, tensorrt_dtype
from emo_rt.errors import BundleError, InputError


@functools.cache
def gpu() -> tuple[Any, Any]:
    """The GPU, and the one CUDA stream in which the work of all engines is queued.

    Returns:
        (device, stream) of `cuda.core`

    Raises:
        InputError: if there is no GPU.
    """
    try:
        device = Device()
        device.set_current()
        return device, device.create_stream()
    except Exception as error:  # without a driver the binding raises errors of several kinds
        raise InputError("backend tensorrt needs an NVIDIA GPU and its driver; there is none") from error


class GpuTensor:
    """A tensor in the GPU's memory.

    Args:
        buffer: memory of the tensor, a `cuda.core.Buffer`
        spec: dtype and shape of the tensor
    """

    def __init__(self, buffer: Any, spec: TensorSpec) -> None:
        self.buffer, self.shape, self.dtype = buffer, spec.shape, np.dtype(spec.dtype)

    def numpy(self) -> np.ndarray:
        """A copy of the values on the host; waits for all work that is queued."""
        array = np.empty(self.shape, self.dtype)
        _, stream = gpu()
        Buffer.from_handle(array.ctypes.data, array.nbytes, owner=array).copy_from(self.buffer, stream=stream)
        stream.sync()
        return array


class TensorRtEngine:
    """A graph as a TensorRT engine. It owns the memory of its inputs and outputs and runs as one CUDA graph.

    Args:
        name: name of the graph, for messages
        path: path of its ONNX file; the built engine is kept in the folder `engines` beside it
        graph: the manifest's record of the graph
        threads: ignored

    Raises:
        InputError: if TensorRT or a GPU is missing.
        BundleError: if TensorRT refuses the graph, or the engine has other dtypes than the manifest says.
    """

    def __init__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> None:
        self.name, self.inputs, self.outputs = name, graph.inputs, graph.outputs
        tensorrt = import_tensorrt()
        device, self._stream = gpu()
        precision = json.loads((path.parent / MANIFEST_NAME).read_text())["precision"]
        serialized = cached_engine(path, graph, tensorrt, precision, f"sm_{device.arch}")
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(serialized)
        if self._engine is None:
            raise BundleError(f"{path}: TensorRT does not load its engine; delete {path.parent / 'engines'}")
        for spec in (*self.inputs, *self.outputs):
            found = self._engine.get_tensor_dtype(spec.name)
            if found != tensorrt_dtype(tensorrt, spec.dtype):
                raise BundleError(f"{path}: the engine's {spec.name} is {found.name}, the manifest says {spec.dtype}")
        self._context = self._engine.create_execution_context()
        # The addresses never change: one CUDA graph serves all runs.
        self._memory = {spec.name: self._allocate(spec) for spec in (*self.inputs, *self.outputs)}
        for tensor_name, buffer in self._memory.items():
            self._context.set_tensor_address(tensor_name, int(buffer.handle))
        self._given: dict[str, GpuTensor] = {}
        self._replay: Any = None

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the outputs stay on the GPU. The very tensor that the last run took is not copied again."""
        for spec in self.inputs:
            tensor = find_input(self, spec, inputs)
            if isinstance(tensor, GpuTensor) and tensor.dtype == spec.dtype:
                check_shape(self, spec, tensor.shape)
                if self._given.get(spec.name) is tensor:
                    continue
                self._given[spec.name], source = tensor, tensor.buffer
            else:
                array = np.ascontiguousarray(to_numpy(tensor), dtype=spec.dtype)
                check_shape(self, spec, array.shape)
                self._given.pop(spec.name, None)
                source = Buffer.from_handle(array.ctypes.data, array.nbytes, owner=array)
            self._memory[spec.name].copy_from(source, stream=self._stream)
        self._execute()
        return {spec.name: self._copied(spec) for spec in self.outputs}

    def _execute(self) -> None:
        if self._replay is None:  # the first run initialises what a CUDA graph cannot capture
            self._enqueue(self._stream)
            builder = self._stream.create_graph_builder().begin_building()
            self._enqueue(builder.stream)
            self._replay = builder.end_building().complete()
        else:
            self._replay.launch(self._stream)

    def _enqueue(self, stream: Any) -> None:
        if not self._context.execute_async_v3(int(stream.handle)):
            raise BundleError(f"{self.name}: TensorRT could not run the engine")

    def _allocate(self, spec: TensorSpec) -> Any:
        size = int(np.prod(spec.shape, dtype=int)) * np.dtype(spec.dtype).itemsize
        return gpu()[0].allocate(size, stream=self._stream)

    def _copied(self, spec: TensorSpec) -> GpuTensor:
        """A copy of an output: the next run overwrites the engine's own."""
        buffer = self._allocate(spec)
        buffer.copy_from(self._memory[spec.name], stream=self._stream)
        return GpuTensor(buffer, spec)
