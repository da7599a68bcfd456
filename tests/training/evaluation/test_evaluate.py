"""Evaluation: an untrained model runs through it, and what it measures is what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip, portrait_of
from training.evaluate import main
from training.evaluation.experiments import REGION_SCALES, endurance, region_response, speed_response
from training.evaluation.generator import Generator
from training.evaluation.metrics import wandering
from training.evaluation.reader import FaceReader, Reading
from training.evaluation.sync import EvaluatedVideo, Gallery, generate, sync_report
from training.evaluation.sync_signal import sync_signal
from training.evaluation.thresholds import threshold_table, thresholds
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.speakers.speaker import make_clip

FRAMES = 6


@pytest.fixture(scope="module")
def clips() -> dict[str, TrainingClip]:
    return {str(seed): make_clip(seed, seconds=0.4, resolution=32) for seed in (4, 17, 33)}


@pytest.fixture(scope="module")
def model() -> EmoModel:
    torch.manual_seed(0)
    model = EmoModel(EmoConfig.from_name("emo-test")).eval()
    # Its last layer begins at zero, with which every video would be the portrait.
    torch.nn.init.normal_(model.backbone.conv_out.weight, std=0.1)
    return model


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    torch.manual_seed(0)
    return FaceReader().eval()


@pytest.fixture(scope="module")
def directory(
    tmp_path_factory: pytest.TempPathFactory, model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> Path:
    """Holds a checkpoint, a reader and clips."""
    root = tmp_path_factory.mktemp("evaluate")
    model.save(root / "model")
    reader.save(root / "reader")
    told = {"test": {"renders": {"opening_correlation": 0.99}}}
    (root / "reader" / "reader.json").write_text(json.dumps(told))
    (root / "clips").mkdir()
    for name, clip in clips.items():
        clip.save(root / "clips" / f"{name}.npz")
    return root


def one_of(count: int, person: int, frames: int) -> np.ndarray:
    """The identity of a person among ``count`` who have nothing in common."""
    return np.tile(np.eye(count, dtype=np.float32)[person], (frames, 1))


GALLERY = Gallery(("4", "17", "33"), np.eye(3, dtype=np.float32))


def perfect(name: str, clip: TrainingClip) -> EvaluatedVideo:
    """What a model that repeats the truth would give, read by a reader that knows it."""
    centre = (clip.face_box[:, :2] + clip.face_box[:, 2:] / 2) / clip.frames.shape[1]
    identity = one_of(3, GALLERY.names.index(name), len(clip.frames))
    reading = Reading(clip.mouth_opening, clip.mouth_width, clip.blink, clip.rotation, centre, identity)
    portrait, box = portrait_of(clip)
    return EvaluatedVideo(name, portrait, box, clip, clip.frames, reading, reading)


class Told:
    """In the place of a generator: gives frames of 32 x 32 that tell ``Taught`` what to read."""

    def __init__(self, model: EmoModel) -> None:
        self.model = model
        self.calls: list[tuple[Box, np.ndarray, int, float]] = []

    def __call__(
        self, portrait: np.ndarray, face_box: Box, waveform: np.ndarray, frames: int, *, seed: int, speed: float
    ) -> np.ndarray:
        self.calls.append((face_box, waveform, seed, speed))
        return np.full((frames, 32, 32, 3), len(self.calls) - 1, np.uint8)


class Taught(FaceReader):
    """Reads the ``answer`` to the call of ``Told`` that a frame tells of; renders are read as still faces."""

    def __init__(self, answer: Callable[[int, int], Reading]) -> None:
        super().__init__()
        self.answer = answer

    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        return self.answer(int(frames[0, 0, 0, 0]) if np.ptp(frames) == 0 else -1, len(frames))


def still(frames: int) -> Reading:
    zero, identity = np.zeros(frames), one_of(3, 0, frames)
    return Reading(zero, zero, zero, np.zeros((frames, 3)), np.full((frames, 2), 0.5), identity)


def test_the_command_line_writes_its_files_and_goes_on_where_it_stopped(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [f"--model={directory / 'model'}", f"--reader={directory / 'reader'}", f"--data={directory / 'clips'}"]
    places += [f"--family-data={directory / 'clips'}", f"--out={tmp_path}"]
    options = ["--videos=2", f"--seconds={FRAMES / 25}", "--steps=1", "--speed=0.25"]
    options += ["--family-videos=1", "--speed-videos=1", "--region-videos=1", "--long-videos=1", "--long-seconds=0.48"]
    assert main([*places, *options]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    printed = capsys.readouterr().out
    assert threshold_table(thresholds(result)) in printed
    assert "not measured" not in threshold_table([bar for bar in thresholds(result) if "borders" not in bar.what])
    assert "a trial, no verdict" in printed
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
    # The second time nothing is generated.
    monkeypatch.setattr("training.model.pipeline.EmoPipeline.__call__", None)
    assert main([*places, *options]) == 0
    again = json.loads((tmp_path / "evaluation.json").read_text())
    assert again | {"seconds": 0} == result | {"seconds": 0}


def test_experiments_can_be_left_out(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"--model={directory / 'model'}", f"--reader={directory / 'reader'}", f"--data={directory / 'clips'}"]
    options = ["--videos=1", f"--seconds={FRAMES / 25}", "--steps=1", "--no-experiments", f"--out={tmp_path}"]
    assert main([*places, *options]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert not {"voice_family", "speeds", "regions", "long"} & set(result)
    assert sum(bar["passed"] is None for bar in result["bars"]) >= 6


def test_a_reader_that_is_not_good_enough_does_not_judge(
    directory: Path, reader: FaceReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.save(tmp_path)
    (tmp_path / "reader.json").write_text(json.dumps({"test": {"renders": {"opening_correlation": 0.9}}}))
    places = [f"--model={directory / 'model'}", f"--reader={tmp_path}", f"--data={directory / 'clips'}"]
    assert main([*places, f"--out={tmp_path / 'out'}"]) == 2
    assert "not good enough to judge" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_video_is_kept_until_anything_that_it_follows_from_changes(
    model: EmoModel, clips: dict[str, TrainingClip], tmp_path: Path
) -> None:
    clip = clips["4"]
    portrait, box = portrait_of(clip)
    arguments = (portrait, box, clip.waveform, FRAMES)
    kept = Generator(model, steps=1, directory=tmp_path)
    first = kept(*arguments, seed=0, speed=0.5)
    np.testing.assert_array_equal(first, kept(*arguments, seed=0, speed=0.5))
    np.testing.assert_array_equal(first, Generator(model, steps=1)(*arguments, seed=0, speed=0.5))
    assert len(list(tmp_path.iterdir())) == 1
    kept(*arguments, seed=1, speed=0.5)
    kept(*arguments, seed=0, speed=1.0)
    kept(portrait, replace(box, x=box.x + 1), clip.waveform, FRAMES, seed=0, speed=0.5)
    kept(portrait, box, clip.waveform / 2, FRAMES, seed=0, speed=0.5)
    Generator(model, steps=2, directory=tmp_path)(*arguments, seed=0, speed=0.5)
    other = EmoModel(model.config).eval()
    Generator(other, steps=1, directory=tmp_path)(*arguments, seed=0, speed=0.5)
    assert len(list(tmp_path.iterdir())) == 7


def test_the_quick_signal_takes_the_bundled_reader(directory: Path, tmp_path: Path) -> None:
    places = [f"--model={directory / 'model'}", f"--data={directory / 'clips'}", f"--out={tmp_path}"]
    assert main([*places, "--quick", "--windows=5"]) == 0
    result = json.loads((tmp_path / "quick.json").read_text())
    assert set(result["mouth_loss"]) == {"right", "wrong", "none"}
    assert set(result["opening_correlation"]) == {"right", "wrong", "none"}
    assert result["reader_accuracy"]["opening_correlation"] > 0.99
    assert not (tmp_path / "evaluation.json").exists()


def test_the_truth_scores_one_and_other_sentences_do_not(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    result = sync_report([perfect(name, clip) for name, clip in clips.items()], model, reader, clips, GALLERY)
    assert result["opening"]["correlation"] == pytest.approx(1)
    assert result["opening"]["deviation_ratio"] == pytest.approx(1)
    assert result["opening"]["best_lag"] == 0
    assert result["opening"]["control"] < 0.95
    assert result["opening"]["share_above_control"] == 1
    assert result["picture"]["nearest_frame_psnr"] == pytest.approx(100)
    assert result["head_speed"]["generated"] == result["head_speed"]["of_renders"]
    assert result["identity"]["nearest"] == 1
    assert result["identity"]["chance"] == pytest.approx(1 / 3)
    assert result["face_in_region"]["share"] == 1
    assert result["blinks_per_minute"]["generated"] == result["blinks_per_minute"]["of_renders"]
    for groups in ("by_language", "by_style", "by_sound"):
        assert sum(group["videos"] for group in result[groups].values()) == 3
    assert set(result["by_language"]) <= {"known", "unknown"}
    passed = {bar.what: bar.passed for bar in thresholds(result)}
    assert passed["portrait is the nearest of 3"]
    assert passed["face centre in the face region"]


def test_permuted_people_who_left_their_place_fail(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    videos = [perfect(name, clip) for name, clip in clips.items()]
    wrong = [
        replace(video, reading=replace(video.reading, identity=other.reading.identity, face_centre=np.ones((10, 2))))
        for video, other in zip(videos, [*videos[1:], videos[0]], strict=True)
    ]
    result = sync_report(wrong, model, reader, clips, GALLERY)
    assert result["identity"]["nearest"] == result["face_in_region"]["share"] == 0
    assert result["identity"]["nearest_of_renders"] == 1
    passed = {bar.what: bar.passed for bar in thresholds(result)}
    assert passed["portrait is the nearest of 3"] is False
    assert passed["face centre in the face region"] is False


def test_a_mouth_that_never_moves_scores_zero(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    video = perfect("4", clips["4"])
    closed = replace(video.reading, mouth_opening=np.full_like(video.reading.mouth_opening, 0.3))
    result = sync_report([replace(video, reading=closed)], model, reader, clips, GALLERY)
    assert result["opening"]["correlation"] == result["opening"]["control"] == 0
    assert result["opening"]["deviation_ratio"] == pytest.approx(0, abs=1e-6)
    assert "NaN" not in json.dumps(result)


def test_heads_as_fast_as_asked_follow_the_speed_and_still_ones_do_not(
    model: EmoModel, clips: dict[str, TrainingClip]
) -> None:
    speeds = model.config.speed_centers
    some = {name: clips[name] for name in ("4", "17")}

    def turning(call: int, frames: int) -> Reading:
        clip = clips[("4", "17")[call % 2]]
        yaw = np.outer(speeds[call // 2] * np.arange(frames), [1.0, 0.0, 0.0])
        opening = np.roll(clip.mouth_opening, 1)  # as well at all speeds
        return still(frames) if call < 0 else replace(still(frames), rotation=yaw, mouth_opening=opening)

    result = speed_response(told := Told(model), Taught(turning), some, 10, seed=3)  # type: ignore[arg-type]
    assert result["rank_correlation"] == pytest.approx(1)
    assert result["measured"] == pytest.approx(list(speeds), rel=1e-3, abs=1e-3)
    assert result["sync_range"] == 0
    assert [call[2:] for call in told.calls[:4]] == [(3, speeds[0]), (4, speeds[0]), (3, speeds[1]), (4, speeds[1])]
    lazy = speed_response(Told(model), Taught(lambda call, frames: still(frames)), some, 10, seed=3)  # type: ignore[arg-type]
    assert lazy["rank_correlation"] == 0

    def hardly(call: int, frames: int) -> Reading:
        """Follows, but by less than people differ."""
        fast, minds = (0.3, 0.9)[call % 2], 0.001 * (call // 2)
        return replace(still(frames), rotation=np.outer((fast + minds) * np.arange(frames), [1.0, 0.0, 0.0]))

    assert speed_response(Told(model), Taught(hardly), some, 10, seed=3)["rank_correlation"] < 0.5  # type: ignore[arg-type]

    def distracted(call: int, frames: int) -> Reading:
        return turning(call, frames) if call < 2 else replace(turning(call, frames), mouth_opening=np.zeros(frames))

    assert speed_response(Told(model), Taught(distracted), some, 10, seed=3)["sync_range"] > 0.3  # type: ignore[arg-type]


def test_a_face_that_uses_its_region_wanders_further_in_a_large_one(
    model: EmoModel, clips: dict[str, TrainingClip]
) -> None:
    places = np.random.default_rng(0).random((FRAMES, 2))
    told = Told(model)

    def wandered(call: int, frames: int) -> Reading:
        return replace(still(frames), face_centre=told.calls[call][0].width / 32 * places)

    result = region_response(told, Taught(wandered), clips, FRAMES, seed=0)  # type: ignore[arg-type]
    small, large = told.calls[0][0], told.calls[len(clips)][0]
    assert large.width / small.width == pytest.approx(REGION_SCALES[1] / REGION_SCALES[0])
    assert large.x + large.width / 2 == pytest.approx(small.x + small.width / 2)
    assert large.y + large.height / 2 == pytest.approx(small.y + small.height / 2)
    assert 0 < result["small"] < result["large"]
    assert result["large"] == pytest.approx(
        np.mean([wandering(call[0].width / 32 * places) for call in told.calls[len(clips) :]])
    )


def test_a_long_video_that_falls_apart_shows_it(model: EmoModel, clips: dict[str, TrainingClip]) -> None:
    told, frames = Told(model), 60
    opening = np.concatenate([clip.mouth_opening for clip in clips.values()] * 2)
    opening[-10:] = opening[:10]

    def read(identity: np.ndarray, end: float) -> Callable[[int, int], Reading]:
        says = opening.copy()
        says[-10:] *= end
        return lambda call, frames: replace(still(frames), mouth_opening=says, identity=identity)

    own = one_of(3, 0, frames)
    well = endurance(told, Taught(read(own, 1)), clips, GALLERY, frames, people=1, speed=0.5, seed=0)  # type: ignore[arg-type]
    assert well["identity_first"] == well["identity_last"] == 1
    assert well["sync_first"] == well["sync_last"] == pytest.approx(1)
    assert well["colour_drift"] == 0
    voice = told.calls[0][1]
    assert len(voice) == frames * 640
    np.testing.assert_array_equal(voice[: 10 * 640], voice[-10 * 640 :])
    np.testing.assert_array_equal(voice[: len(clips["4"].waveform)], clips["4"].waveform)
    mistaken = np.concatenate([own[:50], one_of(3, 1, 10)])
    badly = endurance(Told(model), Taught(read(mistaken, 0)), clips, GALLERY, frames, people=1, speed=0.5, seed=0)  # type: ignore[arg-type]
    assert (badly["identity_first"], badly["identity_last"], badly["sync_last"]) == (1, 0, 0)


def test_a_seed_gives_the_same_videos(model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]) -> None:
    one = {"4": clips["4"]}
    first, again, other = (
        generate(Generator(model, steps=1), reader, one, FRAMES, seed=seed, speed=0.5)[0].frames for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_model_that_cannot_hear_has_no_sync_signal(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    # Untrained audio layers give nothing: all voices denoise alike.
    result = sync_signal(model, clips, reader, windows=6, batch_size=4)
    assert result["relative_gain"] == pytest.approx(0, abs=1e-5)
    assert result == sync_signal(model, clips, reader, windows=6, batch_size=4)
    assert set(result["opening_correlation"]) == {"right", "wrong", "none"}


def test_a_model_that_hears_changes_the_losses(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    before = model.backbone.audio_embedding.weight.detach().clone()
    try:
        torch.manual_seed(0)
        torch.nn.init.normal_(model.backbone.audio_embedding.weight)
        losses = sync_signal(model, clips, reader, windows=3)["mouth_loss"]
    finally:
        model.backbone.audio_embedding.weight.data.copy_(before)
    assert len({round(value, 6) for value in losses.values()}) == 3


@pytest.mark.parametrize("quick", [True, False])
def test_clips_of_another_resolution_are_a_clear_error(quick: bool, model: EmoModel, reader: FaceReader) -> None:
    clips = {"large": make_clip(4, seconds=0.4, resolution=40)}
    call = (
        (lambda: sync_signal(model, clips, reader))
        if quick
        else (lambda: generate(Generator(model), reader, clips, FRAMES, speed=0.5))
    )
    with pytest.raises(ValueError, match="clip large has 40 pixels a side, emo-test 32"):
        call()


def test_too_short_or_too_few_clips_are_a_clear_error(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    with pytest.raises(ValueError, match="has 10 frames, 11 are needed"):
        generate(Generator(model), reader, clips, 11, speed=0.5)
    with pytest.raises(ValueError, match="two clips or more"):
        sync_report([perfect("4", clips["4"])], model, reader, {"4": clips["4"]}, GALLERY)
    with pytest.raises(ValueError, match="second clip"):
        sync_signal(model, {"4": clips["4"]}, reader)


def test_the_command_line_names_what_is_missing(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [f"--model={tmp_path}", f"--reader={directory / 'reader'}", f"--data={tmp_path}", f"--out={tmp_path}"]
    assert main(missing) == 2
    assert "is no checkpoint" in capsys.readouterr().err


def test_every_bar_has_a_value_that_clears_it_and_one_that_does_not() -> None:
    good = {
        "opening": {"best_lag_correlation": 0.85, "best_lag": 1, "control_best_lag": 0.15},
        "lips_closed_on_p_b_m": {"share": 0.9, "control": 0.5, "on_renders": 1.0},
        "voice_family": {"opening": {"best_lag_correlation": 0.7, "best_lag": 0, "control_best_lag": 0.15}},
        "identity": {"people": 100, "nearest": 0.95, "nearest_of_renders": 1.0, "chance": 0.01},
        "speeds": {"rank_correlation": 0.9, "sync_range": 0.05, "measured": [0.0, 4.0], "sync": [0.8, 0.85]},
        "face_in_region": {"share": 0.99, "of_renders": 1.0},
        "regions": {"small": 0.01, "large": 0.02},
        "borders_over_inside": {"generated": 1.2, "of_renders": 1.0},
        "long": {"identity_first": 1.0, "identity_last": 0.98, "sync_first": 0.85, "sync_last": 0.9, "colour_drift": 2},
        "blinks_per_minute": {"generated": 5, "of_renders": 20},
    }
    bad = {
        "opening": {"best_lag_correlation": 0.9, "best_lag": 1, "control_best_lag": 0.16},  # the control fails
        "lips_closed_on_p_b_m": {"share": 0.89, "control": 0.5, "on_renders": 1.0},
        "voice_family": {"opening": {"best_lag_correlation": 0.69, "best_lag": 0, "control_best_lag": 0.1}},
        "identity": {"people": 100, "nearest": 0.94, "nearest_of_renders": 1.0, "chance": 0.01},
        "speeds": {"rank_correlation": 0.89, "sync_range": 0.06, "measured": [0.0, 4.0], "sync": [0.8, 0.86]},
        "face_in_region": {"share": 0.98, "of_renders": 1.0},
        "regions": {"small": 0.02, "large": 0.02},
        "borders_over_inside": {"generated": 1.21, "of_renders": 1.0},
        "long": {"identity_first": 1, "identity_last": 0.96, "sync_first": 0.9, "sync_last": 0.86, "colour_drift": 2.1},
        "blinks_per_minute": {"generated": 41, "of_renders": 20},
    }
    assert [bar.passed for bar in thresholds(good)] == [True] * 13
    assert [bar.passed for bar in thresholds(bad)] == [False] * 13
    left_out = {
        name: value for name, value in good.items() if name not in ("voice_family", "speeds", "regions", "long")
    }
    assert sum(bar.passed is None for bar in thresholds(left_out)) == 7
    assert "FAIL" in threshold_table(thresholds(bad))
    assert "FAIL" not in threshold_table(thresholds(good))
