"""A folder of footage to a folder of clips, with several processes; a stopped run goes on where it was."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from training.footage.clipping import clips_of_video
from training.footage.face_models import load_face_models
from training.footage.report import FOOTAGE_SPLITS, PreparationReport, VideoOutcome
from training.footage.settings import PreparationSettings
from training.footage.videos import FootageVideo


def prepare(
    videos: list[FootageVideo], out: Path, settings: PreparationSettings, workers: int = 1
) -> PreparationReport:
    """Makes clips of the videos that are not in the report of the output's folder yet.

    Args:
        videos: what `find_videos` gives.
        out: folder for `train`, `held-out` and `report.jsonl`.
        settings: what the clips depend on.
        workers: number of processes, with one thread each.

    Returns:
        the report of all finished videos.

    Raises:
        ValueError: if the folder was begun with other settings, a face model cannot be loaded, or there are no workers.
        FileNotFoundError: if the reader's directory has no reader.
        OSError: if the folder cannot be written.
    """
    if workers < 1:
        raise ValueError(f"--workers is at least 1, not {workers}")
    load_face_models(settings)  # fails before anything is written
    for split in FOOTAGE_SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
        for leftover in (out / split).glob("*.part"):  # of a run that was killed
            leftover.unlink()
    report = PreparationReport(out, settings)
    jobs = [(video, out, settings) for video in videos if video.name not in report.outcomes]
    if workers == 1:
        for job in tqdm(jobs, unit="video"):
            report.add(_prepare(job))
    else:
        # An interrupt reaches all processes; only this one answers to it.
        ignore_interrupts = (signal.SIGINT, signal.SIG_IGN)
        with multiprocessing.get_context("spawn").Pool(workers, signal.signal, ignore_interrupts) as pool:
            for outcome in tqdm(pool.imap(_prepare, jobs), total=len(jobs), unit="video"):
                report.add(outcome)
    return report


def _prepare(job: tuple[FootageVideo, Path, PreparationSettings]) -> VideoOutcome:
    torch.set_num_threads(1)  # several videos at once are faster than several threads for one
    cv2.setNumThreads(1)
    video, out, settings = job
    return clips_of_video(video, out, settings, load_face_models(settings))
