"""How a clip of a puppet is taken: framing, light, background, and how often the picture was compressed."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.speakers.puppets.compression import compressed_video

_OWN_BACKGROUND, _BLURRED_BACKGROUND = 0.6, 0.8  # chances, the second one with the first
_REDUCED, _JPEG, _VIDEO = 0.25, 0.4, 0.5  # chances of each loss of quality


@dataclass(frozen=True)
class Look:
    """The look of one clip; the defaults show the photograph as it is.

    Attributes:
        face_share: width of the face as a share of the frame's, if the photograph is wide enough for it.
        offset: shift of the face from the middle of the frame to the right and down, in shares of the frame.
        gain: (3,) factors of red, green and blue.
        contrast: factor of the distance from middle grey.
        gamma: exponent of the brightness.
        slope: (2,) change of brightness from the middle to the right and the lower edge.
        background: (2, 3) colours above and below behind the person, a number of shares of the picture to blur its own
            background by, or None for its own.
        source_side: side in pixels that the photograph is reduced to first; None leaves it.
        jpeg_quality: quality from 1 to 95 at which the photograph is compressed first; None leaves it.
        video_crf: constant rate factor at which the frames are compressed as H.264; None leaves them.
    """

    face_share: float = 0.45
    offset: tuple[float, float] = (0.0, 0.02)
    gain: np.ndarray = field(default_factory=lambda: np.ones(3))
    contrast: float = 1.0
    gamma: float = 1.0
    slope: tuple[float, float] = (0.0, 0.0)
    background: np.ndarray | float | None = None
    source_side: int | None = None
    jpeg_quality: int | None = None
    video_crf: int | None = None

    def source(self, pixels: Tensor) -> Tensor:
        """The photograph (3, s, s) in [0, 1] as it was kept: small, compressed, or both."""
        if self.source_side is None and self.jpeg_quality is None:
            return pixels
        image: np.ndarray = (pixels.permute(1, 2, 0).numpy(force=True) * 255).round().astype(np.uint8)
        side = len(image)
        if self.source_side is not None and self.source_side < side:
            image = cv2.resize(image, (self.source_side, self.source_side), interpolation=cv2.INTER_AREA)
        if self.jpeg_quality is not None:
            file = io.BytesIO()
            Image.fromarray(image).save(file, format="JPEG", quality=self.jpeg_quality)
            image = np.asarray(Image.open(file))
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        return torch.from_numpy(image).to(pixels).permute(2, 0, 1) / 255

    def behind(self, background: Tensor) -> Tensor:
        """What is seen behind the person (3, s, s), from the photograph's own background."""
        if self.background is None:
            return background
        side = background.shape[-1]
        if isinstance(self.background, float):
            image = background.permute(1, 2, 0).numpy(force=True)
            blurred = cv2.GaussianBlur(image, (0, 0), max(self.background * side, 0.1))
            return torch.from_numpy(blurred).to(background).permute(2, 0, 1)
        upper, lower = torch.from_numpy(self.background).to(background)[:, :, None, None]
        return torch.lerp(upper, lower, torch.linspace(0, 1, side, device=background.device)[:, None]).expand(
            -1, -1, side
        )

    def graded(self, frames: Tensor) -> Tensor:
        """The frames (B, 3, h, w) in [0, 1] in the light and with the losses of this look."""
        line = torch.linspace(-1, 1, frames.shape[-1], device=frames.device)
        light = 1 + self.slope[0] * line + self.slope[1] * line[:, None]
        gain = torch.tensor(self.gain, dtype=frames.dtype, device=frames.device)[:, None, None]
        frames = ((frames * gain * light - 0.5) * self.contrast + 0.5).clamp(0, 1) ** self.gamma
        return frames if self.video_crf is None else compressed_video(frames, self.video_crf)


def sample_look(rng: np.random.Generator) -> Look:
    """A random look."""
    kind = rng.random()
    background: np.ndarray | float | None = None
    if kind > _BLURRED_BACKGROUND:
        grey, tint = rng.uniform(0.1, 0.9), rng.normal(0, 0.08, 3)
        background = (grey + tint + rng.uniform(-0.2, 0.2, (2, 1))).clip(0, 1)
    elif kind > _OWN_BACKGROUND:
        background = float(rng.uniform(0.005, 0.05))
    return Look(
        face_share=float(rng.uniform(0.36, 0.62)),
        offset=(float(rng.normal(0, 0.025)), float(rng.normal(0.02, 0.025))),
        gain=rng.uniform(0.8, 1.15) * rng.uniform(0.94, 1.06, 3),
        contrast=float(rng.uniform(0.85, 1.12)),
        gamma=float(rng.uniform(0.85, 1.2)),
        slope=(float(rng.normal(0, 0.06)), float(rng.normal(0, 0.05))),
        background=background,
        source_side=int(rng.integers(160, 480)) if rng.random() < _REDUCED else None,
        jpeg_quality=int(rng.integers(40, 95)) if rng.random() < _JPEG else None,
        video_crf=int(rng.integers(18, 31)) if rng.random() < _VIDEO else None,
    )
