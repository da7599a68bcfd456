"""ONNX Runtime runs a graph as the manifest declares it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fake_bundle import GraphBuilder
from onnx import TensorProto

from emo_rt.bundle import Bundle, GraphSpec, TensorSpec
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.onnxruntime import OnnxRuntimeEngine
from emo_rt.engines.registry import load_engine
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


def test_float16_is_a_dtype_of_both_worlds() -> None:
    assert onnx.helper.np_dtype_to_tensor_dtype(np.dtype("float16")) == TensorProto.FLOAT16
