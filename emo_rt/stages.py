"""The stages of a video at work at the same time: while a clip is denoised, the one before it is decoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np

from emo_rt.ahead import ahead
from emo_rt.cascade import Cascade, DenoisedClip


def decoded_clips(cascade: Cascade, clips: Iterator[DenoisedClip]) -> Generator[tuple[DenoisedClip, np.ndarray]]:
    """Each clip with its frames, RGB uint8 (k, R, R, 3), the same as without overlap.

    The clips, and with them the reading of the voice, come from a thread of their own, their frames from a second one,
    and the caller uses them in its own. A few clips are in memory at most.
    """

    def decoded() -> Iterator[tuple[DenoisedClip, np.ndarray]]:
        with closing(ahead(clips)) as denoised:
            for clip in denoised:
                yield clip, cascade.decode(clip)

    with closing(ahead(decoded())) as pairs:
        yield from pairs
