"""What is no file, no picture, no box and no voice is refused with a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import drawn_face

import emo_rt

READERS: list[Callable[[Any], object]] = [emo_rt.read_image, lambda path: emo_rt.read_voice(path, 16000)]
PICTURE = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize("read", READERS, ids=["image", "audio"])
@pytest.mark.parametrize("name", ["https://example.org/me.jpg", "http://localhost/a.wav", "rtsp://camera/1"])
def test_an_address_is_named_as_one(read: Callable[[Any], object], name: str) -> None:
    with pytest.raises(emo_rt.InputError, match=f" {name}: addresses are not read; download it first"):
        read(Path(name))


@pytest.mark.parametrize("read", READERS, ids=["image", "audio"])
def test_what_is_no_file_says_so(read: Callable[[Any], object], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, words in (
        (tmp_path, "is a directory; give a file in it"),
        (tmp_path / "gone", "no such file"),
        (tmp_path / "empty" / "below", "no such file"),
        (tmp_path / "empty", "the file is empty"),
        (tmp_path / "loop", "no such file that can be read"),
        (Path("/dev/null"), "is a device"),
        ("a\0b", "no such file"),
    ):
        with pytest.raises(emo_rt.InputError, match=words):
            read(path)


def test_a_picture_does_not_come_through_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(emo_rt.InputError, match=r"image .*pipe: is a pipe; save"):
        emo_rt.read_image(tmp_path / "pipe")


@pytest.mark.parametrize("use", [
    emo_rt.detect_faces,
    lambda image: emo_rt.find_face(image, "me.jpg"),
    lambda image: emo_rt.crop_portrait(image, emo_rt.Box(0, 0, 8, 8), 32),
])  # fmt: skip
@pytest.mark.parametrize("image", [PICTURE / 255, PICTURE[..., 0], PICTURE[..., :2], PICTURE[:0], "me.jpg", None])
def test_what_is_no_picture_is_named(use: Callable[[Any], object], image: Any) -> None:
    with pytest.raises(emo_rt.InputError, match=r"image is .*: give .*RGB uint8 \(height, width, 3\)"):
        use(image)


def test_what_is_no_box_is_named(tmp_path: Path, bundle: Path) -> None:
    drawn_face().save(tmp_path / "me.png")
    config = emo_rt.Bundle.load(bundle).config
    box: Any
    for box in ((9, 9, 99, 99), [9, 9, 99, 99], "9,9,99,99"):
        for use in (
            lambda box: emo_rt.read_portrait(tmp_path / "me.png", config, box),
            lambda box: emo_rt.portrait_crop((64, 64), box, 0.5),
            lambda box: emo_rt.crop_portrait(PICTURE, box, 32),
        ):
            with pytest.raises(
                emo_rt.InputError, match=r"(face box|crop) is .*: give emo_rt.Box\(x, y, width, height\)"
            ):
                use(box)


SECOND = np.zeros(16000, np.float32)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"voice": SECOND}, "voice is a single array: give its chunks, or \\[voice\\]"),
        ({"voice": [SECOND.astype(np.int16)]}, "voice is int16: give float32"),
        ({"voice": [SECOND[None]]}, r"voice has a chunk of shape \(1, 16000\)"),
        ({"voice": [0.0]}, "voice has a chunk that is a float"),
        ({"voice": [SECOND, SECOND + np.nan]}, "voice has samples that are no finite numbers"),
        ({"face_box": (8, 8, 16, 16)}, r"face box is \(8, 8, 16, 16\): give emo_rt.Box"),
        ({"portrait": np.zeros((32, 32, 3))}, "portrait is float64"),
        ({"portrait": np.zeros((32, 16, 3), np.uint8)}, "portrait is an image of 16 x 32 pixels"),
    ],
)
def test_a_slip_in_the_arguments_of_the_cascade_gets_a_sentence(
    bundle: Path, changed: dict[str, Any], words: str
) -> None:
    cascade = emo_rt.Cascade.load(emo_rt.Bundle.load(bundle), threads=1)
    good = {"portrait": np.zeros((32, 32, 3), np.uint8), "face_box": emo_rt.Box(8, 8, 16, 16), "voice": [SECOND[:2000]]}
    assert list(cascade.generate(**good))  # type: ignore[arg-type]
    with pytest.raises(emo_rt.InputError, match=words):
        list(cascade.generate(**{**good, **changed}))
