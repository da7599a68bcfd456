"""The kernels that TensorRT-RTX compiles are kept; TensorRT has none, and is not asked for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from emo_rt.engines.tensorrt_runtime import RuntimeCache


class FakeKernels:
    """A runtime cache that takes only what the same GPU has left."""

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        if content.startswith(b"gpu: "):
            self.content = content
        return bool(self.content)

    def serialize(self) -> memoryview:
        return memoryview(self.content)


class FakeEngine:
    """TensorRT-RTX's: running it would compile a kernel, unless the cache has it."""

    def __init__(self) -> None:
        self.cache = FakeKernels()
        self.compiled = 0

    def create_runtime_config(self) -> SimpleNamespace:
        return SimpleNamespace(create_runtime_cache=lambda: self.cache, set_runtime_cache=lambda cache: True)

    def create_execution_context(self, config: SimpleNamespace | None = None) -> str:
        assert config
        return "context"

    def run(self) -> None:
        if not self.cache.content:
            self.compiled += 1
            self.cache.content = b"gpu: kernels"


def start(path: Path) -> FakeEngine:
    engine, cache = FakeEngine(), RuntimeCache(path, "sm_89")
    assert cache.create_context(engine) == "context"
    engine.run()
    cache.save()
    return engine


def test_kernels_are_compiled_once(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    path = tmp_path / "backbone.onnx"
    assert [start(path).compiled for _ in range(3)] == [1, 0, 0]
    kept = tmp_path / "engines" / "backbone-sm_89.kernels"
    assert kept.read_bytes() == b"gpu: kernels"
    kept.write_bytes(b"of another version")
    assert [start(path).compiled for _ in range(2)] == [1, 0]


def test_kernels_are_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    path = tmp_path / "backbone.onnx"
    start(path)
    kept = tmp_path / "engines" / "backbone-sm_89.kernels"
    before = kept.stat().st_ino
    start(path)
    assert kept.stat().st_ino == before


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    assert [start(tmp_path / "none" / "backbone.onnx").compiled for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("attributes", [{}, {"create_runtime_config": lambda: SimpleNamespace()}])
def test_tensorrt_itself_keeps_no_kernels(tmp_path: Path, attributes: dict[str, object]) -> None:
    engine = SimpleNamespace(create_execution_context=lambda: "context", **attributes)
    cache = RuntimeCache(tmp_path / "backbone.onnx", "sm_90")
    assert cache.create_context(engine) == "context"
    cache.save()
    assert not list(tmp_path.iterdir())
