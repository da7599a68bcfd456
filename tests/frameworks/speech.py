"""Voices that tests push."""

from __future__ import annotations

import numpy as np

RATE = 24000
#: Samples of a video frame.
FRAME = RATE // 25


def pcm(seconds: float, rate: int = RATE, channels: int = 1) -> bytes:
    """A tone that is never silent, of which no two parts are the same, signed 16 bits."""
    times = np.arange(round(seconds * rate)) / rate
    tone = 0.2 * np.sin(2 * np.pi * (200 + 40 * times) * times) + 0.1
    return np.repeat((tone * 32767).astype(np.int16), channels).tobytes()
