"""ONNX Runtime runs a graph as the manifest declares it."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fake_bundle import GraphBuilder
from onnx import TensorProto

from emo_rt.bundle import Bundle, GraphSpec, TensorSpec
from emo_rt.engines import onnxruntime as backend
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.onnxruntime import OnnxRuntimeEngine
from emo_rt.engines.registry import describe, load_engine
from emo_rt.errors import BundleError, InputError

HALF = (TensorSpec("x", "float16", (2, 3)),), (TensorSpec("y", "float16", (2, 3)),)
FULL = (TensorSpec("y", "float32", (2, 3)),), (TensorSpec("z", "float32", (2, 3)),)


def engine(
    directory: Path, kind: str, specs: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
) -> OnnxRuntimeEngine:
    inputs, outputs = specs
    builder = GraphBuilder(0)
    builder.add(outputs[0].name, kind, inputs[0].name)
    path = directory / f"{kind}.onnx"
    onnx.save_model(builder.model(kind, list(inputs), list(outputs)), path)
    return OnnxRuntimeEngine(kind, path, GraphSpec(path.name, {path.name: ""}, inputs, outputs), threads=1)


def test_tensors_take_the_dtype_that_the_graph_declares(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 6, dtype=np.float64).reshape(2, 3)
    halves = engine(tmp_path, "Neg", HALF).run({"x": x})
    assert isinstance(halves["y"], ort.OrtValue)
    assert to_numpy(halves["y"]).dtype == np.float16
    full = engine(tmp_path, "Abs", FULL).run(halves)
    np.testing.assert_array_equal(to_numpy(full["z"]), np.abs(x.astype(np.float16)).astype(np.float32))


def test_an_engine_takes_what_it_needs_and_arrays_in_any_layout(bundle: Path) -> None:
    encoder = load_engine(Bundle.load(bundle), "vae_encoder", threads=1)
    image = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), dtype=np.uint8)
    turned = np.ascontiguousarray(image.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    results = [to_numpy(encoder.run({"image": x, "other": x})["latents"]) for x in (image, turned)]
    np.testing.assert_array_equal(*results)


def test_a_shape_that_does_not_fit_is_named(bundle: Path) -> None:
    encoder = load_engine(Bundle.load(bundle), "vae_encoder")
    with pytest.raises(InputError, match=r"vae_encoder: the input image has the shape \(32, 32, 3\), expected \(1, 32"):
        encoder.run({"image": np.zeros((32, 32, 3), np.uint8)})
    with pytest.raises(InputError, match="vae_encoder: the input image is missing"):
        encoder.run({})


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path, bundle: Path) -> None:
    engine(tmp_path, "Neg", HALF)
    graph = GraphSpec("Neg.onnx", {"Neg.onnx": ""}, *HALF)
    for wrong in (dataclasses.replace(graph, inputs=FULL[0]), dataclasses.replace(graph, outputs=FULL[1])):
        with pytest.raises(BundleError, match=r"Neg\.onnx has other (in|out)puts than the manifest"):
            OnnxRuntimeEngine("Neg", tmp_path / "Neg.onnx", wrong)
    (tmp_path / "Neg.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"Neg\.onnx does not load") as raised:
        OnnxRuntimeEngine("Neg", tmp_path / "Neg.onnx", graph)
    assert "\n" not in str(raised.value)


def reshaping(path: Path) -> GraphSpec:
    """A graph whose shapes fit until it is run."""
    builder = GraphBuilder(0)
    builder.add("shape", "Cast", builder.add("first", "ReduceMax", "x"), to=TensorProto.INT64)
    builder.add("as_list", "Reshape", "shape", builder.constant("one", [1], np.int64))
    builder.add("wide", "Reshape", "x", "as_list")
    builder.add("same", "CumSum", "wide", builder.constant("along", 0, np.int64))
    builder.add("y", "Reshape", "same", builder.constant("two_three", [2, 3], np.int64))
    specs = (TensorSpec("x", "float32", (2, 3)),), (TensorSpec("y", "float32", (2, 3)),)
    onnx.save_model(builder.model("reshaping", *map(list, specs)), path)
    return GraphSpec(path.name, {path.name: ""}, *specs)


def test_a_graph_that_cannot_be_run_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.onnx"
    graph = reshaping(path)
    loaded = OnnxRuntimeEngine("odd", path, graph, threads=1)
    whole = np.float32([[6, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(to_numpy(loaded.run({"x": whole})["y"]), np.full((2, 3), 6))
    with pytest.raises(BundleError, match=rf"bundle {tmp_path}: odd\.onnx does not run \(.*\); rebuild it") as raised:
        loaded.run({"x": whole * 100})
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().out == ""


def test_nothing_is_printed_of_a_graph_that_does_not_load(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The standard output may be a video. Of a name that is no text, ONNX Runtime printed."""
    content = (bundle / "vae_encoder.onnx").read_bytes()
    (tmp_path / "odd.onnx").write_bytes(content.replace(b"Conv", b"C\xc2nv"))
    with pytest.raises(BundleError, match=r"odd\.onnx does not load"):
        OnnxRuntimeEngine("odd", tmp_path / "odd.onnx", Bundle.load(bundle).manifest.graphs["vae_encoder"])
    assert capfd.readouterr().out == ""


def test_float16_is_a_dtype_of_both_worlds() -> None:
    assert onnx.helper.np_dtype_to_tensor_dtype(np.dtype("float16")) == TensorProto.FLOAT16


def test_a_package_for_cuda_that_finds_no_gpu_says_that_it_runs_on_the_cpu(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for function in (backend._has_cuda, backend._warn_of_cpu):
        monkeypatch.setattr(backend, function.__name__, functools.cache(function.__wrapped__))
    assert "CUDA" not in describe("onnxruntime")
    monkeypatch.setattr(backend, "_has_cuda", functools.cache(backend._has_cuda.__wrapped__))
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("a library is missing"))
    loaded = Bundle.load(bundle)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # ONNX Runtime's own, of this package
        results = [load_engine(loaded, name).run({"timestep": np.float32([500])}) for name in 2 * ["time_embedding"]]
    assert all(np.isfinite(to_numpy(result["time_embedding"])).all() for result in results)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("it runs on the CPU") == 1
    assert describe("onnxruntime") == f"onnxruntime: onnxruntime {ort.__version__} with CUDA"
