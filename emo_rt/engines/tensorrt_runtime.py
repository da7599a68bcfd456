"""The kernels that TensorRT-RTX compiles for a GPU when an engine first runs, kept for the next start."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from emo_rt.atomic import atomic_write
from emo_rt.engines.tensorrt_build import ENGINES


class RuntimeCache:
    """The compiled kernels of one engine, in the folder `engines`. TensorRT compiles when it builds, and has none.

    Args:
        path: path of the graph's ONNX file
        device: compute capability of the GPU, for instance `sm_89`
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path = path.parent / ENGINES / f"{path.stem}-{device}.kernels"
        self._cache: Any = None
        self._known = b""

    def create_context(self, engine: Any) -> Any:
        """The engine's execution context, with the kept kernels; None if the GPU's memory is too small."""
        config: Any = engine.create_runtime_config() if hasattr(engine, "create_runtime_config") else None
        if not hasattr(config, "create_runtime_cache"):
            return engine.create_execution_context()
        self._cache = config.create_runtime_cache()
        with contextlib.suppress(OSError):
            self._known = self.path.read_bytes()
            self._cache.deserialize(self._known)  # what another version or GPU has left is refused, and replaced
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def save(self) -> None:
        """Keeps the kernels if there are new ones. Without room for them they are compiled at every start."""
        if self._cache is None:
            return
        found = bytes(self._cache.serialize())
        if found != self._known:
            with contextlib.suppress(OSError), atomic_write(self.path) as file:
                file.write(found)
