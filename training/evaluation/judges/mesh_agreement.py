"""How well the labels of clips agree with what MediaPipe's face mesh sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.clips.clip import TrainingClip
from training.clips.idle import idle_frames
from training.evaluation.judges.readings import MeshReading
from training.evaluation.metrics import LEAST_DEVIATION, correlation
from training.evaluation.thresholds import Threshold

#: Lips that are this far apart, in heights of the face, or less are closed. Smiles that show no teeth read up to that.
CLOSED_LIP_DISTANCE = 0.02
# A label whose standard deviation in a clip is less has nothing to correlate with, or drowns in the judge's own noise,
# which is half a degree of yaw.
_LEAST_YAW = 2.0  # degrees


def mesh_rows(pairs: Sequence[tuple[TrainingClip, MeshReading]]) -> list[Threshold]:
    """Rows on mouth, eyes, rotation and idle stretches.

    Args:
        pairs: clips of t frames with labels, each with its reading.
    """
    found = np.concatenate([~np.isnan(reading.opening) for _, reading in pairs])
    mouths = [(clip.mouth_opening, reading.opening) for clip, reading in pairs]
    widths = [(clip.mouth_width, reading.width) for clip, reading in pairs]
    blinks = [(clip.blink, -reading.eyes) for clip, reading in pairs]
    yaws = [(clip.rotation[:, 0], reading.rotation[:, 0]) for clip, reading in pairs]
    share = float(found.mean())
    return [
        Threshold("frames with a face", ">= 99 %", f"{share:.1%}", f"{len(found)} frames", share >= 0.99),
        agreement("mouth opening", "the label", mouths, 0.97),
        agreement("mouth width", "the label", widths, 0.92),
        agreement("blink", "the label", blinks, 0.85),
        agreement("yaw", "the label", yaws, 0.98, _LEAST_YAW),
        *_idle(pairs),
    ]


def agreement(
    name: str,
    other: str,
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    needed: float,
    least: float = LEAST_DEVIATION,
) -> Threshold:
    """A row on the median over clips of Pearson's r between labels and readings of the same frames.

    Args:
        name: what is compared.
        other: what it is compared with.
        curves: labels (t,) and readings (t,) of each clip; a reading that is not a number does not count.
        needed: the least median.
        least: standard deviation below which a clip's label has nothing to correlate with.
    """
    name, at_least = f"{name} against {other}", f"r >= {needed}"
    varying = [(label, read) for label, read in curves if label.std() >= least]
    seen = [(label[found], read[found]) for label, read in varying if (found := ~np.isnan(read)).sum() > 1]
    values = [correlation(label, read) for label, read in seen]
    if not values:
        return Threshold(name, at_least, control="it varies in no clip")
    together = [np.concatenate([curve - curve.mean() for curve in side]) for side in zip(*seen, strict=True)]
    median = float(np.median(values))
    control = f"worst {min(values):.3f}, {len(values)} clips together {correlation(*together):.3f}"
    return Threshold(name, at_least, f"median r = {median:.3f}", control, median >= needed)


def _idle(pairs: Sequence[tuple[TrainingClip, MeshReading]]) -> list[Threshold]:
    names = ("lips closed in idle stretches", ">= 99 %"), ("standard deviation of the opening there", "<= 0.01")
    idle = [reading.opening[idle_frames(clip)] for clip, reading in pairs]
    idle = [seen for opening in idle if len(seen := opening[~np.isnan(opening)])]
    if not idle:
        return [Threshold(*name, control="there are none") for name in names]
    closed = float((np.concatenate(idle) <= CLOSED_LIP_DISTANCE).mean())
    deviations = [float(opening.std()) for opening in idle]
    frames = f"{sum(map(len, idle))} frames of {len(idle)} clips"
    median, worst = float(np.median(deviations)), max(deviations)
    return [
        Threshold(*names[0], f"{closed:.1%}", f"{frames}, widest {max(map(np.max, idle)):.3f}", closed >= 0.99),
        Threshold(*names[1], f"worst {worst:.4f}", f"median {median:.4f} of a face's height", worst <= 0.01),
    ]
