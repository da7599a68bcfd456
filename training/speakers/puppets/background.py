"""What is behind a person: the picture around them, carried on to where they stand."""

from __future__ import annotations

import cv2
import numpy as np

_FREE = 0.05  # share of the person from which a pixel is no background
_MARGIN = 9  # pixels around the person that are not trusted


def fill_background(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replaces the person by colours from around, coarse where they are far (push-pull on a pyramid).

    Args:
        picture: float32 (s, s, 3).
        mask: float32 (s, s), 1 where the person is.
    """
    known = cv2.erode((mask < _FREE).astype(np.float32), np.ones((_MARGIN, _MARGIN)))
    pyramid = [(picture * known[..., None], known)]
    while min(pyramid[-1][1].shape) > 2:
        half = [cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for level in pyramid[-1]]
        pyramid.append((half[0], half[1]))
    colours, weight = pyramid[-1]
    filled = np.ones_like(colours) * (colours.sum((0, 1)) / max(float(weight.sum()), 1e-6))
    for colours, weight in reversed(pyramid):
        filled = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_CUBIC)
        trust = np.clip(4 * weight, 0, 1)[..., None]
        filled = filled * (1 - trust) + trust * colours / np.maximum(weight, 1e-6)[..., None]
    return filled.astype(np.float32)
