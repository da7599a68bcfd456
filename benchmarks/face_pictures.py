"""Pictures with known faces, and without: those of a folder, and what is made of them.

A folder lists its faces in `faces.csv`, a line each below `picture,kind,x,y,width,height`: the file, a word that
says what kind of picture it is (`whole`, `profile`, `painted` ...), and the box, a square from above the brows to the
chin. A line without a box is a picture without a face.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from emo_rt.media.boxes import Box
from emo_rt.media.image import read_image
from training.clips.clip import TrainingClip
from training.speakers.drawn.people import sample_portraits
from training.speakers.drawn.render import render
from training.speakers.motion import Motion

#: The file that lists the faces of a folder, and its columns.
LIST, LIST_COLUMNS = "faces.csv", ("picture", "kind", "x", "y", "width", "height")
#: Parts of the short side that small faces take, and degrees that faces are tilted by.
PARTS, TILTS = (8, 12, 16, 20), (15, 30, 45, 60, 75, 90)
#: Degrees that drawn heads turn.
YAWS = (0, 15, 30, 45, 60)
#: A frontal face, upright and alone: the kind that other pictures are made of.
WHOLE = "whole"

_SHORT_SIDE = 1000  # pixels of a picture with small faces
_LONGEST = 1200  # pixels; a larger picture is shrunk


@dataclass(frozen=True)
class FacePicture:
    """A picture whose faces are known.

    Attributes:
        kind: what kind of picture it is.
        name: where it comes from.
        image: RGB uint8 (height, width, 3).
        faces: boxes around its faces, pixels; none if it has none.
    """

    kind: str
    name: str
    image: np.ndarray
    faces: tuple[Box, ...]


def listed_pictures(folder: Path) -> list[FacePicture]:
    """The pictures that a folder lists, in the order of the list.

    Raises:
        ValueError: if there is no list, or a line or a picture cannot be read. It names the file and the line.
    """
    path = folder / LIST
    if not path.is_file():
        raise ValueError(f"{path}: no such file; --propose writes one, to be put right by hand")
    faces: dict[str, list[Box]] = {}
    kinds: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != LIST_COLUMNS:
            raise ValueError(f"{path}: the first line is not {','.join(LIST_COLUMNS)}")
        for row in reader:
            numbers = [row[name] for name in LIST_COLUMNS[2:]]
            kinds[row["picture"]] = row["kind"]
            boxes = faces.setdefault(row["picture"], [])
            try:
                if any(numbers):
                    boxes.append(Box(*(float(number) for number in numbers)))
            except (TypeError, ValueError):
                raise ValueError(f"{path}: line {reader.line_num} has no box of four numbers") from None
    return [_shrunk(FacePicture(kinds[name], name, read_image(folder / name), tuple(faces[name]))) for name in faces]


def drawn_pictures(count: int) -> Iterator[FacePicture]:
    """Drawn heads that turn by `YAWS`, `count` of each."""
    for yaw in YAWS:
        motion = Motion.rest(count)
        motion.rotation[:, 0] = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0) * yaw
        rendering = render(sample_portraits(range(count)), motion, 256)
        frames = (rendering.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for index, (frame, box) in enumerate(zip(frames, rendering.face_box.tolist(), strict=True)):
            yield FacePicture(f"drawn, turned {yaw}°", f"head {index}", np.ascontiguousarray(frame), (Box(*box),))


def clip_pictures(folder: Path, step: int = 25) -> Iterator[FacePicture]:
    """Frames of training clips, as of drawn heads and photo puppets, one in `step`, by how far the head turns.

    Raises:
        ValueError: if there is no clip.
    """
    paths = sorted(folder.rglob("*.npz"))
    if not paths:
        raise ValueError(f"{folder}: holds no clip (.npz)")
    for path in paths:
        clip = TrainingClip.load(path)
        for index in range(0, len(clip.frames), step):
            box = Box(*map(float, clip.face_box[index]))
            yaw = int(abs(clip.rotation[index, 0]) // 15 * 15) if clip.knows("rotation") else None
            kind = "clips" if yaw is None else f"clips, turned {yaw}° to {yaw + 15}°"
            yield FacePicture(kind, path.stem, clip.frames[index], (box,))


def textures() -> Iterator[FacePicture]:
    """Pictures of nothing: grain as of leaves and walls, clouds, stripes and spots."""
    for seed in range(6):
        rng = np.random.default_rng([seed, 0x7E47])
        yield FacePicture("texture", f"grain {seed}", _grain(rng, 900, 600, (2, 9, 40, 160)), ())
        yield FacePicture("texture", f"cloud {seed}", _grain(rng, 900, 600, (40, 90, 200)), ())
        y, x = np.mgrid[:600, :900]
        stripes = 127 + 120 * np.sin(x / rng.uniform(5, 40) + 3 * np.cos(y / rng.uniform(20, 90)))
        yield FacePicture("texture", f"stripes {seed}", np.stack([stripes] * 3, 2).astype(np.uint8), ())
        spots = np.full((600, 900, 3), rng.integers(150, 250, 3), np.uint8)
        for _ in range(60):
            middle, radius = rng.integers(0, (900, 600)).tolist(), int(rng.integers(8, 70))
            cv2.circle(spots, middle, radius, rng.integers(0, 200, 3).tolist(), -1, cv2.LINE_AA)
        yield FacePicture("texture", f"spots {seed}", spots, ())


def made_pictures(portraits: Sequence[FacePicture], grounds: Sequence[FacePicture]) -> Iterator[FacePicture]:
    """What becomes of portraits with one face: small, tilted, spoiled, painted, covered, and several in a picture.

    Args:
        portraits: pictures with one face each.
        grounds: pictures without a face, for small ones to be in.
    """
    for index, portrait in enumerate(portraits):
        rng = np.random.default_rng([index, 0xFACE])
        for part in PARTS:
            yield _small(portrait, grounds[int(rng.integers(len(grounds)))], part, rng)
        for degrees in TILTS:
            yield _tilted(portrait, degrees * (-1) ** index)
        yield from _spoiled(portrait, rng)
        yield _covered(portrait, rng)
        yield _group([portraits[(index + step) % len(portraits)] for step in range(3)], rng)


def made_count(portraits: int) -> int:
    """The number of pictures that `made_pictures` makes of so many portraits."""
    return portraits * (len(PARTS) + len(TILTS) + 8)


def _shrunk(picture: FacePicture) -> FacePicture:
    scale = min(_LONGEST / max(picture.image.shape), 1.0)
    return picture if scale == 1 else _scaled(picture, scale)


def _scaled(picture: FacePicture, scale: float) -> FacePicture:
    height, width = picture.image.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    image = cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    faces = (Box(box.x * scale, box.y * scale, box.width * scale, box.height * scale) for box in picture.faces)
    return FacePicture(picture.kind, picture.name, image, tuple(faces))


def _head(portrait: FacePicture, face: float) -> FacePicture:
    """The square around the head of a portrait, whose face is `face` pixels wide."""
    (box,) = portrait.faces
    height, width = portrait.image.shape[:2]
    reach = 0.95 * box.width
    x, y = box.x + box.width / 2, box.y + box.height / 2
    left, top = max(int(x - reach), 0), max(int(y - reach), 0)
    image = portrait.image[top : min(math.ceil(y + reach), height), left : min(math.ceil(x + reach), width)]
    inside = Box(box.x - left, box.y - top, box.width, box.height)
    return _scaled(FacePicture(portrait.kind, portrait.name, image, (inside,)), face / box.width)


def _small(portrait: FacePicture, ground: FacePicture, part: int, rng: np.random.Generator) -> FacePicture:
    scale = _SHORT_SIDE / min(ground.image.shape[:2])
    image = _scaled(ground, scale).image.copy()
    pasted, box = _paste(image, _head(portrait, _SHORT_SIDE / part), rng.random(2))
    return FacePicture(f"1/{part} of the short side", portrait.name, pasted, (box,))


def _paste(image: np.ndarray, head: FacePicture, place: Iterable[float]) -> tuple[np.ndarray, Box]:
    """Puts a head at a place, in shares of the room there is."""
    height, width = head.image.shape[:2]
    across, down = place
    x, y = round(across * (image.shape[1] - width)), round(down * (image.shape[0] - height))
    image[y : y + height, x : x + width] = head.image
    (box,) = head.faces
    return image, Box(box.x + x, box.y + y, box.width, box.height)


def _tilted(portrait: FacePicture, degrees: float) -> FacePicture:
    height, width = portrait.image.shape[:2]
    (box,) = portrait.faces
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    canvas = (math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine))
    matrix[:, 2] += (canvas[0] - width) / 2, (canvas[1] - height) / 2
    image = cv2.warpAffine(portrait.image, matrix, canvas, flags=cv2.INTER_LINEAR, borderValue=(120, 125, 130))
    x, y = matrix @ (box.x + box.width / 2, box.y + box.height / 2, 1)
    face = Box(float(x) - box.width / 2, float(y) - box.height / 2, box.width, box.height)
    return FacePicture(f"tilted {abs(degrees):g}°", portrait.name, image, (face,))


def _spoiled(portrait: FacePicture, rng: np.random.Generator) -> Iterator[FacePicture]:
    image = portrait.image.astype(np.float32)
    noise = rng.normal(0, 1, image.shape).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(portrait.image).save(file, "JPEG", quality=8)
    small = cv2.resize(portrait.image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    variants = {
        "dark": 0.12 * image + 3 * noise,
        "noisy": image + 35 * noise,
        "JPEG at quality 8": np.asarray(Image.open(file)),
        "grey": np.repeat(image.mean(2, keepdims=True), 3, 2),
        "painted by a filter": np.round(cv2.stylization(portrait.image, sigma_s=40, sigma_r=0.6) / 32.0) * 32,
        "blurred": cv2.resize(small, portrait.image.shape[1::-1], interpolation=cv2.INTER_LINEAR),
    }
    for kind, pixels in variants.items():
        yield FacePicture(kind, portrait.name, pixels.clip(0, 255).astype(np.uint8), portrait.faces)


def _covered(portrait: FacePicture, rng: np.random.Generator) -> FacePicture:
    """A portrait whose face is covered: no face."""
    (box,) = portrait.faces
    image = portrait.image.copy()
    x, y, side = int(max(box.x - 0.15 * box.width, 0)), int(max(box.y - 0.15 * box.height, 0)), int(1.3 * box.width)
    hidden = image[y : y + side, x : x + side]
    hidden[:] = _grain(rng, hidden.shape[1], hidden.shape[0], (9, 40))
    return FacePicture("covered face", portrait.name, image, ())


def _group(portraits: Sequence[FacePicture], rng: np.random.Generator) -> FacePicture:
    """Three people beside each other, the largest anywhere."""
    image = _grain(rng, 1500, 700, (9, 60, 200))
    boxes = []
    for index, (portrait, size) in enumerate(zip(portraits, rng.permutation((90, 130, 210)), strict=True)):
        third = image[:, 500 * index : 500 * (index + 1)]
        box = _paste(third, _head(portrait, float(size)), rng.random(2))[1]
        boxes.append(Box(box.x + 500 * index, box.y, box.width, box.height))
    return FacePicture("three people", " ".join(portrait.name for portrait in portraits), image, tuple(boxes))


def _grain(rng: np.random.Generator, width: int, height: int, sizes: tuple[int, ...]) -> np.ndarray:
    layers = [
        cv2.resize(rng.random((height // n + 2, width // n + 2, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
        for n in sizes
    ]
    return (np.mean(layers, 0).clip(0, 1) * 255).astype(np.uint8)
