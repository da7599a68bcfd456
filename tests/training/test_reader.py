"""The mouth reader: what it learns and saves; the correlation that all lip-sync figures rest on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from training.corpus import Clip, make_clip
from training.reader import MouthReader, _attention_target, correlation, main, reader_accuracy


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(seed=5, seconds=0.4, resolution=32)


def test_correlation_by_hand() -> None:
    curve = np.array([0.0, 1.0, 2.0])
    assert correlation(curve, 3 * curve + 1) == pytest.approx(1)
    assert correlation(curve, -curve) == pytest.approx(-1)
    assert correlation(curve, np.array([0.0, 2.0, 1.0])) == pytest.approx(0.5)
    assert correlation(np.array([1e-3, 2e-3], np.float32), np.array([5.0, 7.0])) == pytest.approx(1)


@pytest.mark.parametrize("still", [np.zeros(5), np.full(5, 0.1), np.full(5, 0.3, np.float32)])
def test_a_curve_that_does_not_move_correlates_with_nothing(still: np.ndarray) -> None:
    assert correlation(still, np.arange(5.0)) == 0
    assert correlation(np.arange(5.0), still) == 0
    assert correlation(still, still) == 0
    assert correlation(np.zeros(0), np.zeros(0)) == 0


def test_correlation_rejects_curves_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        correlation(np.zeros(4), np.zeros(5))


def test_the_attention_target_is_where_the_box_is() -> None:
    boxes = torch.tensor([[0.0, 0.5, 0.5, 1.0], [-1.0, -1.0, 1.0, 1.0]])
    target = _attention_target(boxes).unflatten(1, (32, 32))
    torch.testing.assert_close(target.sum((1, 2)), torch.ones(2))
    torch.testing.assert_close(target[0, 24:, 16:24].sum(), torch.tensor(1.0))
    torch.testing.assert_close(target[1], torch.full((32, 32), 1 / 1024))


@pytest.mark.parametrize("resolution", [32, 128, 144])
def test_any_resolution_can_be_read(resolution: int) -> None:
    reading = MouthReader().read(np.zeros((3, resolution, resolution, 3), np.uint8), batch=2)
    assert reading.mouth_opening.shape == reading.mouth_width.shape == (3,)
    assert reading.rotation.shape == (3, 3)


@pytest.mark.parametrize("shape", [(3, 32, 48, 3), (32, 32, 3), (3, 3, 32, 32)])
def test_other_shapes_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="frames must be uint8"):
        MouthReader().read(np.zeros(shape, np.uint8))


def test_training_writes_a_reader_that_can_be_loaded_and_tested_again(clip: Clip, tmp_path: Path) -> None:
    data, out = tmp_path / "clips", tmp_path / "reader"
    data.mkdir()
    clip.save(data / "00000005.npz")
    assert main([f"--data={data}", f"--out={out}", f"--test={data}", "--steps=2", "--batch-size=4"]) == 0
    report = json.loads((out / "reader.json").read_text())
    assert report["training"]["steps"] == 2
    assert report["test"]["renders"] == reader_accuracy(MouthReader.load(out), [clip])
    assert (out / "reader.safetensors").stat().st_size < 1_000_000
    assert main([f"--out={out}", f"--test={data}"]) == 0
    assert json.loads((out / "reader.json").read_text()) == report


def test_the_loss_falls_to_what_the_labels_say(clip: Clip, tmp_path: Path) -> None:
    still = np.repeat(clip.frames[[0]], len(clip.frames), 0)
    one = dataclasses.replace(
        clip,
        frames=still,
        mouth_opening=np.full_like(clip.mouth_opening, 0.8),
        mouth_box=clip.mouth_box[[0] * len(still)],
    )
    one.save(tmp_path / "00000005.npz")
    assert main([f"--data={tmp_path}", f"--out={tmp_path / 'reader'}", "--steps=25", "--batch-size=4"]) == 0
    reading = MouthReader.load(tmp_path / "reader").read(still[:1])
    assert reading.mouth_opening[0] == pytest.approx(0.8, abs=0.25)


def test_a_missing_reader_or_clip_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileNotFoundError, match="train a reader"):
        MouthReader.load(tmp_path)
    assert main([f"--data={tmp_path}", f"--out={tmp_path / 'reader'}"]) == 2
    assert "has no clips" in capsys.readouterr().err
    (tmp_path / "reader.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no reader"):
        MouthReader.load(tmp_path)
