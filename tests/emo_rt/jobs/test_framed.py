"""Videos of whole pictures: made, streamed, stopped and gone on with, in batches, and planned for as others are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from samples import drawn_face, read_video, tones, write_sound
from test_run import command

import emo_rt
from emo_rt import run
from emo_rt.jobs import session as sessions
from emo_rt.jobs.job import Job
from emo_rt.media.framing import Canvas
from emo_rt.media.portrait import read_picture

ORIGINAL = ("--framing", "original")
BOX = ("--face-box", "132,60,100,100")


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A picture of 400 x 300 pixels with a face in it, and its orientation beside its pixels, as phones save them."""
    x, y = np.meshgrid(np.linspace(60, 190, 400), np.linspace(60, 190, 300))
    picture = Image.fromarray(np.stack([y, x, x], axis=-1).astype(np.uint8))
    picture.paste(drawn_face(160), (100, 20))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.rotate(180).save(tmp_path / "wide.png", exif=exif)
    return tmp_path / "wide.png"


def test_the_whole_picture_speaks_and_stays_as_it_is_around_the_face(
    bundle: Path, wide: Path, voice: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    assert run.main(command(bundle, wide, voice, out, *ORIGINAL, *BOX, "--provenance")) == 0
    frames = read_video(out)["frames"].astype(int)
    picture = emo_rt.read_image(wide).astype(int)
    assert frames.shape == (26, 300, 400, 3)
    outside = np.ones((300, 400), bool)
    outside[10:210, 82:282] = False
    for frame in frames:  # H.264 rounds
        assert np.abs(frame - picture)[outside].mean() < 1.5
        assert np.abs(frame - picture)[60:160, 132:232].mean() > 20
    assert json.loads((tmp_path / "out.mp4.json").read_text())["framing"] == "original"
    with av.open(str(out)) as container:
        assert "Only the square around the face is generated." in container.metadata["comment"]


def test_the_bundled_model_leaves_no_edge_in_a_large_picture(tmp_path: Path) -> None:
    portrait = np.asarray(Image.open(emo_rt.PORTRAIT).convert("RGB"))
    Image.fromarray(np.pad(portrait, ((208, 0), (384, 384), (0, 0)), mode="edge")).save(tmp_path / "large.png")
    bundle = emo_rt.Bundle.load(emo_rt.DEFAULT_BUNDLE)
    picture = read_picture(tmp_path / "large.png", bundle.config)
    canvas = Canvas(picture.image, picture.crop, picture.face_box, "large.png")
    assert canvas.size == (1280, 720)
    x, y, right = int(canvas.region.x), int(canvas.region.y), int(canvas.region.x + canvas.region.width)
    cascade = emo_rt.Cascade.load(bundle, threads=1)
    square, face = picture.portrait(bundle.config.resolution)
    (squares,) = cascade.generate(square, face, [tones(1.0)[0]], steps=1, guidance_scale=1.0, max_frames=6)
    outside = np.ones((720, 1280), bool)
    outside[y:, x:right] = False
    for frame in canvas.paste(squares):
        change = frame.astype(int) - canvas.picture
        assert not change[outside].any()
        across, down = np.abs(np.diff(change, axis=1)), np.abs(np.diff(change, axis=0))
        border = [across[y:, x - 1 : x + 3], across[y:, right - 4 : right], down[y - 1 : y + 3, x:right]]
        assert max(steps.max() for steps in border) <= 2
    pasted_hard = np.asarray(Image.fromarray(squares[-1]).resize((right - x, 720 - y))).astype(int)
    edges = np.abs(pasted_hard - canvas.picture[y:, x:right])
    assert max(edges[:, 0].max(), edges[:, -1].max(), edges[0].max()) > 4


def test_the_square_alone_is_the_default(bundle: Path, portrait: Path, voice: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    assert run.main(command(bundle, portrait, voice, one)) == 0
    assert run.main(command(bundle, portrait, voice, two, "--framing", "crop")) == 0
    assert one.read_bytes() == two.read_bytes()
    assert read_video(one)["frames"].shape == (26, 32, 32, 3)
    with av.open(str(one)) as container:
        assert "square" not in container.metadata["comment"]


def test_python_and_a_growing_video_give_the_same_frames(bundle: Path, wide: Path, voice: Path, tmp_path: Path) -> None:
    box = emo_rt.Box(132, 60, 100, 100)
    for name, options in (("indexed.mp4", ()), ("growing.mp4", ("--fragmented",))):
        assert run.main(command(bundle, wide, voice, tmp_path / name, *ORIGINAL, *BOX, *options)) == 0
    indexed, growing = (read_video(tmp_path / name)["frames"] for name in ("indexed.mp4", "growing.mp4"))
    np.testing.assert_array_equal(indexed, growing)
    options: dict[str, Any] = {"bundle": bundle, "backend": "onnxruntime", "threads": 1}
    emo_rt.animate(wide, voice, tmp_path / "call.mp4", face_box=box, framing="original", **options)
    np.testing.assert_array_equal(read_video(tmp_path / "call.mp4")["frames"], indexed)


def test_a_stopped_video_goes_on_to_the_same_file_in_the_same_framing(
    bundle: Path, wide: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    expected, out = tmp_path / "expected.mp4", tmp_path / "out.mp4"
    assert run.main(command(bundle, wide, voice, expected, *ORIGINAL, *BOX)) == 0
    append = Job.append

    def stopped(job: Job, *clip: Any) -> None:
        append(job, *clip)
        if job.progress.clips == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Job, "append", stopped)
    assert run.main(command(bundle, wide, voice, out, *ORIGINAL, *BOX, "--resume")) == 130
    monkeypatch.setattr(Job, "append", append)
    assert run.main(command(bundle, wide, voice, out, *BOX, "--resume")) == 2
    assert "made with another framing; give the same" in capsys.readouterr().err
    assert run.main(command(bundle, wide, voice, out, *ORIGINAL, *BOX, "--resume")) == 0
    assert "going on after 12 frames" in capsys.readouterr().err
    assert out.read_bytes() == expected.read_bytes()


def test_a_large_picture_is_scaled_down_with_a_word(
    bundle: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (2000, 1000), (90, 110, 140)).save(tmp_path / "large.png")
    short = write_sound(tmp_path / "short.wav", tones(0.1), 16000)
    options = (*ORIGINAL, "--face-box", "700,200,300,300")
    assert run.main(command(bundle, tmp_path / "large.png", short, tmp_path / "out.mp4", *options)) == 0
    assert "large.png is scaled down to 1920 x 960 pixels" in capsys.readouterr().err
    assert read_video(tmp_path / "out.mp4")["frames"].shape == (3, 960, 1920, 3)


def test_a_batch_mixes_framings_with_a_plan_for_each_size(
    bundle: Path, wide: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(sessions, "picture_seconds", lambda _, size: asked.append(size) or 0.0)
    rows = [f"{wide},{voice},{tmp_path / name}.mp4,{framing}" for name, framing in (("a", ""), ("b", "original"))]
    rows.append(f"{wide},{voice},{tmp_path / 'c'}.mp4,panorama")
    (tmp_path / "jobs.csv").write_text("\n".join(["portrait,voice,output,framing", *rows, rows[1].replace("b.", "d.")]))
    options = ["--bundle", str(bundle), "--threads", "1", "--backend", "onnxruntime", *BOX]
    assert run.main([*options, "--batch", str(tmp_path / "jobs.csv")]) == 2
    printed = capsys.readouterr()
    assert "3 of 4 videos are done" in printed.out
    assert "line 4: framing 'panorama' is unknown: choose crop or original" in printed.err
    sizes = [read_video(tmp_path / f"{name}.mp4")["frames"].shape[2:0:-1] for name in "abd"]
    assert sizes == [(32, 32), (400, 300), (400, 300)]
    assert asked == [(32, 32), (400, 300)]


def test_plans_count_on_the_time_that_pasting_takes(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "picture_seconds", lambda config, size: 0.0 if size[0] == 32 else 0.5)
    session = emo_rt.Session(emo_rt.Bundle.load(bundle), emo_rt.GenerationOptions("onnxruntime", 1, steps=2))
    square, picture = session.plan(), session.plan((400, 300))
    assert 4 / picture.frames_per_second == pytest.approx(4 / square.frames_per_second + 0.5)
    assert picture.first_frame == pytest.approx(square.first_frame + 0.5)


def test_the_speed_of_a_long_run_that_pastes_is_not_judged(
    bundle: Path, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = write_sound(tmp_path / "long.wav", tones(4.0), 16000)  # 25 clips
    monkeypatch.setattr(sessions, "TOLERANCE", -1.0)
    for options, judged in ((ORIGINAL, False), ((), True)):
        assert run.main(command(bundle, wide, long, tmp_path / "out.mp4", *options, *BOX)) == 0
        assert ("frames per second were predicted" in capsys.readouterr().err) == judged
