"""TensorRT: runs engines on an NVIDIA GPU; tensors stay in its memory from one engine to the next.

One thread owns the GPU and makes every call of the driver. A context is current in a thread, not in a process; and what
another thread queues while a CUDA graph is captured would land in that graph.
"""

from __future__ import annotations

import contextlib
import functools
import json
import traceback
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from cuda.core import Buffer, Device

from emo_rt.bundle import MANIFEST_NAME, GraphSpec, TensorSpec
from emo_rt.engines.engine import Tensor, check_process, check_shape, find_input, to_numpy
from emo_rt.engines.tensorrt_build import cached_engine, import_tensorrt, tensorrt_dtype
from emo_rt.engines.tensorrt_runtime import RuntimeCache
from emo_rt.errors import BundleError, InputError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_OWNER = ThreadPoolExecutor(1, "gpu")


def _owned(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Calls a function in the thread that owns the GPU.

    Raises:
        InputError: in a fork of a process that has such a thread.
    """

    def work() -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # what these hold of the GPU's memory is freed in this thread
            raise

    check_process("CUDA")
    return _OWNER.submit(work).result()


def _freed_by_owner(holder: object, held: list[Any]) -> None:
    """Empties the list in the thread that owns the GPU when its holder goes: freeing memory is a call of the driver."""

    def free() -> None:
        with contextlib.suppress(RuntimeError):  # at the end of the program the thread is gone, and so is the memory
            _OWNER.submit(held.clear)

    weakref.finalize(holder, free).atexit = False


@functools.cache
def gpu() -> tuple[Any, Any]:
    """The GPU, and the one CUDA stream in which the work of all engines is queued.

    Returns:
        (device, stream) of `cuda.core`; only the thread that owns the GPU may use them

    Raises:
        InputError: if there is no GPU.
    """

    def open_gpu() -> tuple[Any, Any]:
        device = Device()
        device.set_current()
        return device, device.create_stream()

    try:
        return _owned(open_gpu)
    except InputError:
        raise
    except Exception as error:  # without a driver the binding raises errors of several kinds
        raise InputError("backend tensorrt needs an NVIDIA GPU and its driver; there is none") from error


class GpuTensor:
    """A tensor in the GPU's memory.

    Args:
        buffer: memory of the tensor, a `cuda.core.Buffer`
        spec: dtype and shape of the tensor
    """

    def __init__(self, buffer: Any, spec: TensorSpec) -> None:
        self._held, self.shape, self.dtype = [buffer], spec.shape, np.dtype(spec.dtype)
        _freed_by_owner(self, self._held)

    @property
    def buffer(self) -> Any:
        """The memory, for the thread that owns the GPU."""
        return self._held[0]

    def numpy(self) -> np.ndarray:
        """A copy of the values on the host; waits for all work that is queued."""
        return _owned(self.downloaded)

    def downloaded(self) -> np.ndarray:
        """As `numpy`, for the thread that owns the GPU."""
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
        InputError: if TensorRT or a GPU is missing, or TensorRT does not know this GPU.
        BundleError: if TensorRT refuses the graph, the engine has other dtypes than the manifest says, or the GPU's
            memory is too small for it.
    """

    def __init__(self, name: str, path: Path, graph: GraphSpec, threads: int | None = None) -> None:
        self.name = name
        gpu()
        self._held = [_owned(_LoadedEngine, name, path, graph)]
        _freed_by_owner(self, self._held)

    @staticmethod
    def describe() -> str:
        """TensorRT's version and the GPU's name."""
        tensorrt, (device, _) = import_tensorrt(), gpu()
        return f"{tensorrt.__name__} {tensorrt.__version__} on {device.name}"

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the outputs stay on the GPU. The very tensor that the last run took is not copied again."""
        return _owned(self._held[0].run, inputs)


class _LoadedEngine:
    """What a `TensorRtEngine` holds; all of it belongs to the thread that owns the GPU."""

    def __init__(self, name: str, path: Path, graph: GraphSpec) -> None:
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
        self._kernels = RuntimeCache(path, f"sm_{device.arch}")
        self._context = self._kernels.create_context(self._engine)
        if self._context is None:
            raise BundleError(f"{name}: the GPU's memory is too small for this engine")
        # The addresses never change: one CUDA graph serves all runs.
        self._memory = {spec.name: self._allocate(spec) for spec in (*self.inputs, *self.outputs)}
        for tensor_name, buffer in self._memory.items():
            if not self._context.set_tensor_address(tensor_name, int(buffer.handle)):
                raise BundleError(f"{name}: TensorRT does not take the memory of {tensor_name}")
        self._given: dict[str, GpuTensor] = {}
        self._replay: Any = None

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for spec in self.inputs:
            tensor = find_input(self, spec, inputs)
            if isinstance(tensor, GpuTensor) and tensor.dtype == spec.dtype:
                check_shape(self, spec, tensor.shape)
                if self._given.get(spec.name) is tensor:
                    continue
                self._given[spec.name], source = tensor, tensor.buffer
            else:
                values = tensor.downloaded() if isinstance(tensor, GpuTensor) else to_numpy(tensor)
                array = np.ascontiguousarray(values, dtype=spec.dtype)
                check_shape(self, spec, array.shape)
                self._given.pop(spec.name, None)
                source = Buffer.from_handle(array.ctypes.data, array.nbytes, owner=array)
            self._memory[spec.name].copy_from(source, stream=self._stream)
        self._execute()
        return {spec.name: self._copied(spec) for spec in self.outputs}

    def _execute(self) -> None:
        if self._replay is None:  # the first run initialises what a CUDA graph cannot capture
            self._enqueue(self._stream)
            builder = gpu()[0].create_graph_builder().begin_building()
            self._enqueue(builder.stream)
            self._replay = builder.end_building().complete()
            self._kernels.save()
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
