"""Where in a video one face can be followed: shots between its cuts, and the windows of them that become clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

from emo_rt.media.boxes import Box, portrait_crop
from training.clips.rates import FRAMES_PER_SECOND
from training.footage.face_detector import MOUTH_IN_FACE, Face, FaceDetector
from training.footage.timeline import read_frames
from training.footage.videos import Shot
from training.model.config import EmoConfig

#: Told why so many frames make no clip.
Reject = Callable[[str, int], None]

_FACE_FRACTION = EmoConfig.face_fraction
_MISSED_FACES = 0.1  # share of the frames looked at in which a clip's face may be missing
_SECOND_FACES = 0.2  # share in which there may be another one: a detector errs
_SECOND_FACE = 0.5  # width, in widths of the first, from which another face counts
_FACE_INSIDE = 0.8  # share of the face's box that stays in the crop
_LONGEST_JUMP = 0.4  # of a face between sightings, in widths: beyond, it was something else
_DARKEST = 16.0  # mean of a frame's face, of 255
_CUT_WIDTH = 160  # pixels; a cut shows in a small picture


@dataclass
class Sighting:
    """What was seen in a frame."""

    faces: list[Face] | None  # None: it was not looked at
    brightness: float  # of the face, of 255
    size: tuple[int, int]  # width, height of the picture
    stale: bool
    begins: bool = False  # a shot begins here


@dataclass
class Window:
    """A clip to be: where it begins, the square that it shows, and what was seen in each of its t frames."""

    first: int
    crop: Box
    face_box: np.ndarray  # (t, 4) x, y, width, height in pixels of the picture
    mouth_box: np.ndarray  # (t, 4)
    rotation: np.ndarray  # (t, 3) degrees, or (0,) if unknown


class CropOutside(Exception):
    """The annotated crop is not inside the picture."""


def look(path: Path, shot: Shot, every: int, detector: FaceDetector) -> Iterator[Sighting]:
    """What is in each frame of a stretch of a video."""
    cuts = AdaptiveDetector(min_scene_len=1)
    waiting: list[Sighting] = []  # a cut shows a few frames later
    for index, frame in enumerate(read_frames(path, shot.start, shot.end)):
        picture = visible(frame.pixels, shot)
        faces = detector.detect(picture) if index % every == 0 else None
        size = (picture.shape[1], picture.shape[0])
        waiting.append(Sighting(faces, _brightness(picture, faces), size, frame.stale))
        scale = _CUT_WIDTH / max(size)
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        time = FrameTimecode(index, float(FRAMES_PER_SECOND))
        for cut in cuts.process_frame(time, cv2.cvtColor(small, cv2.COLOR_RGB2BGR)):
            waiting[cut.frame_num - index - 1].begins = True
        if len(waiting) > 2 * cuts.window_width:
            yield waiting.pop(0)
    yield from waiting


def visible(pixels: np.ndarray, shot: Shot) -> np.ndarray:
    """The part of a frame that the annotations say."""
    if shot.crop is None:
        return pixels
    height, width = pixels.shape[:2]
    scale = height / shot.height if shot.height else 1.0
    crop = Box(*(round(scale * value) for value in (shot.crop.x, shot.crop.y, shot.crop.width, shot.crop.height)))
    if not crop.fits((width, height)):
        raise CropOutside
    return pixels[int(crop.y) : int(crop.y + crop.height), int(crop.x) : int(crop.x + crop.width)]


def _brightness(picture: np.ndarray, faces: list[Face] | None) -> float:
    if not faces:
        return 255.0
    box = faces[0].box
    left, top = max(int(box.x), 0), max(int(box.y), 0)
    return float(picture[top : int(box.y + box.height) + 1, left : int(box.x + box.width) + 1].mean())


def windows(sightings: list[Sighting], length: int, min_face: float, reject: Reject) -> Iterator[Window]:
    """The clips that a stretch gives, in order."""
    if len(sightings) < length:
        reject("too short", len(sightings))
        return
    for first, last in _shots(sightings, reject):
        if last - first < length:
            reject("shot too short", last - first)
            continue
        usable = (last - first) // length * length
        if last - first > usable:
            reject("end of a shot", last - first - usable)
        yield from _shot_windows(sightings, range(first, first + usable, length), min_face, reject)


def _shots(sightings: list[Sighting], reject: Reject) -> Iterator[tuple[int, int]]:
    """The first frame and the end of whatever goes on without a cut."""
    first: int | None = None
    for index, sighting in enumerate(sightings):
        if first is not None and (sighting.begins or sighting.stale):
            yield first, index
            first = None
        if sighting.stale:
            reject("picture stopped", 1)
        elif first is None:
            first = index
    if first is not None:
        yield first, len(sightings)


def _shot_windows(sightings: list[Sighting], begins: range, min_face: float, reject: Reject) -> Iterator[Window]:
    """The good ones of a shot's windows, all with the same crop."""
    good = []
    for begin in begins:
        reason = _fault(sightings[begin : begin + begins.step], min_face)
        if reason:
            reject(reason, begins.step)
        else:
            good.append(begin)
    if not good:
        return
    faces = [s.faces[0].box for begin in good for s in sightings[begin : begin + begins.step] if s.faces]
    crop = portrait_crop(sightings[good[0]].size, Box(*np.median(_corners(faces), axis=0).tolist()), _FACE_FRACTION)
    for begin in good:
        window = _window(sightings[begin : begin + begins.step], begin, crop)
        if _share_inside(window.face_box, crop).min() < _FACE_INSIDE:
            reject("face leaves the crop", begins.step)
        else:
            yield window


def _fault(sightings: list[Sighting], min_face: float) -> str | None:
    """Why these frames make no clip."""
    looked = [(s.faces, s.brightness) for s in sightings if s.faces is not None]
    seen = [(faces, brightness) for faces, brightness in looked if faces]
    if len(seen) < (1 - _MISSED_FACES) * len(looked):
        return "no face"
    widths = np.array([faces[0].box.width for faces, _ in seen])
    others = np.array([faces[1].box.width if len(faces) > 1 else 0.0 for faces, _ in seen])
    if (others > _SECOND_FACE * widths).mean() > _SECOND_FACES:
        return "two faces"
    if np.median(widths) < min_face:
        return "face too small"
    if np.median([brightness for _, brightness in seen]) < _DARKEST:
        return "too dark"
    return None


def _window(sightings: list[Sighting], first: int, crop: Box) -> Window:
    """What was seen, and where nothing was, what is in between."""
    seen = [(index, s.faces[0]) for index, s in enumerate(sightings) if s.faces]
    steady = _steady(_corners([face.box for _, face in seen]))
    seen = [pair for pair, kept in zip(seen, steady, strict=True) if kept]
    indices = [index for index, _ in seen]
    frames = np.arange(len(sightings))

    def filled(values: np.ndarray) -> np.ndarray:  # (n, k) at indices -> (t, k)
        return np.stack([np.interp(frames, indices, column) for column in values.T], 1)

    face_box = filled(_corners([face.box for _, face in seen]))
    mouths = [face.mouth_box for _, face in seen if face.mouth_box is not None]
    if len(mouths) == len(seen):
        mouth_box = filled(_corners(mouths))
    else:
        x, y, width, height = MOUTH_IN_FACE
        sizes = face_box[:, 2:]
        mouth_box = np.concatenate([face_box[:, :2] + sizes * [x, y], sizes * [width, height]], 1)
    rotations = [face.rotation for _, face in seen if face.rotation is not None]
    rotation = filled(np.array(rotations)) if len(rotations) == len(seen) else np.zeros(0)
    return Window(first, crop, face_box, mouth_box, rotation)


def _corners(boxes: list[Box]) -> np.ndarray:
    return np.array([(box.x, box.y, box.width, box.height) for box in boxes])


def _steady(boxes: np.ndarray) -> np.ndarray:
    """Which of the boxes (n, 4) are near the median of those around them; at least one is."""
    padded = np.pad(boxes, ((2, 2), (0, 0)), mode="edge")
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5, axis=0), axis=-1)
    jump = np.abs(boxes - median).max(1)
    return jump <= max(float(jump.min()), _LONGEST_JUMP * float(np.median(median[:, 2])))


def _share_inside(boxes: np.ndarray, crop: Box) -> np.ndarray:
    """How much of each box (t, 4) lies in the crop: (t,) 0 .. 1."""
    low = np.maximum(boxes[:, :2], [crop.x, crop.y])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], [crop.x + crop.width, crop.y + crop.height])
    return (high - low).clip(min=0).prod(1) / boxes[:, 2:].prod(1)
