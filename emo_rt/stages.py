"""The stages of a video at work at the same time: while a clip is denoised, others are decoded and encoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np

from emo_rt.ahead import ahead
from emo_rt.cascade import Cascade, DenoisedClip
from emo_rt.video import encode_clip


def encoded_clips(cascade: Cascade, clips: Iterator[DenoisedClip]) -> Generator[tuple[DenoisedClip, list[bytes]]]:
    """Each clip with its packets of H.264; at most three clips are in memory.

    The clips, and with them the reading of the voice, come from a thread of their own; what is asked for next is
    decoded in a second one.
    """

    def decoded() -> Iterator[tuple[DenoisedClip, np.ndarray]]:
        with closing(ahead(clips)) as denoised:
            for clip in denoised:
                yield clip, cascade.decode(clip)

    with closing(ahead(decoded())) as pairs:
        for clip, frames in pairs:
            yield clip, encode_clip(frames, cascade.config.frames_per_second)
