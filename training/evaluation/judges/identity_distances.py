"""How far people are from each other, and from themselves, for dlib's face recognition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np

from training.evaluation.judges.readings import IdentityReading
from training.evaluation.thresholds import Threshold

#: dlib's own threshold: pictures that are nearer show one person.
SAME_PERSON = 0.6


def identity_rows(readings: Mapping[str, IdentityReading]) -> list[Threshold]:
    """Rows on the distances between people, across the frames of a clip, and to the photograph.

    Args:
        readings: what dlib sees in each clip, by the clip's name.
    """
    seen = {name: reading for name, reading in readings.items() if len(reading.frames)}
    within = [_distances(point[None], r.frames[:index]) for r in seen.values() for index, point in enumerate(r.frames)]
    known = [r for r in seen.values() if len(r.portrait)]
    portraits = [_distances(reading.frames, reading.portrait[None]) for reading in known]
    people = len({reading.person for reading in seen.values()})
    return [
        _row("different people", ">=", 0.75, _between(seen.values()), f"{people} people"),
        _row("one person across frames", "<=", 0.30, within, f"{len(seen)} of {len(readings)} clips"),
        _row("a frame and its photograph", "<=", 0.40, portraits, f"{len(known)} clips"),
    ]


def _between(readings: Iterable[IdentityReading]) -> list[np.ndarray]:
    pairs = combinations(readings, 2)
    return [_distances(one.frames, other.frames) for one, other in pairs if one.person != other.person]


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances (n * m,) of points (n, 128) from others (m, 128)."""
    return np.linalg.norm(points[:, None] - others[None], axis=2).ravel()


def _row(name: str, sign: str, needed: float, distances: list[np.ndarray], sample: str) -> Threshold:
    values = np.concatenate(distances) if distances else np.zeros(0)
    if not len(values):
        return Threshold(f"distance of {name}", f"{sign} {needed}", control="there are none")
    mean, same = float(values.mean()), float((values < SAME_PERSON).mean())
    measured = f"mean {mean:.3f}"
    control = f"{sample}, 95 % below {np.percentile(values, 95):.2f}, {same:.1%} below {SAME_PERSON}"
    passed = mean >= needed if sign == ">=" else mean <= needed
    return Threshold(f"distance of {name}", f"{sign} {needed}", measured, control, passed)
