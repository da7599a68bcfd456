"""The video of the stand-in: a moving picture with a tone, which grows box by box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emo_rt.media.video import VideoWriter, encode_clip

#: Frames a second, number of frames, side in pixels, and frames that come at once.
RATE, FRAMES, SIDE, CLIP = 25, 100, 128, 10


def moving_video(path: Path) -> bytes:
    """A fragmented MP4 with a moving picture and a tone."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    tone = 0.2 * np.sin(2 * np.pi * 220 * np.arange(16000 * FRAMES // RATE) / 16000).astype(np.float32)
    with VideoWriter(path, (SIDE, SIDE), RATE, 16000, 1, fragmented=True) as writer:
        for first in range(0, FRAMES, CLIP):
            frames = []
            for index in range(first, first + CLIP):
                ring = np.hypot(rows - 64, columns - 64 - 20 * np.sin(index / 8)) < 40
                frames.append(np.where(ring[..., None], (224, 180, 150), (90, 120, 105)).astype(np.uint8))
            writer.write_sound(tone[None, first * 640 : (first + CLIP) * 640])
            writer.write_clip(encode_clip(frames, RATE))
    return path.read_bytes()


def parts(data: bytes) -> Iterator[bytes]:
    """The boxes of an MP4."""
    place = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        yield data[place : place + size]
        place += size
