"""Footage of generated speakers, whose truth is known, becomes training data."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from emo_rt.media.boxes import Box
from training import prepare, train
from training.clips.clip import TrainingClip
from training.clips.folder import load_clips
from training.clips.rotation import head_speed, rotation_matrix
from training.evaluation.metrics import correlation
from training.evaluation.reader import FaceReader
from training.footage.face_detector import Face, MediaPipeDetector, faces_of_landmarks, rotation_angles
from training.footage.timeline import UnreadableVideo, read_frames, read_sound
from training.footage.videos import Shot, find_videos, identity_of, is_held_out_person, read_annotations
from training.model.config import EmoConfig
from training.model.vae import VAE
from training.speakers.speaker import make_clip
from training.stages.data import ClipFolder, Weights

SECONDS = 1.0
LENGTH = 25
OPTIONS = ["--resolution", "32", "--seconds", str(SECONDS), "--detect-every", "6", "--held-out", "40"]


def write_video(
    path: Path,
    frames: np.ndarray,
    times: Sequence[float] | None = None,
    waveform: np.ndarray | None = None,
    sound_start: float = 0.0,
) -> Path:
    """RGB uint8 (t, h, w, 3) at ``times`` in seconds (default: 25 Hz) and 16 kHz sound, nearly without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(len(frames)) / 25 if times is None else times
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "1", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        audio = None
        if waveform is not None:
            codec = "pcm_s16le" if path.suffix == ".mkv" else "aac"
            audio = container.add_stream(codec, 16000, layout="mono")
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and waveform is not None:
            for begin in range(0, len(waveform), 1024):
                part = np.ascontiguousarray(waveform[None, begin : begin + 1024])
                kind = {"pcm_s16le": "s16", "aac": "fltp"}[codec]
                part = (part * 32767).astype(np.int16) if kind == "s16" else part.astype(np.float32)
                sound = av.AudioFrame.from_ndarray(part, format=kind, layout="mono")
                sound.sample_rate = 16000
                sound.pts, sound.time_base = begin + round(sound_start * 16000), Fraction(1, 16000)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def speakers() -> dict[str, TrainingClip]:
    """A good second of each, in which the head moves: no two frames are alike."""
    return {name: make_clip(seed, 1.2, 96) for name, seed in {"anna": 25, "ben": 10, "cleo": 9}.items()}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory, speakers: dict[str, TrainingClip]) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    anna, ben, cleo = speakers.values()
    write_video(folder / "anna" / "talk.mp4", anna.frames, waveform=anna.waveform)
    cut = np.concatenate([ben.frames[:28], cleo.frames[:10]])
    write_video(folder / "ben" / "cut.mp4", cut, waveform=np.tile(ben.waveform, 2)[: 38 * 640])
    write_video(folder / "cleo_0.mp4", cleo.frames)
    beside = np.concatenate([anna.frames, ben.frames], 2)
    write_video(folder / "two_1.mp4", beside, waveform=anna.waveform)
    hill = np.broadcast_to(np.linspace(40, 200, 96).astype(np.uint8)[None, :, None, None], (26, 96, 96, 3))
    write_video(folder / "hill.mp4", hill, waveform=anna.waveform)
    write_video(folder / "short.mp4", anna.frames[:10], waveform=anna.waveform)
    whole = (folder / "anna" / "talk.mp4").read_bytes()
    (folder / "cut_off.mp4").write_bytes(whole[: len(whole) * 3 // 5])
    (folder / "words.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def prepared(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    assert prepare.main([str(footage), str(out), *OPTIONS]) == 0
    return out


def report_of(out: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    return {line["video"]: line for line in lines if "video" in line}


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def the_clip(out: Path, video: str) -> TrainingClip:
    (name,) = report_of(out)[video]["clips"]  # type: ignore[misc]
    return TrainingClip.load(out / name)


def one_video(folder: Path, out: Path, *options: str) -> tuple[dict[str, object], list[TrainingClip]]:
    """Prepares a folder with a single video."""
    assert prepare.main([str(folder), str(out), *OPTIONS, *options]) == 0
    (line,) = report_of(out).values()
    return line, [TrainingClip.load(out / name) for name in line["clips"]]  # type: ignore[attr-defined]


def same_pictures(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each frame, the index of the truth's that it is most like."""
    small = torch.nn.functional.interpolate(
        torch.from_numpy(truth).movedim(-1, 1).float(), frames.shape[1:3], mode="area"
    ).movedim(1, -1)
    return ((torch.from_numpy(frames)[:, None].float() - small[None]) ** 2).flatten(2).mean(2).argmin(1).numpy()


def test_a_clip_shows_the_frames_and_gives_the_sound_of_its_second(
    prepared: Path, speakers: dict[str, TrainingClip]
) -> None:
    truth = speakers["anna"]
    clip = the_clip(prepared, "anna/talk.mp4")
    assert clip.frames.shape == (LENGTH, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (LENGTH * 640,)
    assert clip.waveform.dtype == np.float32
    np.testing.assert_array_equal(same_pictures(clip.frames, truth.frames), np.arange(LENGTH))
    lags = range(-64, 65)
    likeness = [correlation(np.roll(clip.waveform, lag)[64:-64], truth.waveform[:16000][64:-64]) for lag in lags]
    assert max(likeness) > 0.95
    assert abs(lags[int(np.argmax(likeness))]) <= 1  # of 16,000 a second


def test_boxes_are_where_the_face_and_the_mouth_are(prepared: Path, speakers: dict[str, TrainingClip]) -> None:
    truth, clip = speakers["anna"], the_clip(prepared, "anna/talk.mp4")
    np.testing.assert_allclose(clip.face_box, truth.face_box[:LENGTH] / 3, atol=3)
    corner, mouth = clip.mouth_box[:, :2], truth.mouth_box[:LENGTH] / 3
    assert (corner < mouth[:, :2]).mean() > 0.9
    assert (corner + clip.mouth_box[:, 2:] > mouth[:, :2] + mouth[:, 2:]).mean() >= 0.9


def test_what_footage_does_not_tell_is_absent(prepared: Path) -> None:
    (name,) = report_of(prepared)["anna/talk.mp4"]["clips"]  # type: ignore[misc]
    with np.load(prepared / name) as archive:
        assert set(archive) == {"frames", "waveform", "face_box", "mouth_box"}


def test_each_rejected_video_has_its_reason(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(prepared)
    assert set(report["hill.mp4"]["rejected"]) == {"no face", "end of a shot"}  # type: ignore[call-overload]
    assert set(report["two_1.mp4"]["rejected"]) == {"two faces", "end of a shot"}  # type: ignore[call-overload]
    assert report["short.mp4"]["rejected"] == {"too short": 0.4}
    for name in ("cut_off.mp4", "words.mp4"):
        assert report[name]["rejected"] == {"unreadable": 0.0}
        assert report[name]["error"]
    assert all(not report[name]["clips"] for name in ("hill.mp4", "two_1.mp4", "short.mp4", "cut_off.mp4", "words.mp4"))


def test_no_clip_goes_across_a_cut(prepared: Path, speakers: dict[str, TrainingClip]) -> None:
    outcome = report_of(prepared)["ben/cut.mp4"]
    # 28 frames, of which 25 make a clip, and 10 after the cut
    assert outcome["rejected"] == {"end of a shot": 0.12, "shot too short": 0.4}
    frames = the_clip(prepared, "ben/cut.mp4").frames
    np.testing.assert_array_equal(same_pictures(frames, speakers["ben"].frames), np.arange(LENGTH))


class TheSameFace:
    """Where a generated speaker's face is; quick."""

    def detect(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        return [Face(Box(0.25 * width, 0.3 * height, 0.5 * width, 0.5 * height))]


def test_identities_are_never_shared_between_the_splits(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_cached_tools", lambda _: prepare.Tools(TheSameFace()))
    frames = speakers["cleo"].frames[:26]
    names = ["a/1.mp4", "a/2.mp4", "WRA_RandPaul0_001.mp4", "RandPaul2_0.mp4", "RandPaul1.mp4", "zoe.mp4", "zoe_2.mp4"]
    for name in names:
        write_video(tmp_path / "in" / name, frames)
    assert prepare.main([str(tmp_path / "in"), str(tmp_path / "out"), *OPTIONS, "--held-out", "50"]) == 0
    report = report_of(tmp_path / "out")
    assert [report[name]["identity"] for name in names] == ["a", "a", *3 * ["RandPaul"], "zoe", "zoe"]
    splits: dict[object, set[object]] = {}
    for line in report.values():
        splits.setdefault(line["identity"], set()).add(line["split"])
        assert all(str(clip).startswith(f"{line['split']}/") for clip in line["clips"])  # type: ignore[attr-defined]
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "held-out"}


def test_the_share_held_out_is_the_one_asked_for_and_stays() -> None:
    names = [f"person {number}" for number in range(4000)]
    held_out = {percent: {name for name in names if is_held_out_person(name, percent)} for percent in (0, 10, 30, 100)}
    assert [len(found) for found in held_out.values()] == [
        0,
        pytest.approx(400, abs=80),
        pytest.approx(1200, abs=120),
        4000,
    ]
    assert held_out[10] < held_out[30]
    assert is_held_out_person("Radio", 17.0)
    assert not is_held_out_person("Radio", 16.0)


def test_names_tell_who_speaks(tmp_path: Path) -> None:
    names = {
        "anna.mp4": "anna",
        "anna_3.mp4": "anna",
        "WDA_BernieSanders_000.mp4": "BernieSanders",
        "AmyKlobuchar1_2.mp4": "AmyKlobuchar",
        "Radio34_9.mp4": "Radio",
        "LucilleRoybal-Allard.mp4": "LucilleRoybal-Allard",
        "Clip+_-91nXXjrVo+P0+C0+F1537-1825.mp4": "_-91nXXjrVo",
        "2024.mp4": "2024",
        "deep/er/1.mp4": "deep/er",
    }
    assert {name: identity_of(tmp_path / name, tmp_path) for name in names} == names


def test_what_is_finished_is_not_done_again(
    footage: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(prepared, tmp_path / "out")
    before = files_of(out)

    def never(*_: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(prepare, "prepare_video", never)
    assert prepare.main([str(footage), str(out), *OPTIONS]) == 0
    assert files_of(out) == before


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    footage: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, save, saved = tmp_path / "out", TrainingClip.save, []

    def stop(clip: TrainingClip, path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            path.with_name("half.npz.part").write_bytes(b"half")
            raise KeyboardInterrupt
        save(clip, path)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingClip, "save", stop)
        assert prepare.main([str(footage), str(out), *OPTIONS]) == 130
    assert list(report_of(out)) == ["anna/talk.mp4"]
    assert len(list(out.rglob("*.npz"))) == 1
    with (out / "report.jsonl").open("a") as file:
        file.write('{"video": "ben/cut.m')  # a line that was being written
    assert prepare.main([str(footage), str(out), *OPTIONS]) == 0
    assert files_of(out) == files_of(prepared)


def test_other_settings_are_refused_in_one_line(
    footage: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(prepared, tmp_path / "out")
    assert prepare.main([str(footage), str(out), *OPTIONS, "--held-out", "5"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--held-out 40.0, not 5.0" in error


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        ([], [], "no such folder"),
        (["in/"], [], "has no videos"),
        (["in/a.mp4"], ["--annotations", "in"], "neither HDTF's"),
        (["in/a.mp4"], ["--landmarker", "no.task"], "no.task: no such file"),
        (["in/a.mp4"], ["--reader", "in"], "reader.safetensors is missing"),
        (["in/a.mp4", "out"], [], "out"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(
    make: list[str],
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in make:
        Path("in").mkdir(exist_ok=True)
        if not name.endswith("/"):
            Path(name).write_text("")
    assert prepare.main(["in", "out", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("prepare: error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    "options",
    [["--seconds", "nan"], ["--resolution", "0"], ["--held-out", "101"], ["--detect-every", "0"], ["--workers", "0"]],
)
def test_impossible_options_are_refused(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        prepare.main([str(tmp_path), str(tmp_path / "out"), *options])
    assert error.value.code == 2


# Time


def rising(times: np.ndarray) -> np.ndarray:
    """Frames whose brightness is their time: 200 a second."""
    levels = (20 + 200 * times).round().astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(times), 32, 32, 3))


def times_at(rate: str) -> np.ndarray:
    if rate == "variable":
        steps = np.random.default_rng(0).uniform(0.012, 0.07, 24)
        return np.concatenate([[0], np.cumsum(steps)])
    return np.arange(0, 1, 1 / float(rate))


@pytest.mark.parametrize("rate", ["25", "30", "29.97", "60", "12.5", "variable"])
def test_frames_are_those_nearest_in_time(rate: str, tmp_path: Path) -> None:
    times = times_at(rate)
    frames = list(read_frames(write_video(tmp_path / "rising.mkv", rising(times), times)))
    shown = np.array([(frame.pixels.mean() - 20) / 200 for frame in frames])
    wanted = np.arange(len(frames)) / 25
    nearest = np.abs(times[None] - wanted[:, None]).min(1)
    assert times[-1] <= len(frames) / 25 <= times[-1] + 0.08 + 0.04
    assert (np.abs(shown - wanted) <= nearest + 0.012).all()
    assert not any(frame.stale for frame in frames)


def test_a_stretch_begins_and_ends_where_it_is_asked_to(tmp_path: Path) -> None:
    times = times_at("30")
    path = write_video(tmp_path / "rising.mp4", rising(times), times)
    shown = [(frame.pixels.mean() - 20) / 200 for frame in read_frames(path, 0.4, 0.8)]
    np.testing.assert_allclose(shown, 0.4 + np.arange(10) / 25, atol=0.025)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("late", [0.0, 0.2])
def test_a_flash_and_a_click_stay_together(suffix: str, late: float, tmp_path: Path) -> None:
    times = np.arange(0, 1.5, 1 / 30)
    frames = np.where(times[:, None, None, None] > 0.99, 220, 30).astype(np.uint8) * np.ones((1, 32, 32, 3), np.uint8)
    click = np.zeros(24000 - round(16000 * late), np.float32)
    click[16000 - round(16000 * late) :][:400] = 0.8
    path = write_video(tmp_path / f"flash{suffix}", frames, times, click, sound_start=late)
    bright = [frame.pixels.mean() > 128 for frame in read_frames(path)]
    sound = read_sound(path)
    assert sound is not None
    assert bright.index(True) == 25
    assert int(np.argmax(np.abs(sound) > 0.3)) == pytest.approx(16000, abs=80)  # 5 ms


def test_a_picture_that_stops_ends_the_shot(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    times = np.arange(29) / 25 + np.where(np.arange(29) < 27, 0, 1.0)
    write_video(tmp_path / "in" / "stops.mkv", speakers["anna"].frames[:29], times, speakers["anna"].waveform)
    line, (clip,) = one_video(tmp_path / "in", tmp_path / "out")
    assert line["rejected"]["picture stopped"] == pytest.approx(1 - 2 * 0.1, abs=0.09)  # type: ignore[index]
    np.testing.assert_array_equal(same_pictures(clip.frames, speakers["anna"].frames), np.arange(LENGTH))


def test_a_file_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "noise.mp4", np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableVideo):
        list(read_frames(path))


# What is rejected


def test_small_and_dark_faces_and_muted_sound(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    anna = speakers["anna"]
    write_video(tmp_path / "a" / "muted.mp4", anna.frames, waveform=0 * anna.waveform)
    line, (clip,) = one_video(tmp_path / "a", tmp_path / "1")
    assert not clip.knows("waveform")
    assert line["seconds_with_sound"] == 0
    line, clips = one_video(tmp_path / "a", tmp_path / "2", "--min-face", "60")
    assert line["rejected"]["face too small"] == 1.0  # type: ignore[index]
    write_video(tmp_path / "b" / "dark.mp4", (anna.frames * 0.1).astype(np.uint8), waveform=anna.waveform)
    line, clips = one_video(tmp_path / "b", tmp_path / "3")
    assert not clips
    assert line["rejected"]["too dark"] == 1.0  # type: ignore[index]


def test_the_crop_is_a_portraits_and_stays_for_a_shot(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    """A small head that wanders through a wide picture."""
    anna = make_clip(1, 2.04, 96)
    wide = np.full((51, 160, 280, 3), 90, np.uint8)
    for index, frame in enumerate(anna.frames):
        wide[index, 40:136, 60 + index // 3 : 156 + index // 3] = frame
    write_video(tmp_path / "in" / "wide.mp4", wide, waveform=anna.waveform)
    _, clips = one_video(tmp_path / "in", tmp_path / "out", "--resolution", "64")
    assert len(clips) == 2
    boxes = np.concatenate([clip.face_box for clip in clips])
    assert np.median(boxes[:, 2]) == pytest.approx(32, abs=2)  # half of the picture
    moved = boxes[-5:, 0].mean() - boxes[:5, 0].mean()
    truth = (anna.face_box[45:50, 0].mean() + 16 - anna.face_box[:5, 0].mean()) * 32 / anna.face_box[:, 2].mean()
    assert moved == pytest.approx(truth, abs=3)


# Annotations


def test_hdtfs_files_are_read_as_published(tmp_path: Path) -> None:
    (tmp_path / "RD_annotion_time.txt").write_text("Radio1.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 01:30-02:30 \n")
    (tmp_path / "RD_crop_wh.txt").write_text("Radio11_0.mp4 412 599 0 590\nRadio11_1.mp4 557 478 3 478\n")
    (tmp_path / "RD_resolution.txt").write_text("Radio11.mp4 720\n")
    (tmp_path / "RD_video_url.txt").write_text("Radio1 https://example.org\n")
    (tmp_path / "WRA_annotion_time.txt").write_text("JeffFlake.mp4 01:00:05-01:00:10\n")
    assert read_annotations(tmp_path) == {
        "Radio1": (Shot(20, 95),),
        "Radio11": (Shot(30, 60, Box(412, 0, 599, 590), 720), Shot(90, 150, Box(557, 3, 478, 478), 720)),
        "JeffFlake": (Shot(3605, 3610),),
    }
    (tmp_path / "WRA_annotion_time.txt").write_text("JeffFlake.mp4 soon\n")
    with pytest.raises(ValueError, match=r"WRA_annotion_time.txt: JeffFlake.mp4 is not as HDTF"):
        read_annotations(tmp_path)


def test_vfhqs_files_are_read_as_published(tmp_path: Path) -> None:
    text = "FPS 25.0\nH 720\nW 1280\nCROP 100 50 500 470\n"
    (tmp_path / "Clip+a+b_-9+P0+C1+F99-201.txt").write_text(text)
    (tmp_path / "Clip+a+b_-9+P0+C0+F9-31.txt").write_text(text.replace(" ", ": ", 1))
    crop = Box(100, 50, 400, 420)
    assert read_annotations(tmp_path) == {"a+b_-9": (Shot(0.4, 1.2, crop, 720), Shot(4.0, 8.0, crop, 720))}
    (tmp_path / "Clip+c+P0+C0+F9-31.txt").write_text("FPS 25.0\n")
    with pytest.raises(ValueError, match=r"C0\+F9-31.txt is not as VFHQ"):
        read_annotations(tmp_path)


def test_annotations_give_the_shots_and_the_crops(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    anna, ben = speakers["anna"], speakers["ben"]
    beside = np.concatenate([anna.frames, ben.frames], 2)  # rejected without a crop
    write_video(tmp_path / "in" / "WDA_Ben1.mp4", np.tile(beside, (4, 1, 1, 1)), waveform=np.tile(ben.waveform, 4))
    write_video(tmp_path / "in" / "Carl.mp4", anna.frames)
    (tmp_path / "WDA_annotion_time.txt").write_text("Ben1.mp4 00:02-00:03 00:01-00:02\n")
    (tmp_path / "WDA_crop_wh.txt").write_text("Ben1_0.mp4 192 192 0 192\nBen1_1.mp4 1000 192 0 192\n")
    (tmp_path / "WDA_resolution.txt").write_text("Ben1.mp4 192\n")  # twice the size of the file
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), *OPTIONS, "--annotations", str(tmp_path)]
    assert prepare.main(arguments) == 0
    report = report_of(tmp_path / "out")
    assert report["Carl.mp4"]["rejected"] == {"not annotated": 0.0}
    outcome = report["WDA_Ben1.mp4"]
    assert outcome["identity"] == "Ben"
    assert set(outcome["rejected"]) == {"crop outside the picture"}  # type: ignore[call-overload]
    clip = the_clip(tmp_path / "out", "WDA_Ben1.mp4")
    shown = (50 + np.arange(LENGTH)) % 30
    np.testing.assert_array_equal(same_pictures(clip.frames, ben.frames), shown)
    heard = np.tile(ben.waveform, 4)[32000:48000]
    assert correlation(clip.waveform, heard) > 0.95


# Detectors and rotation


def test_angles_undo_the_scenes_rotation_matrix() -> None:
    angles = torch.tensor([[20.0, -12.0, 7.0], [-35.0, 15.0, -20.0]], dtype=torch.float64)
    for wanted, matrix in zip(angles.numpy(), rotation_matrix(angles).numpy(), strict=True):
        np.testing.assert_allclose(rotation_angles(3.0 * matrix), wanted, atol=1e-9)


def test_landmarks_give_boxes_and_rotation() -> None:
    """MediaPipe's space has y up: what turns its head down is a positive pitch of ours."""
    places = np.full((478, 2), 0.5)
    places[[10, 152, 234, 454]] = [[0.5, 0.2], [0.5, 0.8], [0.3, 0.5], [0.7, 0.5]]
    places[[61, 291, 0, 17]] = [[0.45, 0.65], [0.55, 0.65], [0.5, 0.6], [0.5, 0.7]]
    lips = [146, 91, 181, 84, 314, 405, 321, 375, 185, 40, 39, 37, 267, 269, 270, 409]
    places[lips] = [0.5, 0.65]
    down = np.eye(4)
    cosine, sine = np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10))
    down[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]  # z, towards the viewer, turns to -y
    small = [SimpleNamespace(x=0.1 + 0.01 * x, y=0.1 + 0.01 * y) for x, y in places]
    large = [SimpleNamespace(x=x, y=y) for x, y in places]
    result = SimpleNamespace(face_landmarks=[small, large], facial_transformation_matrixes=[np.eye(4), down])
    first, second = faces_of_landmarks(result, 200, 100)
    assert first.mouth_box is not None
    assert first.rotation is not None
    np.testing.assert_allclose([first.box.x, first.box.y, first.box.width, first.box.height], [60, 20, 80, 60])
    mouth = first.mouth_box
    np.testing.assert_allclose([mouth.x, mouth.y, mouth.width, mouth.height], [90, 60, 20, 10])
    np.testing.assert_allclose(first.rotation, [0, 10, 0], atol=1e-6)
    assert second.box.width < 1


def test_the_package_is_named_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "face.task").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    with pytest.raises(ValueError, match="--landmarker needs the package mediapipe"):
        MediaPipeDetector(tmp_path / "face.task")


class TurningHead(TheSameFace):
    """Says what a landmarker would, of a head that turns by a degree a frame."""

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        (face, *_) = super().detect(image)
        self.frames += 1
        mouth = Box(face.box.x + 14, face.box.y + 34, 20, 10)
        return [replace(face, mouth_box=mouth, rotation=np.array([float(self.frames), 0, 0]))]


def test_a_detector_that_knows_more_is_believed(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_cached_tools", lambda _: prepare.Tools(TurningHead()))
    write_video(tmp_path / "in" / "anna.mp4", speakers["anna"].frames, waveform=speakers["anna"].waveform)
    line, (clip,) = one_video(tmp_path / "in", tmp_path / "out", "--detect-every", "1")
    np.testing.assert_allclose(clip.head_speed, 1, atol=1e-4)
    np.testing.assert_allclose(clip.rotation[:, 0], 1 + np.arange(LENGTH), atol=1e-4)
    np.testing.assert_allclose(clip.mouth_box[:, 2:], np.full((LENGTH, 2), [20 / 3, 10 / 3]), atol=1e-4)
    assert line["seconds_with_rotation"] == 1.0
    assert ClipFolder(
        tmp_path / "out" / str(line["split"]), EmoConfig.from_name("emo-test"), needs=("head_speed",)
    ).clips


class Passing:
    """Sees a face where ``x`` (t,) says, in widths of the picture; none where that is NaN."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = iter(x)

    def detect(self, image: np.ndarray) -> list[Face]:
        x, (height, width) = next(self.x), image.shape[:2]
        return [] if np.isnan(x) else [Face(Box(x * width, 0.3 * height, 0.5 * height, 0.5 * height))]


def test_what_is_missed_or_mistaken_is_put_in_between(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = np.linspace(0.2, 0.3, LENGTH)
    seen = path.copy()
    seen[[7, 20]], seen[12] = np.nan, 0.9
    monkeypatch.setattr(prepare, "_cached_tools", lambda _: prepare.Tools(Passing(seen)))
    write_video(tmp_path / "in" / "anna.mp4", speakers["anna"].frames[:LENGTH])
    _, (clip,) = one_video(tmp_path / "in", tmp_path / "out", "--detect-every", "1")
    np.testing.assert_allclose(clip.face_box[:, 0], 32 * path, atol=1e-3)
    seen[[8, 9]] = np.nan
    monkeypatch.setattr(prepare, "_cached_tools", lambda _: prepare.Tools(Passing(seen)))
    line, _ = one_video(tmp_path / "in", tmp_path / "again", "--detect-every", "1")
    assert line["rejected"] == {"no face": 1.0}


def test_a_face_that_leaves_the_crop_makes_no_clip(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = np.concatenate([np.full(LENGTH, 0.4), np.linspace(0.4, 0.8, LENGTH), np.full(LENGTH, 0.4)])
    monkeypatch.setattr(prepare, "_cached_tools", lambda _: prepare.Tools(Passing(seen)))
    wide = np.full((3 * LENGTH, 64, 192, 3), 128, np.uint8)
    write_video(tmp_path / "in" / "wide.mp4", wide)
    line, _ = one_video(tmp_path / "in", tmp_path / "out", "--detect-every", "1")
    assert line["rejected"] == {"face leaves the crop": 1.0}
    assert [str(name)[-10:-4] for name in line["clips"]] == ["000000", "000050"]  # type: ignore[attr-defined]


# Training


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(EmoConfig.from_name("emo-test")).eval()


def test_videos_are_drawn_from_clips_with_sound_alone(prepared: Path, vae: VAE, tmp_path: Path) -> None:
    """Of ben with sound and cleo without."""
    folder = shutil.copytree(prepared / "train", tmp_path / "train")
    clips = ClipFolder(folder, vae_config(), vae)
    assert [clip.knows("waveform") for clip in clips.clips] == [False, True]
    first, second = (set(map(hash_of, latents)) for latents in clips.latents)
    images = clips.images(np.random.default_rng(0), 32, weights=Weights(mouth=2))
    drawn = {hash_of(image[0]) for image in images.latents.half()}
    assert drawn & first
    assert drawn & second
    videos = clips.videos(
        np.random.default_rng(0), 32, weights=Weights(mouth=2), still=0.5, first_clips=0.5, before=True
    )
    assert {hash_of(image) for image in videos.latents.half().flatten(0, 1)} <= second
    assert videos.waveform is not None
    assert videos.head_speed is None


def vae_config() -> EmoConfig:
    return EmoConfig.from_name("emo-test")


def hash_of(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()


def train_one_step(stage: str, data: Path, out: Path) -> int:
    options = ["--config", "emo-test", "--steps", "1", "--device", "cpu", "--threads", "1"]
    return train.main(["--stage", stage, "--data", str(data), "--out", str(out), *options])


@pytest.mark.parametrize("stage", ["vae", "image", "video"])
def test_footage_trains(stage: str, prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared / "train", tmp_path / "train")
    assert train_one_step(stage, folder, tmp_path / "out") == 0
    assert (tmp_path / "out" / "state.pt").exists()


@pytest.mark.parametrize(("stage", "cure"), [("speed", "--landmarker or --reader"), ("audio", "training.corpus")])
def test_stages_that_footage_cannot_train_say_so(
    stage: str, cure: str, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(prepared / "held-out", tmp_path / "held-out")
    assert train_one_step(stage, folder, tmp_path / "out") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "talk-7442d415-000000.npz has no" in line
    assert cure in line


def test_footage_without_sound_trains_no_video(prepared: Path, tmp_path: Path, vae: VAE) -> None:
    (silent,) = (prepared / "train").glob("cleo*.npz")
    shutil.copy(silent, tmp_path)
    with pytest.raises(ValueError, match=r"cleo_0.*npz has no waveform: only the image stage"):
        ClipFolder(tmp_path, vae_config(), vae, needs=train.NEEDS["video"])
    with pytest.raises(ValueError, match="no clip has a voice"):
        ClipFolder(tmp_path, vae_config(), vae).videos(np.random.default_rng(0), 1, weights=Weights())


def test_generated_and_real_clips_mix(prepared: Path, tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    folder = shutil.copytree(prepared / "train", tmp_path / "train")
    make_clip(9, 1.0, 32).save(folder / "generated.npz")
    needs = {stage: len(ClipFolder(folder, vae_config(), needs=names).clips) for stage, names in train.NEEDS.items()}
    assert needs == {"audio": 1, "video": 2, "speed": 1}


def test_a_reader_turns_pictures_into_rotation(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    reader = FaceReader().eval()
    monkeypatch.setattr(prepare, "_cached_tools", lambda _: prepare.Tools(TheSameFace(), reader))
    write_video(tmp_path / "in" / "anna.mp4", speakers["anna"].frames, waveform=speakers["anna"].waveform)
    line, (clip,) = one_video(tmp_path / "in", tmp_path / "out")
    read = reader.read(clip.frames).rotation
    np.testing.assert_allclose(clip.rotation[10], read[8:13].mean(0), rtol=1e-4)  # smoothed
    np.testing.assert_allclose(clip.head_speed, head_speed(clip.rotation), rtol=1e-3, atol=1e-4)
    assert clip.rotation.shape == (LENGTH, 3)
    assert clip.head_speed.shape == (LENGTH,)
    assert line["seconds_with_rotation"] == 1.0
    assert train_one_step("speed", tmp_path / "out" / str(line["split"]), tmp_path / "speed") == 0


def test_measuring_lip_sync_needs_labels(prepared: Path) -> None:
    with pytest.raises(ValueError, match=r"talk-7442d415-000000.npz has no mouth_opening: footage has no such labels"):
        load_clips(prepared / "held-out")


def test_videos_are_found_in_order_whatever_their_case(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/c.webm", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [video.name for video in find_videos(tmp_path)] == ["a/c.webm", "b.MP4"]
