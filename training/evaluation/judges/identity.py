"""dlib's face recognition as a judge: `python -m training.evaluation.judges.identity CLIPS OUT.json`.

It has never seen our training data, and turns faces into points: those of one person are less than 0.6 apart. It looks
at some frames of each clip, and at the photograph that a clip of a puppet shows. CLIPS is a folder of clips of
`python -m training.corpus`, or of MP4 files. `python -m training.evaluation.judges.report` gives the distances.

This command needs dlib-bin and face-recognition-models in an environment of its own, see docs/evaluation.md.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from training.evaluation.judges.command import judge_parser, run_judge
from training.evaluation.judges.judged_clips import JudgedClip
from training.evaluation.judges.readings import IdentityReading

#: The packages in which dlib and its models come.
DLIB = "dlib-bin and face-recognition-models"

# Side in pixels up to which dlib's detector, which sees faces of 80 pixels, looks at a picture of twice the size.
_SMALL_PICTURE = 400


class Recogniser(Protocol):
    """Turns a face into a point."""

    def point(self, picture: np.ndarray) -> np.ndarray | None:
        """The point (128,) of the largest face in a picture uint8 RGB (h, w, 3); None if there is no face."""
        ...


class DlibRecogniser:
    """dlib's frontal face detector and its ResNet for faces.

    Raises:
        ValueError: if a package is missing.
    """

    def __init__(self) -> None:
        models = importlib.util.find_spec("face_recognition_models")
        if not models or not models.submodule_search_locations or not importlib.util.find_spec("dlib"):
            raise ValueError(f"{DLIB} are needed: make an environment for them, see docs/evaluation.md")
        import dlib

        folder = Path(models.submodule_search_locations[0]) / "models"
        self._detector = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def point(self, picture: np.ndarray) -> np.ndarray | None:
        """The point (128,) of the largest face in a picture uint8 RGB (h, w, 3); None if there is no face."""
        faces = self._detector(picture, int(min(picture.shape[:2]) <= _SMALL_PICTURE))
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.area())
        return np.array(self._network.compute_face_descriptor(picture, self._points(picture, largest)))


def read_identities(
    clips: Iterable[JudgedClip], recogniser: Recogniser, photographs: Path | None = None, looks: int = 8
) -> dict[str, IdentityReading]:
    """Whom a recogniser sees in each clip, by the clip's name.

    Args:
        clips: the clips.
        recogniser: turns faces into points.
        photographs: folder of the photographs that clips show; None leaves the photographs out.
        looks: number of frames of a clip that are looked at, 1 or more, from the first to the last.

    Raises:
        ValueError: if there are no looks, or a clip's photograph cannot be read.
    """
    if looks < 1:
        raise ValueError(f"--looks is at least 1, not {looks}")
    readings, portraits = {}, {"": np.zeros(0)}
    for clip in tqdm(clips, unit="clip"):
        chosen = clip.frames[np.linspace(0, len(clip.frames) - 1, looks).round().astype(int)]
        points = [point for frame in chosen if (point := recogniser.point(np.ascontiguousarray(frame))) is not None]
        shown = clip.photograph if photographs else ""
        if photographs and shown not in portraits:
            point = recogniser.point(_picture(photographs / f"{shown}.jpg"))
            portraits[shown] = np.zeros(0) if point is None else point
        readings[clip.name] = IdentityReading(clip.person, np.reshape(points, (-1, 128)), portraits[shown])
    return readings


def _picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path}, which a clip shows, cannot be read ({error})") from None


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = judge_parser("identity", str(__doc__))
    parser.add_argument(
        "--photographs", type=Path, metavar="DIR", help="folder of the photographs whose puppets the clips show"
    )
    parser.add_argument("--looks", type=int, default=8, metavar="N", help="frames of a clip (default: %(default)s)")
    return run_judge(
        parser, lambda clips, args: read_identities(clips, DlibRecogniser(), args.photographs, args.looks), arguments
    )


if __name__ == "__main__":
    sys.exit(main())
