"""A bundle equals the PyTorch model that it was made of, and validation notices when it does not."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from emo_rt.bundle import GRAPH_NAMES, Bundle
from export import build as build_module
from export import graphs
from export.build import build, main, noise_schedule, runtime_config
from export.storage import compact
from export.validate import graph_error, psnr, report, validate, video_psnr
from training.model import EmoModel


def read_validation(directory: Path) -> dict:
    return json.loads((directory / "validation.json").read_text())


def test_fp32_bundle_equals_pytorch(fp32: Path) -> None:
    validation = read_validation(fp32)
    assert set(validation["graphs"]) == set(GRAPH_NAMES)
    assert max(validation["graphs"].values()) <= 1e-3
    assert validation["video"]["psnr"] >= 60


def test_fp16_bundle_is_close_to_pytorch(fp16: Path) -> None:
    assert read_validation(fp16)["video"]["psnr"] >= 45


def test_fp16_bundle_computes_in_float16(fp16: Path) -> None:
    backbone = onnx.load(fp16 / "backbone.onnx")
    weights = [tensor for tensor in backbone.graph.initializer if np.prod(tensor.dims, dtype=int) > 64]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    keys = [spec for spec in Bundle.load(fp16).manifest.graphs["backbone"].inputs if "_key_" in spec.name]
    assert keys
    assert {spec.dtype for spec in keys} == {"float16"}


@pytest.mark.parametrize("graph_name", ["reference_net", "backbone", "vae_decoder"])
def test_validation_notices_an_altered_weight(model: EmoModel, fp32: Path, graph_name: str) -> None:
    altered = copy.deepcopy(model)
    part = {"reference_net": altered.reference_net, "backbone": altered.backbone, "vae_decoder": altered.vae}
    parameters = part[graph_name].parameters()
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(1.05)
    bundle = Bundle.load(fp32)
    assert graph_error(graphs.graphs(altered)[graph_name], bundle, graph_name) > 1e-3
    assert video_psnr(altered, bundle)["psnr"] < 60


def test_manifest_says_what_the_model_is(model: EmoModel, fp32: Path) -> None:
    bundle = Bundle.load(fp32)
    assert bundle.config == runtime_config(model.config)
    assert bundle.noise_schedule == noise_schedule(model.config)
    assert (bundle.manifest.name, bundle.manifest.precision) == ("emo-test", "fp32")


def test_compacting_changes_no_result(tmp_path: Path) -> None:
    """Half of the weights are float16 numbers and are halved; the others are not and stay."""
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((32, 32)).astype(np.float16).astype(np.float32)
    inexact = rng.standard_normal((32, 32)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "exact"], ["y"]),
        onnx.helper.make_node("MatMul", ["y", "inexact"], ["z"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "two",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 32])],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 32])],
        [numpy_helper.from_array(exact, "exact"), numpy_helper.from_array(inexact, "inexact")],
    )
    opset = onnx.helper.make_opsetid("", build_module.OPSET)
    proto = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    path = tmp_path / "two.onnx"
    onnx.save(proto, path)
    before = path.stat().st_size
    inputs = {"x": rng.standard_normal((1, 32)).astype(np.float32)}
    expected = onnxruntime.InferenceSession(path).run(None, inputs)[0]
    compact(path)
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert stored == {"exact_half": onnx.TensorProto.FLOAT16, "inexact": onnx.TensorProto.FLOAT}
    assert path.stat().st_size < 0.8 * before
    assert np.array_equal(onnxruntime.InferenceSession(path).run(None, inputs)[0], expected)


def test_a_failed_build_leaves_the_old_bundle(model: EmoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "bundle"
    directory.mkdir()
    (directory / "manifest.json").write_text("old")

    def fail(graph: graphs.Graph, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(build_module, "export_graph", fail)
    with pytest.raises(KeyboardInterrupt):
        build(model, "fp32", directory)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (directory / "manifest.json").read_text() == "old"


def test_a_missing_checkpoint_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / "none") in error


def test_psnr_by_hand() -> None:
    black = np.zeros((2, 2), np.uint8)
    assert psnr(black, black) == 100
    assert psnr(black, black + 255) == pytest.approx(0)
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)


def test_report_names_every_graph(model: EmoModel, fp32: Path) -> None:
    text = report(validate(model, fp32))
    assert all(name in text for name in (*GRAPH_NAMES, "whole video"))
