"""Validation notices whatever is wrong with a bundle: each fault is made once, in a graph's own file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from emo_rt.bundle import GRAPH_NAMES, MANIFEST_NAME, STEP_GRAPHS, Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.errors import BundleError
from export.compare import compare_videos
from export.graphs.onnx_file import graph_spec
from export.sample import Sample, bundled_sample
from export.thresholds import BUNDLE_THRESHOLDS, LEAST_MOUTH_CORRELATION, unmet_thresholds
from export.validate import main, validate, validation_report
from training.evaluation.metrics import psnr
from training.evaluation.reader import Reading
from training.model.model import EmoModel

BUNDLED = Path(__file__).parents[2] / "models" / "emo-photo"
Change = Callable[[ModelProto], None]


@pytest.fixture
def sample(model: EmoModel) -> Sample:
    """Two clips: motion frames are handed on."""
    return bundled_sample(model.config, 2 * model.config.clip_frames)


def altered(bundle: Path, directory: Path, graph: str, change: Change) -> Path:
    """A copy of a bundle with one graph changed; its manifest says so, as if it had been exported like that."""
    copy = Path(shutil.copytree(bundle, directory / "altered"))
    path = copy / f"{graph}.onnx"
    proto = onnx.load(path)
    change(proto)
    (copy / f"{graph}.weights").unlink(missing_ok=True)
    onnx.save(proto, path)
    for other in STEP_GRAPHS:  # they share a file of weights
        if graph == "backbone" and other != graph:
            unchanged = onnx.load(bundle / f"{other}.onnx")
            onnx.save(unchanged, copy / f"{other}.onnx")
    manifest = json.loads((copy / MANIFEST_NAME).read_text())
    for name in GRAPH_NAMES:
        manifest["graphs"][name] = graph_spec(copy / f"{name}.onnx").to_json()
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    return copy


def corrupt_a_weight(proto: ModelProto) -> None:
    """One number of the largest weight, by the bit that says most."""
    largest = max(proto.graph.initializer, key=lambda tensor: np.prod(tensor.dims, dtype=int))
    values = numpy_helper.to_array(largest).copy()
    bits = values.reshape(-1).view({2: np.uint16, 4: np.uint32}[values.itemsize])
    bits[0] ^= 1 << (8 * values.itemsize - 2)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))


def swap_inputs(first: str, second: str) -> Change:
    def change(proto: ModelProto) -> None:
        names = {first: second, second: first}
        for node in proto.graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = names.get(name, name)

    return change


def shift_values(name: str) -> Change:
    """An output's frames, by one; what else the graph makes of it stays as it is."""

    def change(proto: ModelProto) -> None:
        for node in proto.graph.node:
            for names in (node.input, node.output):
                for index, tensor in enumerate(names):
                    if tensor == name:
                        names[index] = "unshifted"
        axis = next(
            i
            for i, d in enumerate(next(o for o in proto.graph.output if o.name == name).type.tensor_type.shape.dim)
            if i and d.dim_value > 1
        )
        proto.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array([value], np.int64), f"shift_{key}")
                for key, value in (("one", 1), ("zero", 0), ("end", 1 << 30), ("axis", axis))
            ]
        )
        make = onnx.helper.make_node
        proto.graph.node.extend(
            [
                make("Slice", ["unshifted", "shift_one", "shift_end", "shift_axis"], ["shift_rest"]),
                make("Slice", ["unshifted", "shift_zero", "shift_one", "shift_axis"], ["shift_first"]),
                make("Concat", ["shift_rest", "shift_first"], [name], axis=axis),
            ]
        )

    return change


def drop_a_scale(kind: str) -> Change:
    """The scale of the first quantizer of activations, or of the first weight: from what it was to 1."""

    def change(proto: ModelProto) -> None:
        tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
        first = next(
            node
            for node in proto.graph.node
            if node.op_type == {"activation": "QuantizeLinear", "weight": "DequantizeLinear"}[kind]
            and (kind == "activation" or node.input[0] in tensors)
        )
        scale = tensors[first.input[1]]
        scale.CopyFrom(numpy_helper.from_array(np.ones(list(scale.dims), np.float32), scale.name))

    return change


@pytest.mark.parametrize(
    ("precision", "graph", "change"),
    [
        ("fp32", "reference_net", corrupt_a_weight),
        ("fp32", "guided_backbone", corrupt_a_weight),
        ("fp32", "cached_guided_backbone", corrupt_a_weight),
        ("fp32", "vae_decoder", corrupt_a_weight),
        ("fp16", "guided_backbone", corrupt_a_weight),
        ("fp32", "guided_backbone", swap_inputs("latents_coefficient", "prediction_coefficient")),
        ("fp32", "guided_backbone", swap_inputs("audio_key_00", "audio_value_00")),
        ("fp32", "conditioning", shift_values("audio_value_00")),
        ("fp32", "reference_net", shift_values("motion_first_value_00")),
    ],
)
def test_a_fault_is_caught(
    precision: str,
    graph: str,
    change: Change,
    model: EmoModel,
    sample: Sample,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    broken = altered(request.getfixturevalue(precision), tmp_path, graph, change)
    validation = validate(model, broken, sample=sample)
    assert any(failure.startswith(f"{graph}:") for failure in validation["failures"]), validation_report(validation)


def test_deep_features_are_compared_by_what_a_cached_step_makes_of_them(
    model: EmoModel, fp32: Path, sample: Sample, tmp_path: Path
) -> None:
    broken = altered(fp32, tmp_path, "guided_backbone", shift_values("deep_features"))
    failed = validate(model, broken, sample=sample)["failures"]
    assert [failure.split(":")[0] for failure in failed] == ["cached_guided_backbone"]


@pytest.fixture(scope="module")
def bundled_failures(bundled_int8: Path) -> Callable[[Path], list[str]]:
    """What fails of a bundle of emo-photo on one clip; nothing does of the sound one."""
    model = EmoModel.load(BUNDLED)
    sample = bundled_sample(model.config, model.config.clip_frames)

    def failures(bundle: Path) -> list[str]:
        return validate(model, bundle, sample=sample)["failures"]

    assert failures(bundled_int8) == []
    return failures


@pytest.mark.parametrize(
    ("kind", "words"), [("activation", "of a quantizer's range"), ("weight", "a weight is off by")]
)
def test_a_dropped_scale_is_caught(
    kind: str, words: str, bundled_int8: Path, bundled_failures: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    failed = bundled_failures(altered(bundled_int8, tmp_path, "guided_backbone", drop_a_scale(kind)))
    assert any(failure.startswith("guided_backbone:") and words in failure for failure in failed)


def test_another_model_is_caught(model: EmoModel, fp32: Path, sample: Sample) -> None:
    model.backbone.conv_in.weight.data *= 1.05
    validation = validate(model, fp32, sample=sample)
    assert {failure.split(":")[0] for failure in validation["failures"]} == {*STEP_GRAPHS, "video"}


def test_a_sound_bundle_passes_also_in_openvino(model: EmoModel, fp32: Path, sample: Sample) -> None:
    validation = validate(model, fp32, backend="openvino", sample=sample)
    assert validation["failures"] == [], validation_report(validation)


def test_the_command_writes_what_the_runtime_reads(
    checkpoint: Path, fp32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(checkpoint), "--frames", "8"]
    copy = Path(shutil.copytree(fp32, tmp_path / "copy"))
    assert main([str(copy), *arguments]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*GRAPH_NAMES, "whole video"))
    Bundle.load(copy)
    broken = altered(fp32, tmp_path, "vae_decoder", corrupt_a_weight)
    assert main([str(broken), *arguments]) == 1
    assert "FAILED vae_decoder" in capsys.readouterr().out
    with pytest.raises(BundleError, match=r"its video differs from that of its model \(vae_decoder: cosine"):
        Bundle.load(broken)
    Bundle.load(broken, validated=False)


def test_a_validation_that_cannot_be_read_is_none(fp32: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(fp32, tmp_path / "copy"))
    (copy / "validation.json").write_text("{")
    with pytest.raises(BundleError, match=r"validation\.json cannot be read"):
        Bundle.load(copy)


def test_a_missing_bundle_is_one_clear_line(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere", "--model", str(checkpoint)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("validate: error: bundle nowhere: no such directory")
    assert error.count("\n") == 1


def test_a_mouth_that_moves_otherwise_is_caught(model: EmoModel, fp32: Path) -> None:
    """A stand-in for a reader, which is a trained network."""

    class Reader:
        """Takes a picture's mean for the mouth."""

        def read(self, frames: np.ndarray) -> Reading:
            nothing = np.zeros(len(frames))
            return Reading(frames.mean((1, 2, 3)), nothing, nothing, nothing, nothing, nothing)

    cascade = Cascade.load(Bundle.load(fp32))
    sample = bundled_sample(model.config, 2 * model.config.clip_frames)
    same = compare_videos(model, cascade, sample, Reader())  # type: ignore[arg-type]
    assert same["mouth_correlation"] > LEAST_MOUTH_CORRELATION
    assert unmet_thresholds(BUNDLE_THRESHOLDS["fp32"], {}, same) == []
    (failure,) = unmet_thresholds(BUNDLE_THRESHOLDS["fp32"], {}, {**same, "mouth_correlation": 0.97})
    assert failure == "mouth: correlation 0.970, at least 0.98 wanted"
    (failure,) = unmet_thresholds(BUNDLE_THRESHOLDS["fp32"], {}, {**same, "mouth_correlation": float("nan")})
    assert failure.startswith("mouth: correlation nan")


def test_psnr_by_hand() -> None:
    black = np.zeros((2, 2), np.uint8)
    assert psnr(black, black) == 100
    assert psnr(black, black + 255) == pytest.approx(0, abs=1e-5)  # torchmetrics computes in float32
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)
