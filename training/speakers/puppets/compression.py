"""What H.264 leaves of a video."""

from __future__ import annotations

import io

import torch
from torch import Tensor


def compressed_video(frames: Tensor, crf: int) -> Tensor:
    """Frames (B, 3, h, w) in [0, 1] as they are after H.264, with h and w even.

    Args:
        frames: a video at 25 Hz.
        crf: constant rate factor of x264, from 0, lossless, to 51.
    """
    # A reader of videos is loaded by those who need one.
    import av

    from training.clips.h264 import add_h264, read_h264, write_h264

    file = io.BytesIO()
    pixels = (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(force=True)
    with av.open(file, "w", format="mp4") as container:
        stream = add_h264(container, pixels.shape[1], pixels.shape[2], {"crf": str(crf)})
        write_h264(container, stream, pixels)
    file.seek(0)
    with av.open(file, "r") as video:
        decoded = read_h264(video)
    return torch.from_numpy(decoded).to(frames).permute(0, 3, 1, 2) / 255
