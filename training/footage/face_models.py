"""The models that see faces in footage."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.reader import FaceReader
from training.footage.face_detector import FaceDetector, make_detector
from training.footage.settings import PreparationSettings


@dataclass
class FaceModels:
    """What sees faces.

    Attributes:
        detector: finds faces, and with MediaPipe mouths and rotations too.
        reader: reads the rotation where the detector does not see it; None leaves it unknown.
    """

    detector: FaceDetector
    reader: FaceReader | None = None


@functools.cache
def load_face_models(settings: PreparationSettings) -> FaceModels:
    """The models of these settings, loaded once in each process.

    Raises:
        ValueError: if the detector or the reader cannot be loaded.
        FileNotFoundError: if the reader's directory has no reader.
    """
    detector = make_detector(Path(settings.landmarker) if settings.landmarker else None)
    return FaceModels(detector, FaceReader.load(Path(settings.reader)) if settings.reader else None)
