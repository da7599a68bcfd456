"""Evaluation: an untrained model runs through it, and what it measures is what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.config import EmoConfig
from training.corpus import Clip, make_clip
from training.evaluate import Video, _lagged, _psnr_table, generate, main, report
from training.model import EmoModel
from training.reader import MouthReader, Reading
from training.sync_signal import sync_signal

FRAMES = 6


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clips() -> dict[str, Clip]:
    return {str(seed): make_clip(seed, seconds=0.4, resolution=32) for seed in (4, 17, 33)}


@pytest.fixture(scope="module")
def model() -> EmoModel:
    torch.manual_seed(0)
    model = EmoModel(EmoConfig.from_name("emo-test")).eval()
    # Its last layer begins at zero, with which every video would be the portrait.
    torch.nn.init.normal_(model.backbone.conv_out.weight, std=0.1)
    return model


@pytest.fixture(scope="module")
def reader() -> MouthReader:
    torch.manual_seed(0)
    return MouthReader().eval()


@pytest.fixture(scope="module")
def directory(
    tmp_path_factory: pytest.TempPathFactory, model: EmoModel, reader: MouthReader, clips: dict[str, Clip]
) -> Path:
    """Holds a checkpoint, a reader and clips."""
    root = tmp_path_factory.mktemp("evaluate")
    model.save(root / "model")
    reader.save(root / "reader")
    (root / "clips").mkdir()
    for name, clip in clips.items():
        clip.save(root / "clips" / f"{name}.npz")
    return root


def perfect(name: str, clip: Clip) -> Video:
    """What a model that repeats the truth would give, read by a reader that knows it."""
    reading = Reading(clip.mouth_opening, clip.mouth_width, clip.rotation)
    return Video(name, clip.frames[0], clip, clip.frames, reading, reading, clip.frames)


def test_the_command_line_writes_its_files(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"--model={directory / 'model'}", f"--reader={directory / 'reader'}", f"--data={directory / 'clips'}"]
    options = ["--videos=2", f"--seconds={FRAMES / 25}", "--steps=1", "--speed=0.25", f"--out={tmp_path}"]
    assert main([*places, *options]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    printed = json.loads(capsys.readouterr().out)
    assert printed == {name: value for name, value in result.items() if name != "per_video"}
    assert (result["videos"], result["frames"], result["steps"], result["speed"]) == (2, FRAMES, 1, 0.25)
    assert result["guidance_scale"] == EmoConfig.from_name("emo-test").guidance_scale
    opening = result["opening"]
    assert opening["control_sentences"] == 2
    for name in ("correlation", "control", "best_lag_correlation", "control_best_lag", "lowest", "highest"):
        assert -1 <= opening[name] <= 1
    assert set(opening["by_lag"]) == {"-1", "0", "1"}
    assert [row["name"] for row in result["per_video"]] == ["17", "33"]
    assert Image.open(tmp_path / "strip.png").height > 0
    assert Image.open(tmp_path / "contact_sheet.png").size == (11 * 32 + 4, 4 * 32 + 4)


def test_the_quick_signal_needs_no_reader(directory: Path, tmp_path: Path) -> None:
    places = [f"--model={directory / 'model'}", f"--data={directory / 'clips'}", f"--out={tmp_path}"]
    assert main([*places, "--quick", "--windows=5"]) == 0
    result = json.loads((tmp_path / "quick.json").read_text())
    assert set(result["mouth_loss"]) == {"right", "wrong", "none"}
    assert "opening_correlation" not in result
    assert not (tmp_path / "evaluation.json").exists()


def test_the_truth_scores_one_and_other_sentences_do_not(reader: MouthReader, clips: dict[str, Clip]) -> None:
    result = report([perfect(name, clip) for name, clip in clips.items()], reader, clips, 4)
    assert result["opening"]["correlation"] == pytest.approx(1)
    assert result["opening"]["deviation_ratio"] == pytest.approx(1)
    assert result["opening"]["best_lag"] == 0
    assert result["opening"]["control"] < 0.95
    assert result["opening"]["share_above_control"] == 1
    assert result["picture"]["nearest_frame_psnr"] == pytest.approx(100)
    assert result["head_speed"]["generated"] == result["head_speed"]["of_renders"]


def test_a_mouth_that_never_moves_scores_zero(reader: MouthReader, clips: dict[str, Clip]) -> None:
    video = perfect("4", clips["4"])
    still = replace(video.reading, mouth_opening=np.full_like(video.reading.mouth_opening, 0.3))
    result = report([replace(video, reading=still)], reader, clips, 4)
    assert result["opening"]["correlation"] == result["opening"]["control"] == 0
    assert result["opening"]["deviation_ratio"] == pytest.approx(0, abs=1e-6)
    assert "NaN" not in json.dumps(result)


def test_a_late_picture_correlates_at_a_positive_lag() -> None:
    label = np.random.default_rng(0).random(50)
    assert _lagged(np.roll(label, 1), label, 1) == pytest.approx(1)
    assert _lagged(np.roll(label, -1), label, -1) == pytest.approx(1)
    assert abs(_lagged(np.roll(label, 1), label, 0)) < 0.5


def test_psnr_by_hand() -> None:
    black, grey = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 51, np.uint8)
    assert _psnr_table(black, grey)[0, 0] == pytest.approx(-20 * np.log10(0.2))


def test_a_seed_gives_the_same_videos(model: EmoModel, reader: MouthReader, clips: dict[str, Clip]) -> None:
    one = {"4": clips["4"]}
    first, again, other = (generate(model, reader, one, FRAMES, steps=1, seed=seed)[0].frames for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_model_that_cannot_hear_has_no_sync_signal(
    model: EmoModel, reader: MouthReader, clips: dict[str, Clip]
) -> None:
    # Untrained audio layers give nothing: all voices denoise alike.
    result = sync_signal(model, clips, reader, windows=6, batch_size=4)
    assert result["relative_gain"] == pytest.approx(0, abs=1e-5)
    assert result == sync_signal(model, clips, reader, windows=6, batch_size=4)
    assert set(result["opening_correlation"]) == {"right", "wrong", "none"}


def test_a_model_that_hears_changes_the_losses(model: EmoModel, clips: dict[str, Clip]) -> None:
    before = model.backbone.audio_embedding.weight.detach().clone()
    try:
        torch.manual_seed(0)
        torch.nn.init.normal_(model.backbone.audio_embedding.weight)
        losses = sync_signal(model, clips, windows=3)["mouth_loss"]
    finally:
        model.backbone.audio_embedding.weight.data.copy_(before)
    assert len({round(value, 6) for value in losses.values()}) == 3


@pytest.mark.parametrize("quick", [True, False])
def test_clips_of_another_resolution_are_a_clear_error(quick: bool, model: EmoModel, reader: MouthReader) -> None:
    clips = {"large": make_clip(4, seconds=0.4, resolution=40)}
    call = (lambda: sync_signal(model, clips)) if quick else (lambda: generate(model, reader, clips, FRAMES))
    with pytest.raises(ValueError, match="clip large has 40 pixels a side, emo-test 32"):
        call()


def test_too_short_or_too_few_clips_are_a_clear_error(
    model: EmoModel, reader: MouthReader, clips: dict[str, Clip]
) -> None:
    with pytest.raises(ValueError, match="has 10 frames, 11 are needed"):
        generate(model, reader, clips, 11)
    with pytest.raises(ValueError, match="two clips or more"):
        report([perfect("4", clips["4"])], reader, {"4": clips["4"]}, 4)
    with pytest.raises(ValueError, match="second clip"):
        sync_signal(model, {"4": clips["4"]})


def test_the_command_line_names_what_is_missing(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [f"--model={tmp_path}", f"--reader={directory / 'reader'}", f"--data={tmp_path}", f"--out={tmp_path}"]
    assert main(missing) == 2
    assert "is no checkpoint" in capsys.readouterr().err
