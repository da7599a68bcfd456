"""MediaPipe's face mesh as a judge: `python -m training.evaluation.judges.face_mesh CLIPS OUT.json`.

It has never seen our training data, and tells for each frame how far the mouth is open and how wide it is, how far the
eyes are open, and how the head is turned. Each frame is looked at by itself. CLIPS is a folder of clips of
`python -m training.corpus`, or of MP4 files. `python -m training.evaluation.judges.report` compares the readings with
the labels.

This command needs mediapipe 0.10.21 in an environment of its own, see docs/evaluation.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from training.evaluation.judges.command import judge_parser, run_judge
from training.evaluation.judges.judged_clips import JudgedClip
from training.evaluation.judges.readings import MeshReading
from training.speakers.portraits.face_shape import eye_heights, face_rotation, lip_distance, lip_width
from training.speakers.portraits.landmarker import MediaPipeLandmarker, PortraitLandmarker


def read_meshes(clips: Iterable[JudgedClip], landmarker: PortraitLandmarker) -> dict[str, MeshReading]:
    """What the face mesh sees in each clip, by the clip's name."""
    return {clip.name: _read(clip.frames, landmarker) for clip in tqdm(clips, unit="clip")}


def _read(frames: np.ndarray, landmarker: PortraitLandmarker) -> MeshReading:
    rows = np.full((len(frames), 6), np.nan)
    for row, frame in zip(rows, frames, strict=True):
        if (face := landmarker.landmarks(np.ascontiguousarray(frame))) is not None:
            row[:] = lip_distance(face), lip_width(face), np.mean(eye_heights(face)), *face_rotation(face)
    opening, width, eyes = rows[:, :3].T
    return MeshReading(opening, width, eyes, rows[:, 3:])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = judge_parser("face_mesh", str(__doc__))
    return run_judge(parser, lambda clips, _: read_meshes(clips, MediaPipeLandmarker()), arguments)


if __name__ == "__main__":
    sys.exit(main())
