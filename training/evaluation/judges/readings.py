"""What judges see in clips, and the JSON files that hold it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emo_rt.atomic import atomic_write

_DIGITS = 5


@dataclass(frozen=True)
class MeshReading:
    """What MediaPipe's face mesh sees in a clip. Frames in which it finds no face are NaN.

    Attributes:
        opening: distance of the lips (t,) in heights of the face.
        width: width of the mouth (t,) in distances of the outer corners of the eyes.
        eyes: height of the eyes (t,) in their widths, the mean of both.
        rotation: yaw, pitch and roll (t, 3) in degrees.
    """

    opening: np.ndarray
    width: np.ndarray
    eyes: np.ndarray
    rotation: np.ndarray


@dataclass(frozen=True)
class IdentityReading:
    """Whom dlib sees in a clip: points that are near to each other for pictures of one person.

    Attributes:
        person: name of whoever is seen.
        frames: points (n, 128) of some of the frames, those without a face left out.
        portrait: point (128,) of the photograph that the clip shows; (0,) if it is unknown.
    """

    person: str
    frames: np.ndarray
    portrait: np.ndarray


def write_readings(path: Path, readings: Mapping[str, MeshReading] | Mapping[str, IdentityReading]) -> None:
    """Writes readings by name of the clip, whole or not at all.

    Raises:
        OSError: if the file cannot be written.
    """
    clips = {name: {k: _plain(v) for k, v in vars(reading).items()} for name, reading in readings.items()}
    with atomic_write(path) as file:
        file.write(json.dumps({"clips": clips}).encode())


def read_mesh_readings(path: Path) -> dict[str, MeshReading]:
    """What `write_readings` has written of the face mesh.

    Raises:
        ValueError: if the file holds something else. It names the file.
        OSError: if it cannot be read.
    """
    return {name: MeshReading(**fields) for name, fields in _clips(path, MeshReading)}


def read_identity_readings(path: Path) -> dict[str, IdentityReading]:
    """What `write_readings` has written of dlib.

    Raises:
        ValueError: if the file holds something else. It names the file.
        OSError: if it cannot be read.
    """
    return {name: IdentityReading(**fields) for name, fields in _clips(path, IdentityReading)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        rounded = value.round(_DIGITS).astype(object)
        rounded[np.isnan(value)] = None  # JSON has no NaN
        return rounded.tolist()
    return value


def _clips(path: Path, kind: type) -> list[tuple[str, dict[str, Any]]]:
    names = {field.name for field in dataclasses.fields(kind)}
    try:
        clips: dict[str, dict[str, Any]] = json.loads(path.read_text())["clips"]
        if any(set(fields) != names for fields in clips.values()):
            raise KeyError("other readings")
        return [(name, {k: _arrays(v) for k, v in fields.items()}) for name, fields in clips.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no readings of this judge ({error}): run it again") from None


def _arrays(value: Any) -> Any:
    return np.array(value, np.float64) if isinstance(value, list) else value
