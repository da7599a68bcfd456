"""The command line, from real files to a real video."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from samples import drawn_face, read_video, tones, write_sound

from emo_rt import run
from emo_rt.bundle import Bundle, file_sha256
from emo_rt.errors import InputError
from emo_rt.jobs.job import Job
from emo_rt.jobs.timing import Timing
from emo_rt.planning.cost_cache import cache_file


def command(bundle: Path, image: Path, audio: Path, out: Path, *more: str) -> list[str]:
    files = ["--bundle", bundle, "--image", image, "--audio", audio, "--out", out]
    return [*map(str, files), "--threads", "1", "--backend", "onnxruntime", *more]


def test_a_portrait_and_a_voice_become_a_video(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "talk.mp4"
    assert run.main(command(bundle, portrait, voice, out)) == 0
    assert "26 frames, 1.04 s of video in" in capsys.readouterr().out
    video = read_video(out)
    assert video["frames"].shape == (26, 32, 32, 3)
    assert video["video_seconds"] == pytest.approx(1.04)
    assert abs(video["audio_seconds"] - 1.04) < 0.04
    assert [path.name for path in out.parent.iterdir()] == ["talk.mp4"]


def test_the_same_seed_writes_the_same_file(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.mp4", "two.mp4", "other.mp4")]
    for out, seed in zip(files, ("3", "3", "4"), strict=True):
        assert run.main(command(bundle, portrait, voice, out, "--seed", seed)) == 0
    one, two, other = (read_video(path) for path in files)
    np.testing.assert_array_equal(one["frames"], two["frames"])
    np.testing.assert_array_equal(one["sound"], two["sound"])
    assert not np.array_equal(one["frames"], other["frames"])


@pytest.mark.parametrize(
    ("seconds", "level", "rate", "codec", "layout", "frames"),
    [
        (0.4, 0.0, 16000, "pcm_s16le", "mono", 10),
        (0.1, 1.0, 16000, "pcm_s16le", "mono", 3),
        (0.1, 1.0, 44100, "pcm_s16le", "mono", 3),
        (0.4, 1.0, 8000, "pcm_s16le", "mono", 10),
        (0.4, 1.0, 48000, "pcm_s24le", "stereo", 10),
        (0.4, 1.0, 48000, "pcm_s16le", "5.1", 10),
    ],
)
def test_unusual_voices_work(
    bundle: Path, portrait: Path, tmp_path: Path, seconds: float, level: float, rate: int, codec: str, layout: str,
    frames: int
) -> None:  # fmt: skip
    sound = level * tones(seconds, rate, {"mono": 1, "stereo": 2, "5.1": 6}[layout])
    audio = write_sound(tmp_path / "voice.wav", sound, rate, codec, layout)
    assert run.main(command(bundle, portrait, audio, tmp_path / "out.mp4")) == 0
    video = read_video(tmp_path / "out.mp4")
    assert len(video["frames"]) == frames
    assert video["video_seconds"] == pytest.approx(frames / 25)
    assert abs(video["audio_seconds"] - frames / 25) < 0.04
    if level == 0:
        assert np.abs(video["sound"]).max() < 1e-3


def test_a_video_can_be_the_voice(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    assert run.main(command(bundle, portrait, voice, tmp_path / "one.mp4")) == 0
    assert run.main(command(bundle, portrait, tmp_path / "one.mp4", tmp_path / "two.mp4")) == 0
    assert len(read_video(tmp_path / "two.mp4")["frames"]) == 26


def test_a_given_face_box_needs_no_detection(bundle: Path, voice: Path, tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), (200, 180, 160)).save(tmp_path / "wall.jpg")
    options = command(bundle, tmp_path / "wall.jpg", voice, tmp_path / "out.mp4", "--face-box", "20,10,40,40")
    assert run.main(options) == 0


def test_the_face_that_is_taken_of_several_is_told(
    bundle: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = Image.new("RGB", (400, 200), (90, 110, 140))
    for x, side in ((0, 200), (220, 150)):
        picture.paste(drawn_face(side), (x, 20))
    picture.save(tmp_path / "two.png")
    options = command(bundle, tmp_path / "two.png", voice, tmp_path / "out.mp4")
    for arguments, words in (([], "face 1 of 2 from the left, at "), (["--face", "2"], "face 2 of 2 from the left")):
        assert run.main([*options, *arguments]) == 0
        assert words in capsys.readouterr().err
    assert run.main([*options, "--face", "7"]) == 2
    error = capsys.readouterr().err
    assert "two.png: there is no face 7; choose 1 to 2, counted from the left" in error
    assert error.count("\n") == 1


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets what `happens` interrupt a run after so many clips of it are kept; nothing does without it."""
    append = Job.append

    def arrange(clips: int | None, happens: Callable[[], object] = lambda: None) -> None:
        def appended(job: Job, *clip: Any) -> None:
            append(job, *clip)
            if job.progress.clips == clips:
                happens()

        monkeypatch.setattr(Job, "append", appended)

    return arrange


def ctrl_c() -> None:  # not as a signal: a process in the background may have been told to ignore it
    raise KeyboardInterrupt


def kill() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("stop", [ctrl_c, kill])
def test_a_short_run_that_is_stopped_leaves_nothing(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, stop_after: Callable[..., None],
    stop: Callable[[], None], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stop_after(2, stop)
    assert run.main(command(bundle, portrait, voice, tmp_path / "new" / "out.mp4")) == 130
    assert list(tmp_path.iterdir()) == []
    assert "nothing written" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [ctrl_c, kill])
def test_a_long_run_that_is_stopped_goes_on_to_the_same_file(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, stop_after: Callable[..., None],
    stop: Callable[[], None], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    expected, out = tmp_path / "expected.mp4", tmp_path / "out.mp4"
    assert run.main(command(bundle, portrait, voice, expected)) == 0
    for clips in (2, 3, 5):
        stop_after(clips, stop)
        assert run.main(command(bundle, portrait, voice, out, "--resume")) == 130
        assert f"{4 * clips} of 26 frames are done" in capsys.readouterr().err
    stop_after(None)
    assert run.main(command(bundle, portrait, voice, out, "--resume")) == 0
    assert "going on after 20 frames" in capsys.readouterr().err
    assert out.read_bytes() == expected.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected.mp4", "out.mp4"]


def test_a_full_disk_ends_a_long_run_that_can_go_on(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, stop_after: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full() -> None:
        raise InputError("output: cannot be written (No space left on device); give another --out")

    stop_after(4, full)
    assert run.main(command(bundle, portrait, voice, tmp_path / "out.mp4", "--resume")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "No space left" in message
    assert "16 of 26 frames are done, and the same command goes on" in message


def test_a_run_goes_on_only_with_what_it_began_with(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, stop_after: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other_portrait = tmp_path / "other.png"
    drawn_face(200).save(other_portrait)
    other_voice = write_sound(tmp_path / "other.wav", tones(1.5), 16000)
    out = tmp_path / "out.mp4"
    stop_after(3, ctrl_c)
    assert run.main(command(bundle, portrait, voice, out, "--resume")) == 130
    stop_after(None)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out.mp4.job").iterdir()}
    assert set(kept) == {"job.json", "clips.bin", "progress.npz", "lock"}
    for word, other in {
        "picture": command(bundle, other_portrait, voice, out),
        "voice": command(bundle, portrait, other_voice, out),
        "seed": command(bundle, portrait, voice, out, "--seed", "1"),
        "speed": command(bundle, portrait, voice, out, "--speed", "2"),
        "face box": command(bundle, portrait, voice, out, "--face-box", "30,30,100,100"),
        "face": command(bundle, portrait, voice, out, "--face", "1"),
        "generation options": command(bundle, portrait, voice, out, "--steps", "2"),
    }.items():
        capsys.readouterr()
        assert run.main(other) == 2, word
        assert f"made with another {word};" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in (tmp_path / "out.mp4.job").iterdir()} == kept
    assert run.main(command(bundle, portrait, voice, out, "--seed", "1", "--no-resume")) == 0
    assert not (tmp_path / "out.mp4.job").exists()


def test_two_runs_do_not_write_one_file(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Job(tmp_path / "out.mp4"):
        assert run.main(command(bundle, portrait, voice, tmp_path / "out.mp4")) == 2
    assert "another run is writing it" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run.main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for word in (
        "example:",
        "--face-box X,Y,W,H",
        "--framing {crop,original}",
        "degrees per frame",
        "(default: 0)",
        "pixels",
    ):
        assert word in text


BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "diffusers", "transformers", "training", "export"}:
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
from emo_rt.run import main
sys.exit(main(sys.argv[1:]))
"""


def test_it_runs_where_torch_is_absent(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    options = command(bundle, portrait, voice, tmp_path / "out.mp4")
    root = Path(run.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", BLOCKER, *options], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(read_video(tmp_path / "out.mp4")["frames"]) == 26


def test_a_portrait_is_upright_whatever_it_is_saved_as(bundle: Path, voice: Path, tmp_path: Path) -> None:
    """A rotated, a CMYK and a palette picture with transparency are found a face in and become a video."""
    face = drawn_face(256)
    exif = Image.Exif()
    exif[0x0112] = 3
    face.rotate(180).save(tmp_path / "turned.jpg", exif=exif)
    face.convert("CMYK").save(tmp_path / "cmyk.jpg")
    clear = face.convert("RGBA")
    clear.putalpha(Image.fromarray((np.arange(256)[:, None] > 5).repeat(256, 1).astype(np.uint8) * 255))
    clear.quantize(64).save(tmp_path / "palette.png")
    for name in ("turned.jpg", "cmyk.jpg", "palette.png"):
        assert run.main(command(bundle, tmp_path / name, voice, tmp_path / "out.mp4")) == 0, name


def test_provenance_is_written_in_the_video_and_beside_it(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    assert run.main(command(bundle, portrait, voice, out, "--seed", "5", "--provenance")) == 0
    with av.open(str(out)) as container:
        assert "Generated by emo-rt" in container.metadata["comment"]
        assert "seed 5" in container.metadata["comment"]
        assert f"bundle {Bundle.load(bundle).digest[:16]}" in container.metadata["comment"]
    facts = json.loads((tmp_path / "out.mp4.json").read_text())
    assert facts["seed"] == 5
    assert facts["voice"] == file_sha256(voice)
    assert facts["sha256"] == file_sha256(out)
    assert facts["plan"] == {
        "backend": "onnxruntime",
        "steps": 3,
        "guidance_scale": 1.5,
        "guided_steps": 3,
        "cache_interval": 1,
    }
    assert run.main(command(bundle, portrait, voice, out, "--provenance", "--fragmented")) == 2


def test_a_fragmented_video_has_the_same_frames(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    indexed, fragmented = tmp_path / "indexed.mp4", tmp_path / "new" / "fragmented.mp4"
    assert run.main(command(bundle, portrait, voice, indexed)) == 0
    assert run.main(command(bundle, portrait, voice, fragmented, "--fragmented")) == 0
    assert b"moof" in fragmented.read_bytes()
    np.testing.assert_array_equal(read_video(fragmented)["frames"], read_video(indexed)["frames"])
    assert [path.name for path in fragmented.parent.iterdir()] == ["fragmented.mp4"]


def test_a_clip_is_late_if_a_viewer_waits_for_it() -> None:
    timing = Timing(started=0.0, written=[1.0, 1.15, 1.33, 1.53], latencies=[0.1] * 4, frames=[4, 4, 4, 2])
    assert timing.missed(25) == 1  # due at 1.0, 1.16, 1.32 and 1.48
    assert timing.missed(10) == 0
    assert timing.missed(50) == 3
    assert "1 of 4 late at 25 frames per second" in timing.report(25)
    assert timing.sustained_fps == pytest.approx(10 / 0.53)


@pytest.mark.parametrize("slowness", [50.0, 1 / 50.0])
def test_a_long_run_says_how_to_plan_anew_and_changes_no_plan(
    bundle: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], slowness: float
) -> None:
    long = write_sound(tmp_path / "long.wav", tones(4.0), 16000)  # 25 clips
    out = tmp_path / "out.mp4"
    assert run.main(command(bundle, portrait, long, out, "--max-seconds", "0.1")) == 0
    ((key, measured),) = json.loads(cache_file().read_text()).items()
    wrong = json.dumps({key: {name: slowness * seconds for name, seconds in measured.items()}})
    cache_file().write_text(wrong)
    videos = []
    for _ in range(2):
        capsys.readouterr()
        assert run.main(command(bundle, portrait, long, out)) == 0
        assert re.search(
            r"[\d.]+ frames per second were predicted, [\d.]+ came; .* delete (.+)\n", capsys.readouterr().err
        ).group(1) == str(cache_file())  # type: ignore[union-attr]
        videos.append(out.read_bytes())
    assert videos[0] == videos[1]
    assert cache_file().read_text() == wrong


def test_nothing_is_measured_where_there_is_nothing_to_choose(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (("--steps", "2"), ("--steps", "2", "--threads", "2"), ("--quality", "best")):
        assert run.main(command(bundle, portrait, voice, tmp_path / "out.mp4", *options)) == 0
        assert "plan: onnxruntime, " in capsys.readouterr().err
        assert not cache_file().exists(), options
    for options in (("--steps", "2", "--target-fps", "1"), ("--steps", "2", "--max-latency", "99")):
        assert run.main(command(bundle, portrait, voice, tmp_path / "out.mp4", *options)) == 0
        assert cache_file().exists()
        cache_file().unlink()


def test_clips_are_late_only_where_somebody_may_watch(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, said in (((), False), (("--fragmented",), True), (("--target-fps", "1"), True)):
        assert run.main(command(bundle, portrait, voice, tmp_path / "out.mp4", "--steps", "2", *options)) == 0
        assert (" late at " in capsys.readouterr().out) == said


def test_one_frame_is_one_frame(
    bundle: Path, portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = write_sound(tmp_path / "short.wav", tones(0.04), 16000)
    assert run.main(command(bundle, portrait, short, tmp_path / "out.mp4", "--steps", "2")) == 0
    assert ": 1 frame, 0.04 s of video" in capsys.readouterr().out
