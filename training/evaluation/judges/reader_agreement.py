"""How well our reader of faces agrees with labels, and with what MediaPipe's face mesh sees in the same frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from training.clips.clip import TrainingClip
from training.evaluation.judges.mesh_agreement import agreement
from training.evaluation.judges.readings import MeshReading
from training.evaluation.metrics import CLOSED_LIPS
from training.evaluation.reader import FaceReader
from training.evaluation.thresholds import Threshold


def reader_rows(pairs: Sequence[tuple[TrainingClip, MeshReading]], reader: FaceReader) -> list[Threshold]:
    """Rows on the mouth.

    Args:
        pairs: clips with labels, each with its reading by the face mesh.
        reader: reader of faces.
    """
    seen = [(reader.read(clip.frames), clip, mesh) for clip, mesh in tqdm(pairs, desc="reading faces", unit="clip")]
    closed = [(own.mouth_opening <= CLOSED_LIPS, clip.mouth_opening <= CLOSED_LIPS) for own, clip, _ in seen]
    wrong = float(np.concatenate([read != label for read, label in closed]).mean())
    share = float(np.concatenate([label for _, label in closed]).mean())
    return [
        agreement(
            "reader's mouth opening", "the label", [(c.mouth_opening, own.mouth_opening) for own, c, _ in seen], 0.95
        ),
        agreement(
            "reader's mouth opening", "the face mesh", [(own.mouth_opening, m.opening) for own, _, m in seen], 0.9
        ),
        Threshold(
            "reader wrong on whether lips are closed", "<= 3 %", f"{wrong:.1%}", f"closed in {share:.0%}", wrong <= 0.03
        ),
    ]
