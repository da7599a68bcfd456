"""Rates of all training clips."""

from __future__ import annotations

#: Frames of video per second.
FRAMES_PER_SECOND = 25

#: Samples of sound per second, in Hz.
SAMPLE_RATE = 16000
