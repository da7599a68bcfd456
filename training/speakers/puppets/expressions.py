"""How a person's face deforms: parted lips closed, lids shut, and the face units that a motion asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from training.clips.face_mesh import EYES, FACE_POINTS, LIP_CORNERS, LOWER_LIP, UPPER_LIP
from training.speakers.motion import Motion
from training.speakers.puppets.face_tables import (
    BELOW_EYES,
    BROWS,
    EYE_CORNERS,
    EYE_FOLDS,
    MOUTH_CORNERS,
    NOSE,
    face_tables,
)
from training.speakers.puppets.fields import smooth_field

_UNDER_THE_NOSE = 2  # landmark
_LIP_MIDDLES = (13, 14)  # landmarks of the upper and the lower lip
_ROUND_GAP = 0.14  # share of the widest gap that the lips part more for a width of 0 than for one of 1


def closing(face: np.ndarray) -> np.ndarray:
    """The shift (468, 3) that closes the lips of a face (468, 3) that parts them.

    The lower lip moves three quarters of the way: the jaw is what hangs.
    """
    tables = face_tables()
    upper, lower = list(UPPER_LIP), list(LOWER_LIP)
    gap = face[upper] - face[lower]
    gap = np.where(gap[:, 1:2] > 0, gap, 0)
    still = np.concatenate([LIP_CORNERS, tables.oval, *tables.eye_rings, NOSE]).astype(int)
    known = np.concatenate([upper, lower, still])
    values = np.concatenate([-0.25 * gap, 0.75 * gap, np.zeros((len(still), 3))])
    return smooth_field(FACE_POINTS, tables.triangles, known, values)


def shutting(face: np.ndarray, *, glasses: bool = False) -> np.ndarray:
    """The shift (468, 3) that shuts the eyes of a face (468, 3): the upper lid comes down to the lower one.

    It is linear in the face, of as many columns as there are. Behind glasses it moves the lids alone.
    """
    known: list[int] = []
    values: list[np.ndarray] = []
    for upper, lower, corners in EYES:
        for above, below in zip(upper, lower, strict=True):
            opened = face[below] - face[above]
            known += [above, below]
            values += [0.92 * opened, -0.08 * opened]
        known += corners
        values += [np.zeros(face.shape[1])] * 2
    tables = face_tables()
    below_the_nose = np.flatnonzero(tables.points[:, 1] < tables.points[_UNDER_THE_NOSE, 1])
    still = [*BROWS, *BELOW_EYES, *tables.oval, *below_the_nose, *(EYE_FOLDS if glasses else ())]
    zeros = np.zeros((len(still), face.shape[1]))
    return smooth_field(FACE_POINTS, tables.triangles, np.array([*known, *still]), np.concatenate([values, zeros]))


def freedom_with_glasses() -> np.ndarray:
    """The share (468, 1) of each face unit's shift that is left to a face with glasses: none of it bends them."""
    tables = face_tables()
    below_the_nose = np.flatnonzero(tables.points[:, 1] < tables.points[_UNDER_THE_NOSE, 1])
    stiff = np.concatenate([*tables.eye_rings, EYE_FOLDS, BROWS, BELOW_EYES]).astype(int)
    values = np.concatenate([np.zeros((len(stiff), 1)), np.ones((len(below_the_nose), 1))])
    known = np.concatenate([stiff, below_the_nose])
    return smooth_field(FACE_POINTS, tables.triangles, known, values, flat=True)


def resting_smile(face: np.ndarray) -> float:
    """How much a face (468, 3) smiles, from 0 to 1.1: the width of its mouth between the average and a full smile."""
    tables = face_tables()
    smile = tables.points + tables.deltas[tables.unit("mouthSmile")].sum(0)
    own, average, smiling = (_mouth_to_eyes(points) for points in (face, tables.points, smile))
    return float(np.clip((own - average) / (smiling - average), 0, 1.1))


def _mouth_to_eyes(points: np.ndarray) -> float:
    left, right = (np.linalg.norm(points[a] - points[b]) for a, b in (MOUTH_CORNERS, EYE_CORNERS))
    return float(left / right)


def lip_gaps(units: np.ndarray) -> np.ndarray:
    """How far each face unit parts the lips in their middle, (u,), for units (u, 468, 3) that move the face."""
    upper, lower = _LIP_MIDDLES
    gaps: np.ndarray = units[:, upper, 1] - units[:, lower, 1]
    return gaps


def unit_weights(motion: Motion, smile_at_rest: float, lip_gaps: Tensor) -> Tensor:
    """Weights (B, u) of the face units for a motion; blinks are not among them.

    The lips part in proportion to the motion's opening: the jaw makes up for what other units do to them. Rounded lips
    part a little more, and spread ones less, so that they look as open.

    Args:
        motion: B frames.
        smile_at_rest: smile of the photograph, as `resting_smile` gives it.
        lip_gaps: (u,) how far each unit parts the lips.
    """
    weights = _free_weights(motion, smile_at_rest)
    wide_open = replace(Motion.rest(1, lip_gaps.device), mouth_opening=torch.ones(1, device=lip_gaps.device))
    largest = _free_weights(wide_open, smile_at_rest) @ lip_gaps
    looks = (motion.mouth_opening + _ROUND_GAP * _parted(motion) * (0.5 - motion.mouth_width)).clamp(min=0)
    (jaw,) = _units("jawOpen")
    weights[:, jaw] += (looks * largest - weights @ lip_gaps) / lip_gaps[jaw]
    return weights


def _parted(motion: Motion) -> Tensor:
    """From 0 for closed lips (B,) to 1 for those that are clearly parted."""
    return (6 * motion.mouth_opening).clamp(max=1)


def _units(name: str) -> list[int]:
    return face_tables().unit(name)


def _free_weights(motion: Motion, smile_at_rest: float) -> Tensor:
    """The weights before the jaw and the lips make up for what the others do to each other.

    Rounded lips take back the smile that is in the photograph, and speech takes back a third of it.
    """
    weights = torch.zeros(len(motion), len(face_tables().units), device=motion.mouth_opening.device)

    def add(unit: str, weight: Tensor) -> None:
        weights[:, _units(unit)] += weight[:, None]

    opening, width = motion.mouth_opening, motion.mouth_width
    spread, rounded = 2 * (width - 0.5).clamp(0, 1), 2 * (0.5 - width).clamp(0, 1)
    parted = _parted(motion)
    add("jawOpen", 0.52 * opening * (1 - 0.25 * rounded))
    add("mouthLowerDown", 0.3 * opening * (1 - 0.6 * rounded) + 0.2 * spread * parted)
    add("mouthUpperUp", 0.45 * opening * (1 - 0.5 * rounded) + 0.25 * spread * parted)
    add("mouthFunnel", 0.7 * rounded * (0.3 + 0.7 * opening))
    add("mouthPucker", 0.8 * rounded * (1 - 0.5 * opening))
    add("mouthStretch", 0.5 * spread)
    add("mouthSmile", 0.2 * spread + 0.5 * motion.smile)
    add("cheekSquint", 0.6 * motion.squint + 0.3 * motion.smile)
    add("eyeSquint", 0.4 * motion.squint)
    add("browInnerUp", 0.7 * motion.brow.clamp(0, 1))
    add("browOuterUp", 0.6 * motion.brow.clamp(0, 1))
    add("browDown", 0.7 * (-motion.brow).clamp(0, 1))
    rounding = (weights[:, _units("mouthPucker") + _units("mouthFunnel")].sum(1) / 0.6).clamp(0, 1)
    add("mouthSmile", -smile_at_rest * (0.35 + 0.6 * rounding))
    return weights
