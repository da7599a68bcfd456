"""What `import emo_rt` gives."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from samples import drawn_face, read_video

import emo_rt
from emo_rt import run
from emo_rt.media.video import VideoWriter, encode_clip

FILE = Path(emo_rt.__file__)
LOADED = "import sys; print(*sorted({'av', 'cv2', 'onnxruntime', 'openvino', 'numpy', 'PIL'} & set(sys.modules)))"


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import emo_rt; emo_rt.__version__; dir(emo_rt)", ""),
        ("import emo_rt.__main__", ""),
        ("import emo_rt; emo_rt.EmoError; emo_rt.DEFAULT_BUNDLE", ""),
        ("import emo_rt.media.boxes", "numpy"),
        ("import emo_rt; emo_rt.Bundle", "numpy"),
        ("import emo_rt; emo_rt.find_face", "cv2 numpy"),
    ],
)
def test_only_what_is_used_is_loaded(code: str, loaded: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], cwd=FILE.parents[1], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == loaded


def test_every_public_name_is_there_and_explains_itself() -> None:
    assert set(emo_rt.__all__) <= set(dir(emo_rt))
    for name in emo_rt.__all__:
        value = getattr(emo_rt, name)
        if callable(value):
            assert value.__doc__, name
    assert not hasattr(emo_rt, "nothing")


def test_type_checkers_see_the_names_that_are_loaded() -> None:
    (block,) = [node for node in ast.parse(FILE.read_text()).body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*seen, "__version__"} == set(emo_rt.__all__)
    for name, module in seen.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(emo_rt, name)


def test_one_call_makes_the_video_of_the_command_line(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "call.mp4"
    result = emo_rt.animate(str(portrait), voice, out, seed=3, bundle=bundle, backend="onnxruntime", threads=1)
    assert capfd.readouterr() == ("", "")
    assert (result.out, result.frames, result.seconds) == (out, 26, 1.04)
    files = ["--bundle", bundle, "--image", portrait, "--audio", voice, "--out", tmp_path / "command.mp4"]
    assert run.main([*map(str, files), "--seed", "3", "--threads", "1", "--backend", "onnxruntime"]) == 0
    assert out.read_bytes() == (tmp_path / "command.mp4").read_bytes()


def test_a_session_makes_many_and_clips_are_the_same_frames(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path
) -> None:
    loaded = emo_rt.Bundle.load(bundle)
    session = emo_rt.Session(loaded, emo_rt.GenerationOptions("onnxruntime", 1, steps=3))
    for seed in (1, 2):
        session.make(emo_rt.Request(portrait, voice, tmp_path / f"{seed}.mp4", seed=seed))
    one, two = (read_video(tmp_path / f"{seed}.mp4")["frames"] for seed in (1, 2))
    assert not np.array_equal(one, two)
    cascade = emo_rt.Cascade.load(loaded, threads=1)
    sound = emo_rt.AudioStream(voice, loaded.config.sample_rate)
    chunks = (chunk.voice for chunk in sound)
    clips = list(cascade.generate(*emo_rt.read_portrait(portrait, loaded.config), chunks, seed=2))
    assert [clip.shape for clip in clips] == [(4, 32, 32, 3)] * 6 + [(2, 32, 32, 3)]
    with VideoWriter(tmp_path / "clips.mp4", (32, 32), 25, 16000, 1) as video:
        for clip in clips:
            video.write_clip(encode_clip(clip, 25))
    np.testing.assert_array_equal(read_video(tmp_path / "clips.mp4")["frames"], two)


def test_a_portrait_is_found_by_its_face_or_by_a_box(tmp_path: Path, bundle: Path) -> None:
    config = emo_rt.Bundle.load(bundle).config
    drawn_face(256).save(tmp_path / "face.png")
    portrait, face = emo_rt.read_portrait(tmp_path / "face.png", config)
    assert portrait.shape == (32, 32, 3)
    found = emo_rt.find_face(emo_rt.read_image(tmp_path / "face.png"), "face.png")
    given, same = emo_rt.read_portrait(tmp_path / "face.png", config, found)
    np.testing.assert_array_equal(given, portrait)
    assert same == face
    with pytest.raises(emo_rt.InputError, match=r"face box 200,0,100,10 lies outside of the picture .* 256 x 256"):
        emo_rt.read_portrait(tmp_path / "face.png", config, emo_rt.Box(200, 0, 100, 10))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed -1 is out of range: choose a whole number from 0"),
        ({"seed": 2**64}, "seed 18446744073709551616 is out of range"),
        ({"seed": 1.5}, "seed 1.5 is out of range"),
        ({"speed": float("nan")}, "speed nan is out of range: choose 0 or more"),
        ({"speed": -1.0}, "speed -1.0 is out of range"),
        ({"speed": float("inf")}, "speed inf is out of range"),
        ({"face_box": emo_rt.Box(0, 0, float("nan"), 9)}, "face box 0,0,nan,9 lies outside"),
        ({"quality": "good"}, "quality 'good' is unknown: choose best, balanced, fast"),
        ({"threads": 0}, "threads 0 is out of range"),
        ({"threads": 5000}, "threads 5000 is out of range: choose 1 to "),
        ({"threads": 1.5}, "threads 1.5 is out of range"),
        ({"seed": 10**5000}, "seed of thousands of digits is out of range"),
        ({"speed": 50.0}, "speed 50.0 is out of range: choose 0 or more, and 10 at most"),
        ({"speed": 10**400}, "is out of range"),
        ({"speed": "fast"}, "speed 'fast' is out of range"),
        ({"guidance_scale": 1e308}, r"guidance scale is 1e\+308: choose 0 to 20"),
        ({"framing": "panorama"}, "framing 'panorama' is unknown: choose crop or original"),
        ({"backend": "abacus"}, "backend 'abacus' is unknown"),
        ({"steps": 0}, "steps"),
    ],
)
def test_a_wrong_value_is_an_input_error(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(emo_rt.InputError, match=words):
        emo_rt.animate(portrait, voice, tmp_path / "out.mp4", bundle=bundle, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_stays_one_and_says_how_to_go_on(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = emo_rt.jobs.job.Job.append

    def interrupted(job: object, *clip: object) -> None:
        append(job, *clip)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr("emo_rt.jobs.job.Job.append", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        emo_rt.animate(portrait, voice, tmp_path / "out.mp4", bundle=bundle, backend="onnxruntime", resume=True)
    assert stop.value.__notes__ == ["4 of 26 frames are done, and the same command goes on from there"]
