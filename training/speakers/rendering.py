"""What comes of rendering a head: pictures, and where the face is in each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rendering:
    """Pictures, and where the face is in each.

    Attributes:
        frames: (B, 3, H, W) RGB in [0, 1].
        face_box: (B, 4) x, y, width and height in pixels, in the convention of OpenCV's frontal face detectors: a
            square from above the brows to the chin.
        mouth_box: (B, 4) x, y, width and height in pixels of the lips.
        landmarks: (B, 468, 2) x and y in pixels of the face mesh; None where they are unknown.
    """

    frames: Tensor
    face_box: Tensor
    mouth_box: Tensor
    landmarks: Tensor | None = None
