"""What sees a portrait: faces, the landmarks of one, and where the person is.

MediaPipe does, in an environment of its own: its package needs an older protobuf than ONNX's. So nothing that this
command imports needs PyTorch or ONNX.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from emo_rt.media.boxes import Box
from training.speakers.puppets.photographs import LANDMARKS

#: The last release with all models inside of the wheel.
MEDIAPIPE = "mediapipe==0.10.21"


class PortraitLandmarker(Protocol):
    """Sees what a photograph needs. Pictures are uint8 RGB (height, width, 3)."""

    def faces(self, picture: np.ndarray) -> list[Box]:
        """Boxes from the brows to the chin in pixels, the widest first."""
        ...

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        """The 478 points of the largest face, float32 (478, 3) as in `Photograph`; None if there is no face."""
        ...

    def person(self, picture: np.ndarray) -> np.ndarray:
        """The mask of the person, uint8 (height, width), 255 where the person is."""
        ...


class MediaPipeLandmarker:
    """MediaPipe's face detection, face mesh and selfie segmentation, with the models inside of its wheel.

    Raises:
        ValueError: if the package is missing, or is a release without these models.
    """

    def __init__(self) -> None:
        try:
            import mediapipe

            solutions = mediapipe.solutions
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"{MEDIAPIPE} is needed ({error}): make an environment for it, see docs/training.md"
            ) from None
        with _silent_errors():
            # The second model is for faces that fill the picture.
            self._detectors = [solutions.face_detection.FaceDetection(0.5, model) for model in (1, 0)]
            self._mesh = solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1)
            self._segmentation = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
            for see in (self.faces, self.landmarks, self.person):  # the models load in the background
                see(np.zeros((64, 64, 3), np.uint8))

    def faces(self, picture: np.ndarray) -> list[Box]:
        """Boxes from the brows to the chin in pixels, the widest first."""
        height, width = picture.shape[:2]
        found: list[Any] = next(
            (faces for detector in self._detectors if (faces := _seen(detector, picture).detections)), []
        )
        relative = [face.location_data.relative_bounding_box for face in found]
        boxes = [Box(box.xmin * width, box.ymin * height, box.width * width, box.height * height) for box in relative]
        return sorted(boxes, key=lambda box: box.width, reverse=True)

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        """The 478 points of the largest face, float32 (478, 3) as in `Photograph`; None if there is no face."""
        faces = _seen(self._mesh, picture).multi_face_landmarks
        if not faces:
            return None
        points = np.array([[point.x, point.y, point.z] for point in faces[0].landmark], np.float32)
        assert points.shape == (LANDMARKS, 3)
        points[:, 1] *= picture.shape[0] / picture.shape[1]  # it comes in heights
        return points

    def person(self, picture: np.ndarray) -> np.ndarray:
        """The mask of the person, uint8 (height, width), 255 where the person is."""
        share = _seen(self._segmentation, picture).segmentation_mask
        mask: np.ndarray = (share * 255).round().clip(0, 255).astype(np.uint8)
        return mask


def _seen(solution: Any, picture: np.ndarray) -> Any:
    with _silent_errors():
        return solution.process(picture)


@contextlib.contextmanager
def _silent_errors() -> Iterator[None]:
    """Keeps native code's log, which tells of its own parts, from the terminal."""
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
