"""Whatever a user can get wrong ends with exit code 2, one line that names it, and no trace on the disk."""

from __future__ import annotations

import shutil
import wave
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import drawn_face, tones, write_sound

from emo_rt import run
from emo_rt.bundle import FORMAT_VERSION
from emo_rt.cascade.cascade import Cascade


class Desk:
    """A directory with a good portrait and a good voice, and the command line over it."""

    def __init__(self, directory: Path, bundle: Path, portrait: Path, voice: Path, capsys: pytest.CaptureFixture[str]):
        self.directory, self.capsys = directory, capsys
        self.files = {"--bundle": bundle, "--image": portrait, "--audio": voice, "--out": directory / "out.mp4"}

    def write(self, name: str, content: bytes) -> Path:
        (self.directory / name).write_bytes(content)
        return self.directory / name

    def refuses(self, *words: str, options: tuple[str, ...] = (), **files: Path) -> str:
        """Runs, checks that it was refused properly with all `words` in the message, and returns the message."""
        chosen = {**self.files, **{f"--{name}": path for name, path in files.items()}}
        before = sorted(self.directory.rglob("*"))
        code = run.main([*(str(part) for pair in chosen.items() for part in pair), *options])
        captured = self.capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert captured.err.startswith("emo_rt: error: ")
        assert captured.err.count("\n") == 1, captured.err
        assert "Traceback" not in captured.err
        for word in words:
            assert word in captured.err
        assert sorted(self.directory.rglob("*")) == before
        return captured.err


@pytest.fixture
def desk(
    tmp_path: Path,
    bundle: Path,
    portrait: Path,
    voice: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    def loaded(*_: object, **__: object) -> None:
        pytest.fail("the engines were loaded before everything cheap was checked")

    monkeypatch.setattr(Cascade, "load", loaded)
    return Desk(tmp_path, bundle, portrait, voice, capsys)


def test_missing_files(desk: Desk) -> None:
    for name in ("image", "audio", "bundle"):
        desk.refuses(f"{name} ", "nowhere", "no such", **{name: desk.directory / "nowhere"})


def test_a_name_that_is_too_long(desk: Desk) -> None:
    for name in ("image", "audio", "bundle"):
        desk.refuses(f"{name} ", "no such", **{name: desk.directory / ("x" * 300)})
    desk.refuses("output", "x.mp4", out=desk.directory / ("x" * 300 + ".mp4"))


@pytest.mark.parametrize("content", [b"", b"hello " * 500, bytes(10_000), b"\xff\xfb\x90\x00" * 3], ids=range(4))
@pytest.mark.parametrize("name", ["voice.wav", "voice.txt", "voice.mp3"])
def test_a_file_that_is_no_sound(desk: Desk, name: str, content: bytes) -> None:
    desk.refuses("audio", name, audio=desk.write(name, content))


def test_random_bytes_are_no_sound(desk: Desk) -> None:
    for seed in range(5):
        content = np.random.default_rng(seed).bytes(20_000)
        desk.refuses("audio", "noise", audio=desk.write("noise.bin", content))


def test_a_picture_is_no_sound(desk: Desk) -> None:
    desk.refuses("audio", "no sound", audio=desk.files["--image"])


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("cut.wav", "pcm_s16le", 16000), ("cut.flac", "flac", 44100), ("cut.m4a", "aac", 44100)],
)
def test_a_sound_cut_short(desk: Desk, name: str, codec: str, rate: int) -> None:
    path = write_sound(desk.directory / name, tones(3.0, rate), rate, codec)
    content = path.read_bytes()
    for part in (0.02, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * part)])
        desk.refuses("audio", name, audio=path)


def test_a_sound_without_samples(desk: Desk) -> None:
    path = desk.directory / "void.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    desk.refuses("audio", "void.wav", audio=path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_samples_that_are_no_numbers(desk: Desk, value: float, rate: int) -> None:
    sound = tones(1.0, rate)
    sound[0, -100] = value
    path = write_sound(desk.directory / "nan.wav", sound, rate, "pcm_f32le")
    desk.refuses("audio", "nan.wav", "no finite numbers", audio=path)


def test_pictures_that_are_none(desk: Desk) -> None:
    desk.refuses("image", "empty.png", image=desk.write("empty.png", b""))
    desk.refuses("image", "text.png", image=desk.write("text.png", b"hello" * 100))
    whole = Path(desk.files["--image"]).read_bytes()
    desk.refuses("image", "cut.png", image=desk.write("cut.png", whole[: len(whole) // 2]))
    drawn_face(128).save(desk.directory / "cut.jpg")
    whole = (desk.directory / "cut.jpg").read_bytes()
    desk.refuses("image", "cut.jpg", image=desk.write("cut.jpg", whole[: len(whole) // 2]))
    desk.refuses("image", image=desk.directory)


def test_a_picture_of_one_pixel(desk: Desk) -> None:
    Image.new("RGB", (1, 1)).save(desk.directory / "dot.png")
    desk.refuses("image", "dot.png", "1 x 1", image=desk.directory / "dot.png")


def test_a_picture_of_400_megapixels(desk: Desk) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    side = (20_000).to_bytes(4, "big")
    rows = zlib.compress(bytes(20_000 * 2501), 1)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + bytes([1, 0, 0, 0, 0])) + chunk(b"IDAT", rows)
    desk.refuses("image", "huge.png", "pixels", image=desk.write("huge.png", png + chunk(b"IEND", b"")))


def test_no_face(desk: Desk) -> None:
    Image.new("RGB", (200, 200), (180, 170, 160)).save(desk.directory / "wall.png")
    desk.refuses("image", "wall.png", "no face", "--face-box", image=desk.directory / "wall.png")


@pytest.mark.parametrize("box", ["0,0,300,300", "250,250,20,20", "0,0,257,1", "0,256,1,1"])
def test_a_face_box_outside_of_the_picture(desk: Desk, box: str) -> None:
    desk.refuses(f"face box {box} lies outside of the picture", "256 x 256", options=(f"--face-box={box}",))


def test_a_face_box_of_a_few_pixels(desk: Desk) -> None:
    desk.refuses("image", "the face at 60,60,1,1 is below 32 pixels", options=("--face-box=60,60,1,1",))


def test_a_face_that_is_not_there(desk: Desk) -> None:
    desk.refuses("image", "there is no face 7; 1 is the only one", options=("--face", "7"))


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "left"])
def test_a_number_of_no_face(desk: Desk, number: str) -> None:
    desk.refuses(f"--face '{number}'", "1 or more", options=(f"--face={number}",))


def test_a_face_and_a_face_box(desk: Desk) -> None:
    desk.refuses("face 1 and a face box are both given", options=("--face", "1", "--face-box", "9,9,99,99"))


@pytest.mark.parametrize(
    "box",
    ["-5,0,20,20", "0,-1,20,20", "0,0,0,0", "10,10,-5,5", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,4.5", "nan,0,9,9"],
)
def test_a_face_box_that_is_none(desk: Desk, box: str) -> None:
    desk.refuses(f"--face-box '{box}'", options=(f"--face-box={box}",))


def test_a_face_too_small_to_paste(desk: Desk) -> None:
    Image.new("RGB", (6000, 100), (180, 170, 160)).save(desk.directory / "banner.png")
    options = ("--framing", "original", "--face-box", "10,10,40,40")
    desk.refuses("image", "banner.png", "of a video of 1920 x 32", options=options, image=desk.directory / "banner.png")


@pytest.mark.parametrize("name", ["file/out.mp4", "file/new/out.mp4", "out.avi", "out", "folder.mp4"])
def test_an_output_that_cannot_be_written(desk: Desk, name: str) -> None:
    desk.write("file", b"")
    (desk.directory / "folder.mp4").mkdir()
    desk.refuses("output", name, out=desk.directory / name)


def test_an_output_over_an_input(desk: Desk) -> None:
    path = desk.write("talk.mp4", b"precious")
    desk.refuses("output", "talk.mp4", "inputs", audio=path, out=path)


@pytest.mark.parametrize("change", ["missing", "truncated", "altered"])
@pytest.mark.parametrize("name", ["backbone.onnx", "backbone.onnx.data", "manifest.json"])
def test_a_bundle_that_is_not_whole(desk: Desk, name: str, change: str) -> None:
    copy = shutil.copytree(desk.files["--bundle"], desk.directory / "bundle")
    content = (copy / name).read_bytes()
    changes: dict[str, Callable[[], object]] = {
        "missing": (copy / name).unlink,
        "truncated": lambda: (copy / name).write_bytes(content[:-20]),
        "altered": lambda: (copy / name).write_bytes(content.replace(content[-10:-5], b"other")),
    }
    changes[change]()
    if (name, change) == ("manifest.json", "altered"):
        (copy / name).write_bytes(
            content.replace(f'"format_version": {FORMAT_VERSION}'.encode(), b'"format_version": 9')
        )
    desk.refuses("bundle", name, "python -m export.build", bundle=copy)


@pytest.mark.parametrize(
    "options",
    [
        ("--steps", "0"),
        ("--steps", "-3"),
        ("--steps", "ten"),
        ("--steps", "1001"),
        ("--speed", "-1"),
        ("--speed", "nan"),
        ("--speed", "inf"),
        ("--speed", "fast"),
        ("--guidance-scale", "-0.5"),
        ("--guidance-scale", "inf"),
        ("--seed", "-1"),
        ("--seed", str(2**64)),
        ("--seed", "1.5"),
        ("--speed", "50"),
        ("--guidance-scale", "30"),
        ("--guidance-scale", "1e308"),
        ("--seed", "9" * 5000),
        ("--threads", "0"),
        ("--threads", "5000"),
        ("--threads", "9" * 400),
        ("--target-fps", "0"),
        ("--target-fps", "nan"),
        ("--max-latency", "-1"),
        ("--backend", "abacus"),
        ("--framing", "panorama"),
    ],
)
def test_a_value_out_of_range(desk: Desk, options: tuple[str, ...]) -> None:
    desk.refuses(options[0].lstrip("-") if options[1] == "1001" else options[0], options=options)


def test_an_unknown_option(desk: Desk) -> None:
    desk.refuses("--louder", "--help", options=("--louder",))
