"""The benchmarks run at the test size, and what they compare comes out the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_bundle import write_fake_bundle
from tiny_models import emo_model

from benchmarks import checkpoints, constants, cpu, gpu, growth, length, paper_size, precisions
from export.graphs.modules import ExportGraph
from export.graphs.options import BuildOptions
from export.sources import read_sources
from training.model.model import EmoModel

#: Parts of a bundle that are exported within seconds.
SMALL_PARTS = (("time_embedding",), ("vae_decoder",))


@pytest.mark.parametrize("warp", [{}, {"portrait_warp": True, "portrait_pull": 0.0}], ids=["", "warp"])
@pytest.mark.parametrize(("step_variants", "count"), [(constants.guided_variants, 6), (constants.unguided_variants, 2)])
def test_every_variant_of_a_step_gives_the_same(
    step_variants: Callable[[EmoModel], list[constants.StepVariant]], count: int, warp: dict[str, Any]
) -> None:
    results = []
    for variant in step_variants(emo_model(**warp).eval()):

        def call(arrays: Mapping[str, np.ndarray], graph: ExportGraph = variant.graph) -> np.ndarray:
            outputs = graph.run({name: torch.tensor(array) for name, array in arrays.items()})
            return outputs[graph.outputs[0]].numpy()

        results.append(variant.step(call))
    assert len(results) == count
    for result in results:
        np.testing.assert_allclose(result, results[-1], atol=1e-5)


def test_precisions_alternate(
    checkpoint: Path, fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graphs of float32 are the same for both engines."""
    monkeypatch.setattr(checkpoints, "WORK", tmp_path / "work")
    monkeypatch.setattr(checkpoints, "outdated_graphs", lambda *_: {})
    for backend in ("onnxruntime", "openvino"):
        shutil.copytree(fp32, tmp_path / "work" / f"{checkpoint.name}-fp32-{backend}")
    monkeypatch.setattr(precisions, "results_file", lambda name: tmp_path / f"{name}.json")
    command = ["onnxruntime:fp32", "openvino:fp32", "--model", str(checkpoint), "--rounds", "1"]
    assert precisions.main(command) == 0
    rows = json.loads((tmp_path / "precisions-emo-test.json").read_text())["rows"]
    assert [row["row"] for row in rows] == command[:2]
    assert all(row["milliseconds"] > 0 and row["psnr"] >= 60 for row in rows)
    capsys.readouterr()
    assert precisions.main(["onnxruntime:fp64", "--model", str(checkpoint)]) == 2
    error = capsys.readouterr().err
    assert "fp64" in error
    assert error.count("\n") == 1


def test_a_bundle_is_built_unless_it_is_up_to_date(
    checkpoint: Path, fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(_: Path, directory: Path, *arguments: object, check: bool) -> None:
        built.append((*arguments, check))
        shutil.copytree(fp32, directory)

    monkeypatch.setattr(checkpoints, "WORK", tmp_path / "work")
    monkeypatch.setattr(checkpoints, "build_bundle", build)
    options = BuildOptions()
    for _ in range(2):
        bundle = checkpoints.up_to_date_bundle(checkpoint, options, check=False)
        assert bundle.directory == tmp_path / "work" / f"{checkpoint.name}-fp32-onnxruntime"
        assert built == [(options, read_sources(checkpoint, options), False)]


def test_the_command_line_is_timed_as_the_voice_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "results_file", lambda name: tmp_path / f"{name}.json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = str(write_fake_bundle(tmp_path / "fake"))
    options = ["--seconds", "1", "2", "--bundle", bundle, "--backend", "onnxruntime", "--quality", "fast"]
    assert length.main(options) == 0
    videos = json.loads((tmp_path / "length-fake-fast.json").read_text())["videos"]
    assert [video["voice_seconds"] for video in videos] == [1, 2]
    assert [video["report"].split(" frames")[0] for video in videos] == ["25", "50"]
    assert all(video["plan"].startswith("onnxruntime, ") for video in videos)
    assert all(50 < video["peak_mib"] < 5000 and video["wall_seconds"] > 0.5 for video in videos)


def test_what_is_done_at_the_papers_size_at_the_test_size(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but NVIDIA's builder, which the tests of the export run on every graph."""
    monkeypatch.setattr(paper_size, "WORK", tmp_path / "work")
    monkeypatch.setattr(paper_size, "PAPER_PRECISIONS", ("fp16",))
    monkeypatch.setattr(paper_size, "GRAPH_PARTS", SMALL_PARTS)
    monkeypatch.setattr(paper_size, "STEP_GRAPHS", ("cached_guided_backbone",))
    monkeypatch.setattr(paper_size, "named_checkpoint", lambda _: checkpoint)
    monkeypatch.setattr(paper_size, "in_a_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(paper_size, "build_engine", lambda path, *_: path.read_bytes())
    out = tmp_path / "small.json"
    command = ["--model", "emo-test", "--out", str(out)]
    assert paper_size.main(command) == 0
    assert "step cached_guided_backbone: max error" in capsys.readouterr().out
    result = json.loads(out.read_text())
    assert all(row["max_error"] < 1e-5 for row in result["step"]["graphs"].values())
    assert set(result["fp16"]["graphs"]) == {name for part in SMALL_PARTS for name in part}
    assert list((tmp_path / "work").iterdir()) == []
    for name in ("time_export", "time_engine_build", "compare_step"):
        monkeypatch.setattr(paper_size, name, lambda *_: 1 / 0)
    assert paper_size.main(command) == 0
    assert json.loads(out.read_text()) == result


def test_processors_row_by_row(
    checkpoint: Path, fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compiling is left out: it takes minutes, and what is compiled is compared by the row before.

    The step for clips of another length is a cached one, which is exported sooner.
    """
    monkeypatch.setattr(growth, "TIMED_GRAPHS", ("cached_guided_backbone", "vae_decoder"))
    monkeypatch.setattr(checkpoints, "WORK", tmp_path / "work")
    shutil.copytree(fp32, tmp_path / "work" / f"{checkpoint.name}-fp32-onnxruntime")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    monkeypatch.setattr(cpu, "ENGINE_ROWS", {"ONNX Runtime": "onnxruntime:fp32", "TensorRT": "tensorrt:fp32"})
    out = tmp_path / "cpu.json"
    command = ["--model", str(checkpoint), "--rounds", "1", "--frames", "2", "--resolutions", "--out", str(out)]
    assert cpu.main(command) == 0
    printed = capsys.readouterr()
    assert "without TensorRT: backend tensorrt" in printed.err
    result = json.loads(out.read_text())
    rows = {row["row"]: row for row in result["rows"]}
    assert list(rows) == [
        "PyTorch",
        "PyTorch, constants once",
        "torch.compile",
        "torch.compile, bfloat16",
        "ONNX Runtime",
        "ONNX Runtime, overlapped",
        "ONNX Runtime, overlapped, 1 full step in 2",
        "ONNX Runtime, overlapped, 1 full step in 4",
    ]
    assert all(row["clip_seconds"] > 0 for row in rows.values())
    assert rows["PyTorch, constants once"]["psnr"] > 60
    assert 20 < rows["torch.compile, bfloat16"]["psnr"] < 70
    assert rows["ONNX Runtime"]["psnr"] == rows["ONNX Runtime, overlapped"]["psnr"] > 60
    assert 10 < rows["ONNX Runtime, overlapped, 1 full step in 4"]["psnr"] < 60
    assert result["peak"]["peak_gflops_float32"] > 1
    # Graphs for clips of another length were exported, and take such clips.
    assert {(size["backend"], size["clip_frames"]) for size in result["sizes"]} >= {("onnxruntime", 2)}
    assert out.with_suffix(".png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("main", "options", "words"),
    [
        (constants.main, ["--model", "nowhere"], "nowhere is no checkpoint"),
        (cpu.main, ["--model", "nowhere"], "nowhere is no checkpoint"),
        (precisions.main, ["--model", "nowhere"], "nowhere is no checkpoint"),
        (length.main, ["--bundle", "nowhere"], "bundle nowhere: no such directory"),
        (gpu.main, ["--models", "emo-huge", "--device", "cpu"], "emo-huge"),
        (paper_size.main, ["--model", "emo-huge", "--out", "nowhere.json"], "emo-huge"),
    ],
    ids=["constants", "cpu", "precisions", "length", "gpu", "paper_size"],
)
def test_bad_input_is_one_clear_line(
    main: Callable[[list[str]], int], options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmark: error: ")
    assert words in error
    assert error.count("\n") == 1
