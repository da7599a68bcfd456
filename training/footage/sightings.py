"""What is seen in each frame of a video: faces, their brightness, and where a shot begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scenedetect import AdaptiveDetector, FrameTimecode

from emo_rt.media.boxes import Box
from training.clips.rates import FRAMES_PER_SECOND
from training.footage.annotations import Shot
from training.footage.face_detector import DetectedFace, FaceDetector
from training.footage.timeline import read_frames

_CUT_WIDTH = 160  # pixels; a cut shows in a small picture


@dataclass
class Sighting:
    """What is seen in a frame.

    Attributes:
        faces: faces, the largest first; None if the frame was not searched.
        brightness: mean of the largest face, of 255.
        size: width and height of the picture in pixels.
        stale: whether the video has no frame near this time.
        begins: whether a shot begins with this frame.
    """

    faces: list[DetectedFace] | None
    brightness: float
    size: tuple[int, int]
    stale: bool
    begins: bool = False


class CropOutside(Exception):
    """The annotated crop is not inside of the picture."""


def look(path: Path, shot: Shot, every: int, detector: FaceDetector) -> Iterator[Sighting]:
    """What is seen in each frame of a shot.

    Args:
        path: the video.
        shot: the stretch of it, and the part of the picture.
        every: number of frames of which one is searched for faces.
        detector: finds faces.

    Raises:
        UnreadableVideo: while iterating, if the video is damaged.
        CropOutside: while iterating, if the shot's crop is not inside of the picture.
    """
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
    """The part of a frame (h, w, 3) that the shot shows.

    Raises:
        CropOutside: if the shot's crop is not inside of the frame.
    """
    if shot.crop is None:
        return pixels
    height, width = pixels.shape[:2]
    scale = height / shot.height if shot.height else 1.0
    crop = Box(*(round(scale * value) for value in (shot.crop.x, shot.crop.y, shot.crop.width, shot.crop.height)))
    if not crop.fits((width, height)):
        raise CropOutside
    return pixels[int(crop.y) : int(crop.y + crop.height), int(crop.x) : int(crop.x + crop.width)]


def _brightness(picture: np.ndarray, faces: list[DetectedFace] | None) -> float:
    if not faces:
        return 255.0
    box = faces[0].box
    left, top = max(int(box.x), 0), max(int(box.y), 0)
    return float(picture[top : int(box.y + box.height) + 1, left : int(box.x + box.width) + 1].mean())
