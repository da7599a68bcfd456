"""H.264 for clips: the same frames give the same bytes, and colours come back as they went in."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

from emo_rt.media.video import repeatable
from training.clips.rates import FRAMES_PER_SECOND

# Without these flags, FFmpeg darkens pictures by a level of 255 and repeats colours instead of blending them.
_EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


def add_h264(container: OutputContainer, height: int, width: int, options: Mapping[str, str]) -> av.VideoStream:
    """Adds a stream of H.264 at 25 Hz to a container.

    Args:
        container: where the video goes.
        height: pixels, even.
        width: pixels, even.
        options: options of x264.
    """
    stream = container.add_stream(
        "libx264", rate=FRAMES_PER_SECOND, options={**options, **repeatable(width), "threads": "1"}
    )
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.height, context.width, context.pix_fmt = height, width, "yuv420p"
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def write_h264(container: OutputContainer, stream: av.VideoStream, frames: np.ndarray) -> None:
    """Encodes a whole video, frames (t, height, width, 3) of RGB uint8, into the stream of a container."""
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation=_EXACT)
        frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_h264(container: InputContainer) -> np.ndarray:
    """Frames (t, height, width, 3) of the video in a container, RGB uint8."""
    frames = container.decode(video=0)
    return np.stack([frame.reformat(format="rgb24", interpolation=_EXACT).to_ndarray() for frame in frames])
