"""A folder of footage to a folder of clips, with several processes; a stopped run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import cv2
import torch

from training.clips.workers import Workers
from training.footage.clipping import clips_of_video
from training.footage.face_models import load_face_models
from training.footage.report import FOOTAGE_SPLITS, PreparationReport, VideoOutcome
from training.footage.settings import PreparationSettings
from training.footage.videos import FootageVideo


def prepare(
    videos: list[FootageVideo], out: Path, settings: PreparationSettings, workers: Workers
) -> PreparationReport:
    """Makes clips of the videos that are not in the report of the output's folder yet.

    Args:
        videos: what `find_videos` gives.
        out: folder for `train`, `held-out` and `report.jsonl`.
        settings: what the clips depend on.
        workers: who makes the clips.

    Returns:
        the report of all finished videos.

    Raises:
        ValueError: if the folder was begun with other settings, a face model cannot be loaded, or a cluster does not
            answer.
        FileNotFoundError: if the reader's directory has no reader.
        OSError: if the folder cannot be written.
    """
    load_face_models(settings)  # fails before anything is written
    for split in FOOTAGE_SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
        for leftover in (out / split).glob("*.part"):  # of a run that was killed
            leftover.unlink()
    report = PreparationReport(out, settings)
    jobs = [(video, out, settings) for video in videos if video.name not in report.outcomes]
    for outcome in workers.results(_prepare, jobs, "video"):
        report.add(outcome)
    return report


def _prepare(job: tuple[FootageVideo, Path, PreparationSettings]) -> VideoOutcome:
    torch.set_num_threads(1)  # several videos at once are faster than several threads for one
    cv2.setNumThreads(1)
    video, out, settings = job
    return clips_of_video(video, out, settings, load_face_models(settings))
