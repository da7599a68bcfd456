"""Mouth shapes from phonemes: the shape of each sound, blended with those of its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.clips.phonemes import PHONEME_CLASSES, phoneme_class
from training.speakers.speech.utterance import Utterance

# Class -> (opening, width, dominance). Dominance is the weight of the shape against those of its neighbours: p, b and m
# must close and w must round, while h takes the shape beside it (dominance functions after Cohen and Massaro, 1993).
_TARGETS: dict[str, tuple[float, float, float]] = {
    "silence": (0.00, 0.50, 0.8),
    "p": (0.00, 0.48, 8.0), "b": (0.00, 0.48, 8.0), "m": (0.00, 0.48, 8.0),
    "f": (0.10, 0.60, 4.0), "v": (0.10, 0.60, 4.0), "w": (0.14, 0.02, 4.0),
    "T": (0.22, 0.58, 1.2), "D": (0.22, 0.58, 0.8),
    "t": (0.20, 0.60, 0.7), "d": (0.22, 0.60, 0.7), "n": (0.22, 0.58, 0.7), "l": (0.32, 0.55, 0.7),
    "s": (0.15, 0.78, 1.8), "z": (0.15, 0.76, 1.8), "r": (0.22, 0.25, 1.0),
    "S": (0.22, 0.16, 2.2), "Z": (0.22, 0.16, 2.2), "tS": (0.20, 0.18, 2.0), "dZ": (0.20, 0.18, 2.0),
    "k": (0.30, 0.55, 0.5), "g": (0.30, 0.55, 0.5), "N": (0.30, 0.55, 0.5), "h": (0.35, 0.50, 0.2),
    "j": (0.22, 0.82, 1.0),
    "i:": (0.30, 0.98, 1.5), "I": (0.36, 0.76, 1.0), "E": (0.58, 0.72, 1.2), "a": (0.85, 0.74, 1.4),
    "A:": (1.00, 0.52, 1.5), "O:": (0.68, 0.18, 1.4), "0": (0.82, 0.36, 1.3), "V": (0.70, 0.54, 1.2),
    "U": (0.34, 0.18, 1.1), "u:": (0.24, 0.02, 1.6), "3:": (0.40, 0.32, 1.1), "@": (0.38, 0.50, 0.5),
}  # fmt: skip

# A diphthong goes from one vowel to another.
_DIPHTHONGS = {
    "eI": ("E", "i:"),
    "aI": ("A:", "i:"),
    "aU": ("A:", "u:"),
    "oU": ("O:", "u:"),
    "OI": ("O:", "i:"),
}

# Seconds over which a sound's influence falls by e: the extent of coarticulation. A closure is quick.
_REACH, _FIRM_REACH = 0.032, 0.016
_EMPHASIS = 1.25  # factor of the opening, because vowels are too short to reach their targets
_FIRM = 4.0  # dominance from which a sound must be seen, however short it is


@dataclass(frozen=True)
class MouthCurves:
    """The shape of a mouth in each frame.

    Attributes:
        opening: float32 (frames,) from 0, closed, to 1, wide open.
        width: float32 (frames,) from 0, rounded, over 0.5, neutral, to 1, spread.
    """

    opening: np.ndarray
    width: np.ndarray


def mouth_curves(utterance: Utterance, frames_per_second: float, frames: int) -> MouthCurves:
    """The mouth in the middle of each frame.

    Args:
        utterance: what is said.
        frames_per_second: frame rate in Hz.
        frames: number of frames; the mouth is at rest in those beyond the utterance.
    """
    starts, ends, targets = _segments(utterance)
    middles = (np.arange(frames) + 0.5) / frames_per_second
    # Distance in time from each frame to each segment, zero inside it.  [frames, segments]
    distance = np.maximum(np.maximum(starts - middles[:, None], middles[:, None] - ends), 0)
    firm = targets[:, 2] >= _FIRM
    weights = targets[:, 2] * np.exp(-distance / np.where(firm, _FIRM_REACH, _REACH))
    # A closure lasts some 60 ms: less than two frames at 25 Hz. It spreads to at least the nearest frame.
    nearest = np.abs((starts + ends) / 2 - middles[:, None]) <= 0.5 / frames_per_second
    weights = np.where(nearest & firm, 60 * weights + 60, weights)
    weights /= weights.sum(1, keepdims=True)
    opening, width = (weights @ targets[:, :2]).T
    opening = _EMPHASIS * opening
    return MouthCurves(opening.clip(0, 1).astype(np.float32), width.clip(0, 1).astype(np.float32))


def _segments(utterance: Utterance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends in seconds (segments,) and targets (segments, 3), with silence before and after."""
    starts, ends, targets = [-10.0], [0.0], [_TARGETS["silence"]]
    for phoneme in utterance.phonemes:
        name = PHONEME_CLASSES[phoneme_class(phoneme.symbol)]
        middle = phoneme.start + 0.55 * (phoneme.end - phoneme.start)
        if name in _DIPHTHONGS:
            first, second = _DIPHTHONGS[name]
            starts += [phoneme.start, middle]
            ends += [middle, phoneme.end]
            targets += [_TARGETS[first], _TARGETS[second]]
        else:
            starts.append(phoneme.start)
            ends.append(phoneme.end)
            targets.append(_TARGETS[name])
    end = max(ends[-1], utterance.seconds)
    return np.array([*starts, end]), np.array([*ends, end + 1e6]), np.array([*targets, _TARGETS["silence"]])
