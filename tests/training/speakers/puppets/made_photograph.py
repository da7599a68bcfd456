"""A photograph without a photograph: the average face, painted in smooth colours, with exact landmarks."""

from __future__ import annotations

import numpy as np

from training.speakers.puppets.face_tables import face_tables
from training.speakers.puppets.photographs import LANDMARKS, Photograph

SIDE = 160


def made_photograph(name: str = "anna", parted: float = 0.0) -> Photograph:
    """A picture of the average face.

    Args:
        name: name of the picture and of the person.
        parted: how far the lips are parted, as the weight of the unit that opens the jaw.
    """
    tables = face_tables()
    points = tables.points + parted * tables.deltas[tables.unit("jawOpen")].sum(0)
    size = 0.45 / np.ptp(tables.points[tables.oval, 0])
    middle = tables.points[tables.oval].mean(0)
    landmarks = np.zeros((LANDMARKS, 3), np.float32)
    landmarks[: len(points)] = (points - middle) * size * [1, -1, -1] + [0.5, 0.5, 0]
    x, y = np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE))
    person = ((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.4) ** 2 < 1
    waves = [0.5 + 0.3 * np.sin(25 * x), 0.4 + 0.3 * np.cos(22 * y), 0.4 + 0.2 * np.sin(20 * (x + y))]
    picture = np.where(person[..., None], np.stack(waves, -1), [0.1, 0.2, 0.7])
    return Photograph(
        name, name, (255 * picture).astype(np.uint8), np.where(person, 255, 0).astype(np.uint8), landmarks
    )
