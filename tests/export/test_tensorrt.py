"""NVIDIA's own parser and builder take every graph; running the engines is left to machines with a GPU."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from emo_rt.bundle import GRAPH_NAMES, GraphSpec
from emo_rt.engines import tensorrt_build
from emo_rt.engines.tensorrt_build import build_engine, cached_engine
from emo_rt.errors import BundleError, InputError
from export.graphs.calibrate import calibrate, calibration_clips
from export.graphs.exporter import convert
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import OPSET, export_part, graph_spec
from export.graphs.options import GRAPH_PARTS, BuildOptions
from export.graphs.quantize import quantize
from training.model.model import EmoModel

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the wheels are there for Linux on x86-64 alone"
)
BUNDLED = Path(__file__).parents[2] / "models" / "emo-photo" / "bundle"
Graphs = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def tensorrt() -> ModuleType:
    return importlib.import_module("tensorrt_rtx_bindings")


@pytest.fixture(scope="session")
def exported(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """Gives the directory with a model's graphs in a precision."""
    made = {("emo-photo", "fp32"): BUNDLED}

    def give(model: str, precision: str) -> Path:
        if (model, precision) not in made:
            assert model == "emo-test"
            if precision in ("fp32", "fp16"):  # bundles that other tests use too
                bundle: Path = request.getfixturevalue(precision)
                return bundle
            made[model, precision] = tmp_path_factory.mktemp(f"{model}-{precision}")
            _export(checkpoint, made[model, precision], BuildOptions(precision, "tensorrt"))
        return made[model, precision]

    return give


def _export(checkpoint: Path, directory: Path, options: BuildOptions) -> None:
    """The graphs that are built in a precision, calibrated on one short clip."""
    model = EmoModel.load(checkpoint)
    ranges = {}
    if options.is_quantized:
        clips = calibration_clips(1, model.config.resolution, model.config.clip_frames, 25)
        ranges = calibrate(EmoModel.load(checkpoint), options.precision, clips, steps=2)
    made = export_graphs(quantize(convert(model, options.dtype), options.storage, ranges))
    for part in GRAPH_PARTS:
        if names := set(part) & set(GRAPHS_OF[options.precision]):
            export_part({name: made[name] for name in sorted(names)}, directory)


#: The graphs of each precision that are built. In 8 bits only steps differ from float16; what the others of them hold
#: is in a guided step of 8 bits, or in themselves in float16.
GRAPHS_OF = {
    "fp32": GRAPH_NAMES,
    "fp16": GRAPH_NAMES,
    "bf16": ("audio_encoder", "reference_net", "guided_backbone", "cached_backbone", "vae_decoder"),
    "int8": ("guided_backbone",),
    "fp8": ("guided_backbone",),
}
CASES = [
    (model, precision, name)
    # What other workers make comes last, so that nobody waits for it.
    for model, precisions in (("emo-photo", ("fp32",)), ("emo-test", ("fp8", "int8", "bf16", "fp16")))
    for precision in precisions
    for name in GRAPHS_OF[precision]
]


@pytest.mark.parametrize(("model", "precision", "name"), CASES)
def test_tensorrt_builds_an_engine_of_every_graph(
    model: str, precision: str, name: str, exported: Graphs, tensorrt: ModuleType
) -> None:
    """The engine knows the graph's tensors by name, and holds its weights."""
    path = exported(model, precision) / f"{name}.onnx"
    engine = build_engine(path, tensorrt, precision, "sm_89")
    graph = onnx.load(path).graph
    tensors = [tensor.name for tensor in (*graph.input, *graph.output)]
    assert [tensor for tensor in tensors if tensor.encode() not in engine] == []
    assert len(engine) > sum(len(tensor.raw_data) for tensor in graph.initializer)


def test_a_graph_of_another_precision_is_refused(exported: Graphs, tensorrt: ModuleType) -> None:
    """A float32 graph makes a good engine, but none of float16."""
    with pytest.raises(BundleError, match=r"backbone\.onnx: .* computes in FLOAT, fp16 wants HALF"):
        build_engine(exported("emo-test", "fp32") / "backbone.onnx", tensorrt, "fp16", "sm_89")


def test_an_engine_is_built_once(
    exported: Graphs, tensorrt: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = exported("emo-test", "fp32") / "time_embedding.onnx"
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    graph = graph_spec(path)

    def build(graph: GraphSpec = graph, precision: str = "fp32", device: str = "sm_89") -> str:
        engine = cached_engine(path, graph, tensorrt, precision, device)
        assert (tmp_path / "engines" / f"time_embedding-{device}.engine").read_bytes() == engine
        return capsys.readouterr().err

    assert "time_embedding-sm_89.engine: there is none yet" in build()
    assert build() == ""
    assert "there is none yet" in build(device="sm_120")
    assert build() == ""
    other = GraphSpec(graph.file, {graph.file: "00"}, graph.inputs, graph.outputs)
    assert "its graph changed" in build(other)
    assert "its graph changed" in build()
    (tmp_path / "engines" / "time_embedding-sm_89.engine").write_bytes(b"damaged")
    assert "it is damaged" in build()
    (tmp_path / "engines" / "time_embedding-sm_89.json").write_text("{")
    assert "it cannot be read" in build()
    known = json.loads((tmp_path / "engines" / "time_embedding-sm_89.json").read_text())
    assert known["builder"].endswith(tensorrt.__version__)


def test_whatever_an_engine_follows_from_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.onnx"
    files = {path.name: "00", "one.weights": "00"}
    monkeypatch.setattr(tensorrt_build, "build_engine", lambda *_: b"engine")

    def built(version: str = "10", precision: str = "fp32", **changed: str) -> str:
        tensorrt: Any = SimpleNamespace(__name__="tensorrt", __version__=version)
        spec = GraphSpec(
            path.name, {**files, **{f"one.{ending}": sha256 for ending, sha256 in changed.items()}}, (), ()
        )
        assert cached_engine(path, spec, tensorrt, precision, "sm_89") == b"engine"
        return capsys.readouterr().err

    assert "there is none yet" in built()
    assert built() == ""
    for changed, reason in (
        ({"onnx": "01"}, "its graph changed"),
        ({"weights": "01"}, "its graph changed"),
        ({"precision": "fp16"}, "its precision changed"),
        ({"version": "11"}, "its builder changed"),
    ):
        assert reason in built(**changed)
        assert reason in built()
    sidecar = tmp_path / "engines" / "one-sm_89.json"
    sidecar.write_text(
        json.dumps({key: value for key, value in json.loads(sidecar.read_text()).items() if key != "tf32"})
    )
    assert "its tf32 changed" in built()


def test_a_gpu_that_tensorrt_rtx_does_not_know_is_an_error(exported: Graphs, tensorrt: ModuleType) -> None:
    with pytest.raises(InputError, match=r"TensorRT-RTX does not run on this GPU \(sm_90\): pip install tensorrt"):
        build_engine(exported("emo-test", "fp32") / "time_embedding.onnx", tensorrt, "fp32", "sm_90")


def test_float32_is_not_computed_in_tf32_and_the_gpu_is_named(
    exported: Graphs, tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    build = tensorrt.Builder.build_serialized_network

    def spy(builder: Any, network: Any, config: Any) -> Any:
        seen.append((config.get_flag(tensorrt.BuilderFlag.TF32), config.get_compute_capability(0)))
        return build(builder, network, config)

    monkeypatch.setattr(tensorrt.Builder, "build_serialized_network", spy)
    build_engine(exported("emo-test", "fp32") / "time_embedding.onnx", tensorrt, "fp32", "sm_120")
    assert seen == [(False, tensorrt.ComputeCapability.SM120)]


def test_a_killed_build_leaves_no_engine(tensorrt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.onnx"
    graph = GraphSpec(path.name, {path.name: "00"}, (), ())
    monkeypatch.setattr(tensorrt_build, "build_engine", lambda *_: b"engine")
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cached_engine(path, graph, tensorrt, "fp32", "sm_89")
    assert not list(tmp_path.rglob("*.engine"))


def test_a_graph_that_tensorrt_does_not_take_is_named(tensorrt: ModuleType, tmp_path: Path) -> None:
    """uint8 between two nodes."""
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT8, name="inside"),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "z")]
    graph = helper.make_graph(nodes, "bytes", ends[:1], ends[1:])
    path = tmp_path / "bytes.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), path)
    with pytest.raises(BundleError, match=r"bytes\.onnx: TensorRT does not take this graph: inside \(Cast\): .*UINT8"):
        build_engine(path, tensorrt, "fp32", "sm_89")
