"""A bundle equals the PyTorch model that it was made of; what is up to date is kept, and a kill loses nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from emo_rt.bundle import GRAPH_NAMES, Bundle
from emo_rt.errors import BundleError
from export import build as command
from export import bundle as bundle_module
from export.bundle import recover_bundle
from export.graphs import exporter
from export.graphs.onnx_file import OPSET
from export.graphs.options import BuildOptions
from export.graphs.storage import store_graphs
from export.manifest import noise_schedule, runtime_config
from export.sources import outdated_graphs, read_record, read_sources
from training.model.model import EmoModel


def read_validation(directory: Path) -> dict:
    return json.loads((directory / "validation.json").read_text())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bundled_int8"])
def test_a_bundle_meets_the_thresholds_of_its_precision(precision: str, request: pytest.FixtureRequest) -> None:
    validation = read_validation(request.getfixturevalue(precision))
    assert set(validation["graphs"]) == set(GRAPH_NAMES)
    assert validation["precision"] == precision.removeprefix("bundled_")
    assert validation["failures"] == []


def test_fp16_bundle_computes_in_float16(fp16: Path) -> None:
    backbone = onnx.load(fp16 / "backbone.onnx")
    weights = [tensor for tensor in backbone.graph.initializer if np.prod(tensor.dims, dtype=int) > 64]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}
    keys = [spec for spec in Bundle.load(fp16).manifest.graphs["backbone"].inputs if "_key_" in spec.name]
    assert keys
    assert {spec.dtype for spec in keys} == {"float16"}


def test_both_backbones_hold_their_weights_once(fp32: Path) -> None:
    graphs = Bundle.load(fp32).manifest.graphs
    assert set(graphs["backbone"].files) == {"backbone.onnx", "backbone.weights"}
    assert set(graphs["guided_backbone"].files) == {"guided_backbone.onnx", "backbone.weights"}
    assert (fp32 / "guided_backbone.onnx").stat().st_size < (fp32 / "backbone.weights").stat().st_size


def test_manifest_says_what_the_model_is(model: EmoModel, fp32: Path) -> None:
    bundle = Bundle.load(fp32)
    assert bundle.config == runtime_config(model.config)
    assert bundle.noise_schedule == noise_schedule(model.config)
    assert (bundle.manifest.name, bundle.manifest.precision) == ("emo-test", "fp32")


def two_products(path: Path, exact: np.ndarray, inexact: np.ndarray) -> None:
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "exact"], ["y"]),
        onnx.helper.make_node("MatMul", ["y", "inexact"], ["z"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 32]) for name in "xz"]
    weights = [numpy_helper.from_array(exact, "exact"), numpy_helper.from_array(inexact, "inexact")]
    graph = onnx.helper.make_graph(nodes, "two", ends[:1], ends[1:], weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10), path)


@pytest.mark.parametrize("graphs", [1, 2])
def test_storing_changes_no_result(graphs: int, tmp_path: Path) -> None:
    """Half of the weights are float16 numbers and are halved; the others are not and stay. Two graphs share them."""
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((32, 32)).astype(np.float16).astype(np.float32)
    inexact = rng.standard_normal((32, 32)).astype(np.float32)
    exported = [tmp_path / f"exported{index}.onnx" for index in range(graphs)]
    stored = [tmp_path / f"stored{index}.onnx" for index in range(graphs)]
    for path in exported:
        two_products(path, exact, inexact)
    inputs = {"x": rng.standard_normal((1, 32)).astype(np.float32)}
    expected = onnxruntime.InferenceSession(exported[0]).run(None, inputs)[0]
    store_graphs(exported, stored)
    for path in stored:
        types = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
        assert types == {"exact_half": onnx.TensorProto.FLOAT16, "inexact": onnx.TensorProto.FLOAT}
        assert np.array_equal(onnxruntime.InferenceSession(path).run(None, inputs)[0], expected)
    size = sum(path.stat().st_size for path in tmp_path.glob("stored*"))
    assert size < 0.8 * exported[0].stat().st_size + 1000 * graphs
    assert (tmp_path / "stored0.weights").exists() == (graphs == 2)


class Desk:
    """A checkpoint and a bundle of its own, to change."""

    def __init__(self, checkpoint: Path, bundle: Path, directory: Path) -> None:
        self.checkpoint = Path(shutil.copytree(checkpoint, directory / "checkpoint"))
        self.bundle = Path(shutil.copytree(bundle, directory / "bundle"))

    def run(self, *options: str) -> int:
        return command.main(["--model", str(self.checkpoint), "--out", str(self.bundle), *options])

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.bundle.iterdir()}

    def change_decoder(self) -> None:
        path = self.checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        weights["decoder.conv_out.bias"] += 0.25
        save_file(weights, path, metadata={"format": "pt"})


@pytest.fixture
def desk(checkpoint: Path, fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Its builds are validated on two clips; the bundles that all tests share are on longer videos."""
    monkeypatch.setattr(bundle_module, "validate", partial(bundle_module.validate, frames=8))
    return Desk(checkpoint, fp32, tmp_path)


def test_a_build_with_nothing_to_do_does_not_load_pytorch(desk: Desk) -> None:
    before = desk.files()
    code = (
        "import sys\nfrom export.build import main\n"
        f"assert main(['--model', {str(desk.checkpoint)!r}, '--out', {str(desk.bundle)!r}]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == len(GRAPH_NAMES)
    assert desk.files() == before


def test_every_weight_is_held_by_a_graph(checkpoint: Path, fp32: Path) -> None:
    """Else nobody would notice that it changed. One is for the audio encoder's own pretraining alone."""
    held = [set(graph["weights"]) for graph in read_record(fp32)["graphs"].values()]
    assert all(held)
    sources = read_sources(checkpoint, BuildOptions())
    assert sources.weights.keys() - set().union(*held) == {"audio_encoder.wav2vec2.masked_spec_embed"}


def test_one_changed_weight_renews_one_graph(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """And the presets that were measured with the graph before are dropped, with a word."""
    before = desk.files()
    (desk.bundle / "presets.json").write_text("{}")
    desk.change_decoder()
    assert desk.run("--dry-run") == 0
    assert "vae_decoder: build: vae.autoencoder.decoder.conv_out.bias changed" in capsys.readouterr().out
    assert desk.files() == {**before, "presets.json": b"{}"}
    assert desk.run() == 0
    after = desk.files()
    assert after.keys() == before.keys()
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"vae_decoder.onnx", "manifest.json", "build.json", "validation.json"}
    output = capsys.readouterr()
    assert "kept" in output.out
    assert "presets.json: dropped, the graphs changed" in output.err


def test_another_default_renews_the_manifest_alone(desk: Desk) -> None:
    """The presets that were measured stay."""
    (desk.bundle / "presets.json").write_text("{}")
    path = desk.checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": 3}))
    before = desk.files()
    assert desk.run() == 0
    after = desk.files()
    assert {name for name in before if after[name] != before[name]} == {
        "manifest.json",
        "build.json",
        "validation.json",
    }
    assert Bundle.load(desk.bundle).config.steps == 3


@pytest.mark.parametrize(
    ("module", "where"),
    [
        (exporter, "export_part"),
        *((bundle_module, name) for name in ("write_record", "_write_manifest", "validate", "write_validation")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kill_leaves_the_bundle_before_and_the_next_build_completes(
    desk: Desk, module: ModuleType, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    before = desk.files()
    desk.change_decoder()
    with monkeypatch.context() as patch:
        patch.setattr(module, where, kill)
        with pytest.raises(Killed):
            desk.run()
    assert desk.files() == before
    assert desk.run() == 0
    assert outdated_graphs(desk.bundle, read_sources(desk.checkpoint, BuildOptions())) == {}
    assert sorted(path.name for path in desk.bundle.parent.iterdir()) == ["bundle", "checkpoint"]


def test_what_was_exported_before_a_kill_is_not_exported_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[str] = []
    export_part = exporter.export_part

    def counted(part: dict, directory: Path) -> set[str]:
        exported.extend(part)
        return export_part(part, directory)

    monkeypatch.setattr(exporter, "export_part", counted)
    desk.change_decoder()
    with monkeypatch.context() as patch:
        patch.setattr(bundle_module, "validate", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            desk.run()
    (desk.bundle.parent / "bundle.partial" / "tmp-of-a-kill").mkdir()
    assert desk.run() == 0
    assert exported == ["vae_decoder"]
    assert not (desk.bundle / "tmp-of-a-kill").exists()


def test_a_kill_between_two_renames_is_undone(tmp_path: Path) -> None:
    (tmp_path / "bundle.old").mkdir()
    (tmp_path / "bundle.old" / "manifest.json").write_text("old")
    recover_bundle(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    (tmp_path / "bundle.old").mkdir()
    recover_bundle(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "old"


def test_a_bundle_that_fails_says_so_and_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A decoder that was exported of other weights than the checkpoint's."""

    def altered(model: EmoModel, dtype: str) -> EmoModel:
        model.vae.autoencoder.decoder.conv_out.bias.data += 0.25
        return model

    monkeypatch.setattr(exporter, "convert", altered)
    desk.change_decoder()
    assert desk.run() == 1
    assert "FAILED video" in capsys.readouterr().out
    with pytest.raises(BundleError, match="its video differs from that of its model"):
        Bundle.load(desk.bundle)
    assert Bundle.load(desk.bundle, validated=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "fp8"], "build it for tensorrt"),
        (["--resolution", "33"], "resolution 33 does not divide"),
        (["--frames", "31"], "more than temporal_positions"),
        (["--frames", "0"], "clip frames is 0; choose 1 or more"),
        (["--calibration-clips", "0"], "calibration clips is 0; choose 1 or more"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    desk: Desk, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = desk.files()
    assert desk.run(*options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert desk.files() == before
    assert sorted(path.name for path in desk.bundle.parent.iterdir()) == ["bundle", "checkpoint"]


def test_a_missing_checkpoint_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--model", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / "none") in error


def test_a_full_disk_is_named_before_the_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.change_decoder()
    usage = shutil.disk_usage(desk.bundle)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert desk.run() == 2
    assert "0.0 GB are free" in capsys.readouterr().err
