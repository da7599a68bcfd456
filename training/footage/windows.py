"""The windows of a shot that become clips: stretches of one length in which one face can be followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from emo_rt.media.boxes import Box, portrait_crop
from training.footage.face_detector import MOUTH_IN_FACE
from training.footage.sightings import Sighting
from training.model.config import EmoConfig

#: Called with a reason and a number of frames that are in no clip.
Reject = Callable[[str, int], None]

_FACE_FRACTION = EmoConfig.face_fraction
_MISSED_FACES = 0.1  # share of the searched frames in which a clip's face may be missing
_SECOND_FACES = 0.2  # share of them in which there may be another face: a detector errs
_SECOND_FACE = 0.5  # width, in widths of the first, from which another face counts
_FACE_INSIDE = 0.8  # share of the face's box that stays in the crop
_LONGEST_JUMP = 0.4  # of a face between sightings, in widths; beyond, something else was taken for it
_DARKEST = 16.0  # mean of a frame's face, of 255


@dataclass
class Window:
    """A stretch of t frames that becomes a clip.

    Attributes:
        first: first frame, counted from the beginning of the shot.
        crop: the square that the clip shows, in pixels of the picture.
        face_box: (t, 4) x, y, width and height in pixels of the picture.
        mouth_box: (t, 4) x, y, width and height in pixels of the picture.
        rotation: (t, 3) yaw, pitch and roll in degrees; (0,) if they are unknown.
    """

    first: int
    crop: Box
    face_box: np.ndarray
    mouth_box: np.ndarray
    rotation: np.ndarray


def windows(sightings: list[Sighting], length: int, min_face: float, reject: Reject) -> Iterator[Window]:
    """The windows of a stretch, in order.

    Args:
        sightings: what is seen in each frame.
        length: number of frames in a clip.
        min_face: width in pixels of the narrowest face.
        reject: called for whatever is in no window.
    """
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
    """The first frame, and the frame after the last, of each stretch without a cut."""
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
    """The windows of a shot that can be used, all with the same crop; they begin at `begins`."""
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
    """Why these frames make no clip; None if they make one."""
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
    """The window of these sightings. Where no face was seen, boxes are interpolated."""
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
    """The share of each box (t, 4) that lies in the crop: (t,) from 0 to 1."""
    low = np.maximum(boxes[:, :2], [crop.x, crop.y])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], [crop.x + crop.width, crop.y + crop.height])
    return (high - low).clip(min=0).prod(1) / boxes[:, 2:].prod(1)
