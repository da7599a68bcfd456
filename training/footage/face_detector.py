"""Face detectors for footage: where the face and the mouth are, and how the head is turned.

YuNet, which the runtime uses, needs no file but finds only the face. MediaPipe, which the paper uses, needs its package
and a FaceLandmarker model (`.task`), and finds the mouth and the rotation too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emo_rt.media.boxes import Box
from emo_rt.media.face_detector import CERTAIN, detect_faces
from training.clips.rotation import rotation_angles

#: The mouth in the box of a frontal face: x, y, width and height in sizes of the box, with room for an open mouth.
MOUTH_IN_FACE = (0.25, 0.65, 0.5, 0.3)

# Of MediaPipe's 478 landmarks, the outer contour of the lips.
_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
_UPWARDS = np.diag([1.0, -1.0, 1.0])  # MediaPipe's y points up, ours down


@dataclass(frozen=True)
class DetectedFace:
    """A face in a picture.

    Attributes:
        box: the face in pixels.
        mouth_box: the mouth in pixels; None if the detector does not find it.
        rotation: (3,) yaw, pitch and roll in degrees; None if the detector does not find them.
    """

    box: Box
    mouth_box: Box | None = None
    rotation: np.ndarray | None = None


class FaceDetector(Protocol):
    """Finds the faces of one picture."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """The faces in an RGB picture uint8 (height, width, 3), the largest first."""
        ...


class YuNetDetector:
    """The runtime's detector. It finds boxes only."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """The faces in an RGB picture uint8 (height, width, 3), the largest first."""
        return [DetectedFace(face.box) for face in detect_faces(image) if face.confidence >= CERTAIN]


class MediaPipeDetector:
    """MediaPipe's FaceLandmarker: boxes around the landmarks and the lips, and the rotation.

    `pip install --no-deps mediapipe absl-py` is enough for it. The package's full dependencies include a second OpenCV,
    which overwrites this project's.

    Args:
        model: `.task` file of a FaceLandmarker.

    Raises:
        ValueError: if there is no such file, it is no such model, or the package is missing.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise ValueError(f"--landmarker {model}: no such file; give MediaPipe's face_landmarker.task")
        try:
            import mediapipe
            from mediapipe.tasks import python as tasks
        except ImportError as error:
            raise ValueError(
                f"--landmarker needs the package mediapipe ({error}): pip install --no-deps mediapipe absl-py"
            ) from None
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)),
            num_faces=2,  # a second one is a reason to reject
            output_facial_transformation_matrixes=True,
        )
        try:
            self._landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(f"--landmarker {model}: not a FaceLandmarker model ({error})") from None
        self._mediapipe = mediapipe

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        """The faces in an RGB picture uint8 (height, width, 3), the largest first."""
        pixels = np.ascontiguousarray(image)
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=pixels)
        return faces_of_landmarks(self._landmarker.detect(picture), image.shape[1], image.shape[0])


def faces_of_landmarks(result: Any, width: int, height: int) -> list[DetectedFace]:
    """The faces in a FaceLandmarker's result, the largest first.

    Args:
        result: what the FaceLandmarker gives.
        width: width of the picture in pixels.
        height: height of the picture in pixels.
    """
    faces = []
    for landmarks, matrix in zip(result.face_landmarks, result.facial_transformation_matrixes, strict=True):
        points = np.array([[point.x * width, point.y * height] for point in landmarks])
        rotation = rotation_angles(_UPWARDS @ np.asarray(matrix)[:3, :3] @ _UPWARDS)
        faces.append(DetectedFace(_around(points), _around(points[list(_LIPS)]), rotation))
    return sorted(faces, key=lambda face: face.box.width * face.box.height, reverse=True)


def make_detector(landmarker: Path | None) -> FaceDetector:
    """MediaPipe's detector for a model; without one, the runtime's.

    Raises:
        ValueError: as `MediaPipeDetector`.
    """
    return MediaPipeDetector(landmarker) if landmarker else YuNetDetector()


def _around(points: np.ndarray) -> Box:
    low, high = points.min(0), points.max(0)
    return Box(*map(float, low), *map(float, high - low))
