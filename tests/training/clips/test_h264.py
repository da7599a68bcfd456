"""H.264 of clips gives the same bytes whatever the memory held before, and colours as they went in."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import av
import numpy as np

from training.clips.h264 import add_h264, read_h264, write_h264

PROGRAM = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1])))
from test_h264 import encoded, moving_noise
for side in (32, 96, 128):
    print(hashlib.sha256(encoded(moving_noise(side))).hexdigest())
"""


def moving_noise(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    frames = np.repeat(np.stack([x * 255 // side, y * 255 // side, (x + y) % 256], -1)[None], 20, 0)
    frames[:, 8:24, 8:28] = np.random.default_rng(0).integers(256, size=(20, 16, 20, 3))
    return frames.astype(np.uint8)


def encoded(frames: np.ndarray, crf: int = 24) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        write_h264(container, add_h264(container, *frames.shape[1:3], {"crf": str(crf)}), frames)
    return file.getvalue()


def test_the_same_frames_give_the_same_bytes_whatever_the_memory_held_before() -> None:
    """glibc fills new memory with a byte of our choice."""
    digests = set()
    for held in ("0", "85"):
        command = [sys.executable, "-c", PROGRAM, os.path.dirname(__file__)]
        environment = {**os.environ, "MALLOC_PERTURB_": held}
        digests.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(digests) == 1
    assert len(digests.pop().split()) == 3


def test_colours_come_back() -> None:
    colours = np.random.default_rng(1).integers(20, 235, size=(8, 3))
    frames = np.broadcast_to(colours[:, None, None], (8, 64, 64, 3)).astype(np.uint8)
    with av.open(io.BytesIO(encoded(frames, crf=1))) as container:
        again = read_h264(container)
    assert again.shape == frames.shape
    # Eight bits of luma and chroma leave less than two levels; a bias would darken all colours.
    assert np.abs(again.astype(int) - frames).max() <= 2
    assert abs((again.astype(float) - frames).mean()) < 0.4
