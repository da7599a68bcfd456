"""What is measured on generated videos besides the correlation of their mouths."""

from __future__ import annotations

import cv2
import numpy as np

from training.phonemes import PHONEME_CLASSES

#: Up to this opening (0 closed .. 1 wide open) lips count as closed.
CLOSED = 0.15

_BILABIALS = [PHONEME_CLASSES.index(symbol) for symbol in ("p", "b", "m")]


def closures(mouth_opening: np.ndarray, phoneme_class: np.ndarray) -> tuple[int, int]:
    """How many of the sounds p, b and m a mouth closes for, and how many there are.

    Args:
        mouth_opening: (t,), one for each frame.
        phoneme_class: (2t,), indices into ``PHONEME_CLASSES``, two for each frame; what is longer is not looked at.
    """
    bilabial = np.isin(phoneme_class[: 2 * len(mouth_opening)], _BILABIALS)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bilabial, [False]])))
    sounds = edges.reshape(-1, 2)  # [first, end) of each
    closed = [mouth_opening[first // 2 : (end + 1) // 2].min() <= CLOSED for first, end in sounds]
    return int(sum(closed)), len(closed)


def border_ratio(frames: np.ndarray, clip_frames: int) -> float | None:
    """Mean difference of frames (t, h, w, 3) across the borders of clips, over that inside; None without a border."""
    differences = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    border = np.arange(1, len(frames)) % clip_frames == 0
    if not border.any() or border.all():
        return None
    return float(differences[border].mean() / max(float(differences[~border].mean()), 1e-6))


def colour_drift(frames: np.ndarray, span: int) -> float:
    """Distance in CIELAB (Delta E 1976) between the mean colours of the first and the last ``span`` frames."""
    first, last = (
        cv2.cvtColor((part.mean((0, 1, 2)) / 255).astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)[0, 0]
        for part in (frames[:span], frames[-span:])
    )
    return float(np.linalg.norm(first - last))
