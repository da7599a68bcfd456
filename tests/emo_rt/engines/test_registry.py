"""A backend is asked for by name, and the message says how to get one that is missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from emo_rt.bundle import Bundle
from emo_rt.engines import registry
from emo_rt.engines.registry import available_backends, check_runs_here, load_engine, planned_backends
from emo_rt.errors import InputError


def test_an_unknown_backend_is_named(bundle: Path) -> None:
    with pytest.raises(InputError, match="'abacus' is unknown; choose onnxruntime"):
        load_engine(Bundle.load(bundle), "backbone", "abacus")


def test_a_backend_that_is_not_installed_is_named_with_how_to_get_it(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="backend tensorrt is not installed: pip install tensorrt cuda-python"):
        load_engine(Bundle.load(bundle), "time_embedding", "tensorrt")


def test_only_backends_that_run_here_are_available(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "onnxruntime" in available_backends()
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    assert "onnxruntime" not in available_backends()


def test_cuda_without_its_core_is_no_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch for CUDA brings `cuda.bindings`, in a package `cuda` that lacks `cuda.core`."""
    for name in [name for name in sys.modules if name.split(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "cuda" / "bindings").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    importlib.invalidate_caches()
    assert importlib.util.find_spec("cuda") is not None
    with pytest.raises(InputError, match="backend tensorrt is not installed: pip install tensorrt cuda-python"):
        check_runs_here("tensorrt")


@pytest.mark.parametrize(
    ("available", "planned"),
    [
        (["onnxruntime", "openvino", "openvino-bf16"], ["onnxruntime", "openvino-bf16"]),
        (["onnxruntime", "openvino"], ["onnxruntime", "openvino"]),
    ],
)
def test_the_planner_leaves_out_what_another_backend_does_faster(
    available: list[str], planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "available_backends", lambda: available)
    assert planned_backends() == planned
