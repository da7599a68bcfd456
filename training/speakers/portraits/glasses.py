"""Does a person wear glasses? Their frame leaves thin lines across the nose and beside both eyes.

Whoever wears them must not blink: moved lids would bend the frame.
"""

from __future__ import annotations

import cv2
import numpy as np

#: From this strength on a person wears glasses.
LEAST_STRENGTH = 0.22

# The picture is turned and scaled until the outer corners of the eyes stand this many pixels apart.
_EYE_DISTANCE = 96
_WIDTH, _HEIGHT, _EYE_ROW = 200, 100, 42
_OUTER_CORNERS = 33, 263
# Left, right, upper and lower end of where a line must be, in pixels of the turned picture.
_BRIDGE = 93, 108, 26, 54
_TEMPLES = (25, 36, 28, 48), (164, 175, 28, 48)
_LINE = 2  # pixels from the middle of a line to what is beside it
_DARK = 20.0  # added to brightness, against the noise of shadows


def wears_glasses(picture: np.ndarray, landmarks: np.ndarray) -> bool:
    """Whether the person in a square picture wears glasses.

    Args:
        picture: uint8 RGB (s, s, 3).
        landmarks: (478, 3) as in `Photograph`.
    """
    return frame_strength(picture, landmarks) >= LEAST_STRENGTH


def frame_strength(picture: np.ndarray, landmarks: np.ndarray) -> float:
    """How clear the lines of a frame are: the harmonic mean of those across the nose and beside both eyes.

    It is low where one of the three is missing: wrinkles and brows are seldom in all three places.
    The strength of a line is the difference of its logarithmic brightness from both sides' together.

    Args:
        picture: uint8 RGB (s, s, 3).
        landmarks: (478, 3) as in `Photograph`.
    """
    brightness = np.log(_around_eyes(picture, landmarks).astype(np.float32) + _DARK)
    lines = [_line_strength(brightness, place) for place in (_BRIDGE, *_TEMPLES)]
    return 3 / sum(1 / max(line, 1e-6) for line in lines)


def _around_eyes(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The grey picture around the eyes, uint8, with the eyes in one row."""
    right, left = (landmarks[corner, :2] * len(picture) for corner in _OUTER_CORNERS)
    scale = _EYE_DISTANCE / max(float(np.hypot(*(left - right))), 1.0)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if scale < 1:  # so that thin lines do not alias
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        right, left, scale = right * scale, left * scale, 1.0
    cosine, sine = (left - right) / np.hypot(*(left - right)) * scale
    turn = np.array([[cosine, sine], [-sine, cosine]])
    shift = np.array([_WIDTH / 2, _EYE_ROW]) - turn @ (left + right) / 2
    return cv2.warpAffine(grey, np.column_stack([turn, shift]), (_WIDTH, _HEIGHT), borderMode=cv2.BORDER_REPLICATE)


def _line_strength(brightness: np.ndarray, place: tuple[int, int, int, int]) -> float:
    left, right, upper, lower = place
    rows = brightness[:, left:right].mean(1)
    above, below = rows[upper - _LINE : lower - _LINE], rows[upper + _LINE : lower + _LINE]
    return float(np.abs(2 * rows[upper:lower] - above - below).max())
