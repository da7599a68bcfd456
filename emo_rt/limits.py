"""Limits of what is asked for and of what a bundle says: beyond them is a slip, or a file that somebody altered."""

from __future__ import annotations

import numpy as np

#: Largest speed of a head, degrees per frame: at 25 frames per second, 250 degrees per second. Nobody who talks turns
#: faster, and the speeds that the models learn end at 5.
MAX_SPEED = 10.0
#: Largest guidance scale. From about there on, every model gives garbage; those in use are 1 to 8.
MAX_GUIDANCE_SCALE = 20.0
#: NumPy's names of the element types that tensors may have.
DTYPES = tuple(sorted({np.dtype(code).name for code in "?bBhHiIlLefd"}))
#: Largest size of a tensor, and largest number of values in the frames of a clip.
MAX_SIZE = 2**31
#: The largest values of a config.
LARGEST_IN_CONFIG = {
    "resolution": 4096,
    "frames_per_second": 240,
    "clip_frames": 1000,
    "motion_frames": 1000,
    "sample_rate": 384_000,
    "audio_margin": 1000,
    "audio_context": 1000,
    "latent_channels": 4096,
    "latent_size": 4096,
    "steps": 10_000,
    "guidance_scale": MAX_GUIDANCE_SCALE,
    "speed": MAX_SPEED,
    "face_region_margin": 10,
    "face_fraction": 1,
}
