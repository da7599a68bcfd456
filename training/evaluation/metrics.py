"""What is measured on curves and pictures, of generated videos and of the labels alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.stats import spearmanr
from torchmetrics.functional.image import peak_signal_noise_ratio

from training.clips.phonemes import PHONEME_CLASSES
from training.clips.rotation import head_speed

#: The largest mouth opening (0 closed .. 1 wide open) at which lips count as closed.
CLOSED_LIPS = 0.15

#: The delays, in frames, of a picture behind its voice that a search for the best one tries.
LAGS = (-1, 0, 1)

#: The standard deviation of a label from 0 to 1 below which there is nothing to correlate with.
LEAST_DEVIATION = 0.05

#: The PSNR of equal pictures in dB, and the highest that is ever given.
HIGHEST_PSNR = 100.0

# A blink begins when the eyes are half shut, and the next one only after they have opened.
_SHUT, _OPEN = 0.5, 0.25

_BILABIALS = [PHONEME_CLASSES.index(symbol) for symbol in ("p", "b", "m")]


@dataclass(frozen=True)
class LipClosures:
    """How often lips close where they must: on the sounds p, b and m.

    Attributes:
        closed: number of the sounds for which the lips close.
        sounds: number of the sounds.
    """

    closed: int
    sounds: int

    @property
    def share(self) -> float | None:
        """Share of the sounds for which the lips close; None without a sound."""
        return self.closed / self.sounds if self.sounds else None

    @classmethod
    def total(cls, closures: Iterable[LipClosures]) -> LipClosures:
        """The sum of the counts; 0 of 0 for none."""
        counts = list(closures)
        return cls(sum(one.closed for one in counts), sum(one.sounds for one in counts))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two curves (t,); 0 if one of them is constant, whatever rounding does to it.

    Raises:
        ValueError: if the lengths differ.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"curves of different shapes do not correlate: {first.shape} and {second.shape}")
    if not len(first):
        return 0.0
    a, b = first.astype(np.float64), second.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    # The mean of a constant curve is rounded, so that the difference from it is not quite 0.
    if size <= 1e-12 * len(a) * max(1.0, float(np.abs(first).max() * np.abs(second).max())):
        return 0.0
    return float(a @ b) / size


def varies(label: np.ndarray) -> bool:
    """Whether there is anything in a curve (t,) of a mouth or lid, from 0 to 1, to correlate with."""
    return float(label.std()) >= LEAST_DEVIATION


def lagged_correlation(read: np.ndarray, label: np.ndarray, lag: int) -> float:
    """Pearson's r of a curve (t,) with a label (t,) that it follows `lag` frames later."""
    if lag < 0:
        return correlation(read[:lag], label[-lag:])
    return correlation(read[lag:], label[: len(label) - lag])


def best_lag_correlation(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[int, float]:
    """The lag at which curves follow their labels best, and their mean correlation there.

    Args:
        pairs: curves (t,) with their labels (t,), one pair or more.

    Returns:
        One of `LAGS`, in frames, and the mean of Pearson's r at that lag.
    """
    means = [float(np.mean([lagged_correlation(read, label, lag) for read, label in pairs])) for lag in LAGS]
    best = int(np.argmax(means))
    return LAGS[best], means[best]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rho of two curves (n,); 0 if one of them is constant or has no two values.

    Raises:
        ValueError: if the lengths differ.
    """
    if len(np.unique(first)) < 2 or len(np.unique(second)) < 2:
        return 0.0
    return float(spearmanr(first, second).statistic)


def find_blinks(blink: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each blink of a curve (t,), 0 open .. 1 shut."""
    blinks: list[tuple[int, int]] = []
    shut = False
    for frame, value in enumerate(blink):
        if not shut and value >= _SHUT:
            blinks.append((frame, frame))
        elif shut and value >= _OPEN:
            blinks[-1] = (blinks[-1][0], frame)
        shut = value >= (_OPEN if shut else _SHUT)
    return blinks


def matched_events(
    found: list[tuple[int, int]], true: list[tuple[int, int]], tolerance: int = 1
) -> tuple[int, int, int]:
    """How many found events match true ones.

    Args:
        found: first and last frame of each event that was found.
        true: first and last frame of each event that happened.
        tolerance: number of frames by which a true event is widened on both sides; two events that then overlap match,
            each at most once.

    Returns:
        The numbers of matches, of found events and of true events.
    """
    left, matches = list(true), 0
    for first, last in found:
        match = next((event for event in left if event[0] - tolerance <= last and first <= event[1] + tolerance), None)
        if match:
            left.remove(match)
            matches += 1
    return matches, len(found), len(true)


def nearest(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Indices (t,) of the unit vectors of `gallery` (n, c) that are the most alike to each of `queries` (t, c)."""
    indices: np.ndarray = (queries @ gallery.T).argmax(1)
    return indices


def lip_closures(mouth_opening: np.ndarray, phoneme_class: np.ndarray) -> LipClosures:
    """How many of the sounds p, b and m a mouth closes for.

    Args:
        mouth_opening: opening in each frame (t,), 0 closed .. 1 wide open.
        phoneme_class: indices into `PHONEME_CLASSES` (2t,), two for each frame; what is longer is left out.
    """
    bilabial = np.isin(phoneme_class[: 2 * len(mouth_opening)], _BILABIALS)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bilabial, [False]])))
    sounds = edges.reshape(-1, 2)  # [first, end) of each
    closed = [mouth_opening[first // 2 : (end + 1) // 2].min() <= CLOSED_LIPS for first, end in sounds]
    return LipClosures(int(sum(closed)), len(closed))


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
    """Share of places that lie in a face region.

    Args:
        places: x and y (t, 2) in widths of the picture.
        region: mask (1, 1, R, R) of 0 and 1.
    """
    size = region.shape[-1]
    columns, rows = (places * size).astype(int).clip(0, size - 1).T
    return float(region[0, 0, rows, columns].mean())


def wandering(places: np.ndarray) -> float:
    """Root mean square distance of places (t, 2) from their mean, in the unit of the places."""
    return float(np.sqrt(((places - places.mean(0)) ** 2).sum(1).mean()))


def psnr(actual: np.ndarray, expected: np.ndarray, data_range: float = 255.0) -> float:
    """Peak signal-to-noise ratio of one array against another of the same shape in dB, at most 100: that of equal ones.

    Args:
        actual: uint8 pictures, or other numbers.
        expected: what they should be.
        data_range: difference of the largest and the smallest possible value.
    """
    return float(_psnr(actual[None], expected[None], data_range)[0])


def picture_psnr(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratios (t,) in dB of uint8 pictures (t, h, w, 3) against others, each at most 100."""
    return _psnr(actual, expected, 255.0)


def nearest_pictures(queries: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Indices (t,) of the uint8 `pictures` (n, h, w, 3) with the least squared error from each query.

    Args:
        queries: uint8 pictures (t, h, w, 3).
        pictures: pictures to choose from.
    """
    a, b = (torch.from_numpy(array).flatten(1).double() for array in (queries, pictures))
    indices: np.ndarray = torch.cdist(a, b).argmin(1).numpy()
    return indices


def border_ratio(frames: np.ndarray, clip_frames: int) -> float | None:
    """Mean difference between neighbouring frames across the borders of clips, over that inside of clips.

    Args:
        frames: uint8 pictures (t, h, w, 3).
        clip_frames: number of frames that are generated at once.

    Returns:
        The ratio; None if there is no border, or nothing but borders.
    """
    differences = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))
    border = np.arange(1, len(frames)) % clip_frames == 0
    if not border.any() or border.all():
        return None
    return float(differences[border].mean() / max(float(differences[~border].mean()), 1e-6))


def colour_drift(frames: np.ndarray, span: int) -> float:
    """Distance in CIELAB (Delta E 1976) between the mean colours of the first and the last `span` frames.

    Args:
        frames: uint8 pictures (t, h, w, 3), RGB.
        span: number of frames at both ends.
    """
    first, last = (
        cv2.cvtColor((part.mean((0, 1, 2)) / 255).astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)[0, 0]
        for part in (frames[:span], frames[-span:])
    )
    return float(np.linalg.norm(first - last))


def _psnr(actual: np.ndarray, expected: np.ndarray, data_range: float) -> np.ndarray:
    """(t,) in dB of arrays (t, ...), in double precision: the errors of a graph are small."""
    a, b = (torch.from_numpy(array.astype(np.float64)) for array in (actual, expected))
    ratios = peak_signal_noise_ratio(a, b, data_range, reduction="none", dim=tuple(range(1, a.ndim)))
    capped: np.ndarray = ratios.clamp(max=HIGHEST_PSNR).numpy()
    return capped
