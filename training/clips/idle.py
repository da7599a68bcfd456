"""Where somebody in a clip says nothing for a while."""

from __future__ import annotations

import numpy as np

from training.clips.clip import TrainingClip

_SHORTEST = 12  # frames: shorter silences belong to speech
_CLOSED = 0.01  # mouth opening of lips that touch


def idle_frames(clip: TrainingClip) -> np.ndarray:
    """Whether each frame is of a stretch of half a second or more in which nothing is said and the lips are closed.

    Args:
        clip: t frames, with mouth opening and phoneme classes

    Returns:
        bool (t,)
    """
    quiet = (clip.phoneme_class.reshape(-1, 2) == 0).all(1) & (clip.mouth_opening < _CLOSED)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False))
    idle = np.zeros(len(quiet), bool)
    for start, end in edges.reshape(-1, 2):
        idle[start:end] = end - start >= _SHORTEST
    return idle
