"""A fake GPU: `cuda.core` and TensorRT as far as the backend uses them, over host memory and ONNX Runtime.

As on a GPU, work that is queued in a stream is done in order, and not before someone waits for the stream. Code that
reads too early, or changes memory that queued work still needs, gets wrong values.

It refuses what a driver refuses: calls of a thread that has no context, calls that a stream cannot capture, and memory
that was freed. What is queued in a stream that captures goes into the graph, whoever queues it.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import sys
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from emo_rt.bundle import GraphSpec

STREAMS: dict[int, FakeStream] = {}
#: Number of transfers and launches by kind.
ASKED: Counter[str] = Counter()
#: The threads that have made calls.
CALLERS: set[str] = set()
_THREAD = threading.local()
#: Addresses of the GPU's memory in use.
ALLOCATED: set[int] = set()


class FakeDriverError(Exception):
    """What `cuda.core` raises when the driver refuses a call."""


def check_context() -> None:
    """Every call of the driver needs a context, which each thread must make current for itself."""
    if not getattr(_THREAD, "current", False):
        raise FakeDriverError(f"CUDA_ERROR_INVALID_CONTEXT in {threading.current_thread().name}")
    CALLERS.add(threading.current_thread().name)


class FakeStream:
    def __init__(self) -> None:
        check_context()
        self.handle = 1000 + len(STREAMS)
        self.queue: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        STREAMS[self.handle] = self

    def put(self, *work: Callable[[], None]) -> None:
        check_context()
        (self.queue if self.captured is None else self.captured).extend(work)

    def sync(self) -> None:
        check_context()
        self.refuse_while_capturing()
        queue, self.queue = self.queue, []
        for work in queue:
            work()

    def refuse_while_capturing(self) -> None:
        if self.captured is not None:
            raise FakeDriverError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    def create_graph_builder(self) -> FakeGraphBuilder:
        return FakeGraphBuilder(self)


class FakeGraphBuilder:
    """Records the work of its stream without doing it."""

    def __init__(self, stream: FakeStream) -> None:
        check_context()
        self.stream = stream
        self.work: list[Callable[[], None]] = []

    def begin_building(self) -> FakeGraphBuilder:
        check_context()
        self.stream.refuse_while_capturing()
        self.stream.captured = self.work
        return self

    def end_building(self) -> FakeGraphBuilder:
        check_context()
        self.stream.captured = None
        return self

    def complete(self) -> FakeGraphBuilder:
        check_context()
        return self

    def launch(self, stream: FakeStream) -> None:
        ASKED["launches"] += 1
        stream.put(*self.work)


class FakeBuffer:
    """Memory of the GPU, or of the host if it came from `from_handle`."""

    def __init__(self, handle: int, size: int, owner: Any, stream: FakeStream | None) -> None:
        self.handle, self.size, self.owner, self.stream = handle, size, owner, stream
        if stream:
            ALLOCATED.add(handle)

    @classmethod
    def from_handle(cls, handle: int, size: int, owner: Any = None) -> FakeBuffer:
        return cls(handle, size, owner, None)

    def copy_from(self, source: FakeBuffer, *, stream: FakeStream) -> None:
        assert source.size == self.size
        for buffer in (self, source):
            if buffer.stream and buffer.handle not in ALLOCATED:
                raise FakeDriverError("CUDA_ERROR_INVALID_VALUE: the memory was freed")
        ASKED["uploads" if not source.stream else "downloads" if not self.stream else "copies"] += 1
        if not source.stream:  # ordinary host memory is read before the call returns
            stream.refuse_while_capturing()
            content = ctypes.string_at(source.handle, self.size)
            stream.put(lambda: ctypes.memmove(self.handle, content, self.size) and None)
        else:
            stream.put(lambda: ctypes.memmove(self.handle, source.handle, self.size) and None)

    def close(self) -> None:
        """Frees the memory after what is queued."""
        if self.stream and self.handle in ALLOCATED:
            self.stream.refuse_while_capturing()
            self.stream.put(lambda: ctypes.memset(self.handle, 0xCD, self.size) and None)
            ALLOCATED.discard(self.handle)

    def __del__(self) -> None:
        self.close()


class FakeDevice:
    arch = "89"
    name = "Fake GPU"

    def set_current(self) -> None:
        _THREAD.current = True

    def create_stream(self) -> FakeStream:
        return FakeStream()

    def create_graph_builder(self) -> FakeGraphBuilder:
        return FakeGraphBuilder(FakeStream())

    def allocate(self, size: int, *, stream: FakeStream) -> FakeBuffer:
        check_context()
        stream.refuse_while_capturing()
        memory = np.full(size, 0xAB, np.uint8)
        return FakeBuffer(memory.ctypes.data, size, memory, stream)


class FakeDataType(Enum):
    FLOAT = "tensor(float)"
    HALF = "tensor(float16)"
    UINT8 = "tensor(uint8)"


class FakeContext:
    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name not in self.addresses, "a CUDA graph would write to the old address"
        self.addresses[name] = address
        return address in ALLOCATED

    def execute_async_v3(self, handle: int) -> bool:
        STREAMS[handle].put(self._execute)
        return True

    def _execute(self) -> None:
        inputs = {node.name: self._view(node).copy() for node in self.session.get_inputs()}
        results = self.session.run(None, inputs)
        for node, result in zip(self.session.get_outputs(), results, strict=True):
            self._view(node)[...] = result

    def _view(self, node: Any) -> np.ndarray:
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
        dtype = np.dtype(kinds[node.type])
        size = int(np.prod(node.shape, dtype=int)) * dtype.itemsize
        memory = (ctypes.c_ubyte * size).from_address(self.addresses[node.name])
        return np.frombuffer(memory, dtype).reshape(node.shape)


class FakeEngine:
    def __init__(self, path: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.use_deterministic_compute = True
        self.session = ort.InferenceSession(path.decode(), options, providers=["CPUExecutionProvider"])

    def get_tensor_dtype(self, name: str) -> FakeDataType:
        nodes = (*self.session.get_inputs(), *self.session.get_outputs())
        return FakeDataType(next(node.type for node in nodes if node.name == name))

    def create_execution_context(self) -> FakeContext | None:
        check_context()
        return FakeContext(self.session)


class FakeLogger:
    ERROR = 0

    def __init__(self, level: int) -> None:
        pass


def fake_tensorrt() -> ModuleType:
    module = ModuleType("tensorrt")
    runtime = SimpleNamespace(deserialize_cuda_engine=FakeEngine)
    vars(module).update(Logger=FakeLogger, DataType=FakeDataType, Runtime=lambda _: runtime, __version__="0")
    return module


def fake_cached_engine(path: Path, graph: GraphSpec, tensorrt: ModuleType, precision: str, device: str) -> bytes:
    """The path of a graph's ONNX file, in place of its engine."""
    assert device == "sm_89"
    return str(path).encode()


def install() -> None:
    """Puts the modules where an import finds them; restoring `sys.modules` undoes it."""
    core, package = ModuleType("cuda.core"), ModuleType("cuda")
    core.__spec__ = importlib.machinery.ModuleSpec("cuda.core", None)
    vars(core).update(Buffer=FakeBuffer, Device=FakeDevice)
    vars(package).update(core=core, __path__=[], __spec__=importlib.machinery.ModuleSpec("cuda", None))
    sys.modules.update({"cuda": package, "cuda.core": core, "tensorrt": fake_tensorrt()})
