"""A clip that is made at once."""

from __future__ import annotations

import numpy as np

from training.clips.clip import TrainingClip
from training.clips.face_mesh import FACE_POINTS


def small_clip(frames: int = 3) -> TrainingClip:
    """A clip whose arrays have the right lengths and are all different."""
    rng = np.random.default_rng(0)

    def labels(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    return TrainingClip(
        frames=rng.integers(0, 256, (frames, 8, 8, 3), np.uint8),
        waveform=labels(frames * 640),
        mouth_opening=labels(frames),
        mouth_width=labels(frames),
        rotation=labels(frames, 3),
        head_speed=labels(frames),
        face_box=labels(frames, 4),
        mouth_box=labels(frames, 4),
        phoneme_class=rng.integers(0, 42, 2 * frames),
        blink=labels(frames),
        gaze=labels(frames, 2),
        landmarks=300 * labels(frames, FACE_POINTS, 2) - 20,
        text="a sentence",
        voice="en-us+f3",
        language="en",
        style="speech",
        sound="clean",
        photograph="anna-2",
        person="anna",
    )
