"""What H.264 leaves of a video."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from training.clips.rates import FRAMES_PER_SECOND


def compressed_video(frames: Tensor, crf: int) -> Tensor:
    """Frames (B, 3, h, w) in [0, 1] as they are after H.264, with h and w even.

    Args:
        frames: a video at 25 Hz.
        crf: constant rate factor of x264, from 0, lossless, to 51.
    """
    import av  # a reader of videos is loaded by those who need one

    file = io.BytesIO()
    pixels = (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(force=True)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": str(crf), "threads": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as video:
        decoded = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    return torch.from_numpy(np.stack(decoded)).to(frames).permute(0, 3, 1, 2) / 255
