"""Rates of all training clips."""

from __future__ import annotations

FRAMES_PER_SECOND = 25


SAMPLE_RATE = 16000
