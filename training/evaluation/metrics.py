"""What is measured on curves and frames, of generated videos and of the labels alike."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from training.clips.phonemes import PHONEME_CLASSES
from training.clips.rotation import head_speed

#: Up to this opening (0 closed .. 1 wide open) lips count as closed.
CLOSED = 0.15

#: Frames that a picture may come after its voice.
LAGS = (-1, 0, 1)

# A blink begins when the eyes are half shut, and the next one only after they have opened.
_SHUT, _OPEN = 0.5, 0.25

_BILABIALS = [PHONEME_CLASSES.index(symbol) for symbol in ("p", "b", "m")]


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two curves (t,); 0 if one of them does not move. Raises ``ValueError`` if the lengths differ."""
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"curves of different shapes do not correlate: {first.shape} and {second.shape}")
    if not len(first):
        return 0.0
    a, b = first.astype(np.float64), second.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    # Rounding moves even a constant curve a little.
    if size <= 1e-12 * len(a) * max(1.0, float(np.abs(first).max() * np.abs(second).max())):
        return 0.0
    return float(a @ b) / size


def lagged_correlation(read: np.ndarray, label: np.ndarray, lag: int) -> float:
    """Correlation of a curve (t,) with a label (t,) that it follows ``lag`` frames later."""
    if lag < 0:
        return correlation(read[:lag], label[-lag:])
    return correlation(read[lag:], label[: len(label) - lag])


def best_lag_correlation(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[int, float]:
    """The lag among ``LAGS`` at which curves (t,) follow their labels best, and their mean correlation there.

    Args:
        pairs: a curve and its label each, one pair or more.
    """
    means = [float(np.mean([lagged_correlation(read, label, lag) for read, label in pairs])) for lag in LAGS]
    best = int(np.argmax(means))
    return LAGS[best], means[best]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rho of two curves (n,): the correlation of their ranks, where equal values share one."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        return (ends - (counts - 1) / 2)[inverse]

    return correlation(ranks(first), ranks(second))


def find_blinks(blink: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each blink of a curve (t,), 0 open .. 1 shut."""
    events: list[tuple[int, int]] = []
    shut = False
    for frame, value in enumerate(blink):
        if not shut and value >= _SHUT:
            events.append((frame, frame))
        elif shut and value >= _OPEN:
            events[-1] = (events[-1][0], frame)
        shut = value >= (_OPEN if shut else _SHUT)
    return events


def matched_events(
    found: list[tuple[int, int]], true: list[tuple[int, int]], tolerance: int = 1
) -> tuple[int, int, int]:
    """How many events (first and last frame) are found that are there, are found, and are there.

    They match, each at most once, if they overlap when widened by ``tolerance`` frames.
    """
    left, matches = list(true), 0
    for first, last in found:
        match = next((event for event in left if event[0] - tolerance <= last and first <= event[1] + tolerance), None)
        if match:
            left.remove(match)
            matches += 1
    return matches, len(found), len(true)


def nearest(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Index (t,) of the unit vector of ``gallery`` (n, c) that is the most alike to each of ``queries`` (t, c)."""
    indices: np.ndarray = (queries @ gallery.T).argmax(1)
    return indices


def closures(mouth_opening: np.ndarray, phoneme_class: np.ndarray) -> tuple[int, int]:
    """How many of the sounds p, b and m a mouth closes for, and how many there are.

    Args:
        mouth_opening: (t,), one for each frame.
        phoneme_class: (2t,), indices into ``PHONEME_CLASSES``, two for each frame; what is longer is not looked at.
    """
    bilabial = np.isin(phoneme_class[: 2 * len(mouth_opening)], _BILABIALS)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bilabial, [False]])))
    sounds = edges.reshape(-1, 2)  # [first, end) of each
    closed = [mouth_opening[first // 2 : (end + 1) // 2].min() <= CLOSED for first, end in sounds]
    return int(sum(closed)), len(closed)


def mean_speed(rotation: np.ndarray) -> float:
    """Mean head speed in degrees per frame of read rotations (t, 3), smoothed over 5 frames against the reader's noise.

    It ranks speeds but squeezes them: still heads come out faster than they are, lively ones slower.
    """
    if len(rotation) < 6:
        return 0.0
    kernel = np.ones(5) / 5
    smooth = np.stack([np.convolve(rotation[:, axis], kernel, mode="valid") for axis in range(3)], 1)
    return float(head_speed(smooth).mean())


def share_inside(places: np.ndarray, region: np.ndarray) -> float:
    """How many of the places (t, 2), x and y in widths of the picture, are in a face region (1, 1, R, R) of 0 and 1."""
    size = region.shape[-1]
    columns, rows = (places * size).astype(int).clip(0, size - 1).T
    return float(region[0, 0, rows, columns].mean())


def wandering(places: np.ndarray) -> float:
    """Root mean square distance of places (t, 2) from their mean, in the unit of the places."""
    return float(np.sqrt(((places - places.mean(0)) ** 2).sum(1).mean()))


def psnr_table(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """PSNR in dB of every picture of ``first`` (a, h, w, 3) against every one of ``second`` (b, h, w, 3): (a, b)."""
    a, b = (pictures.reshape(len(pictures), -1) / 255.0 for pictures in (first, second))
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    table: np.ndarray = -10 * np.log10(np.maximum(squares / a.shape[1], 1e-10))
    return table


def border_ratio(frames: np.ndarray, clip_frames: int) -> float | None:
    """Mean difference of frames (t, h, w, 3) across the borders of clips, over that inside; None without a border."""
    differences = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    border = np.arange(1, len(frames)) % clip_frames == 0
    if not border.any() or border.all():
        return None
    return float(differences[border].mean() / max(float(differences[~border].mean()), 1e-6))


def colour_drift(frames: np.ndarray, span: int) -> float:
    """Distance in CIELAB (Delta E 1976) between the mean colours of the first and the last ``span`` frames."""
    first, last = (
        cv2.cvtColor((part.mean((0, 1, 2)) / 255).astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)[0, 0]
        for part in (frames[:span], frames[-span:])
    )
    return float(np.linalg.norm(first - last))


def psnr(actual: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pictures in dB; 100 where they are equal."""
    return _psnr(actual.astype(np.float64), expected.astype(np.float64), 255.0)


def _psnr(actual: np.ndarray, expected: np.ndarray, largest: float) -> float:
    error = float(np.mean((actual - expected) ** 2)) / largest**2
    return float(min(100.0, -10 * np.log10(max(error, 1e-12))))
