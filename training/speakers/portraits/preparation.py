"""A folder of portraits to a folder of photographs, with several processes; a stopped run goes on where it was."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import cv2

from emo_rt.errors import InputError
from emo_rt.media.image import read_image
from training.clips.workers import Workers
from training.speakers.portraits.landmarker import MediaPipeLandmarker, PortraitLandmarker
from training.speakers.portraits.pictures import PortraitFile, find_portraits
from training.speakers.portraits.portrait_report import PortraitOutcome, PortraitReport
from training.speakers.portraits.selection import RejectedPortrait, make_photograph


def prepare_portraits(folder: Path, out: Path, workers: Workers) -> PortraitReport:
    """Makes photographs of the portraits that are new or have changed.

    Args:
        folder: folder of portraits, also in folders below.
        out: folder for photographs and `portraits.jsonl`.
        workers: who prepares them.

    Returns:
        the report of all finished pictures.

    Raises:
        ValueError: if the output's folder is in the portraits' folder, MediaPipe is missing, a cluster does not answer,
            or not one picture can become a photograph; nothing is left behind then.
        FileNotFoundError: if there is no such folder, or no picture in it.
        OSError: if the output's folder cannot be written.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{out} is in {folder}, where the portraits are: give another folder for the photographs")
    files = find_portraits(folder)
    load_landmarker()  # fails before anything is written
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    report = PortraitReport(out)
    _work_through([file for file in files if not report.knows(file)], report, workers)
    if all(outcome.rejected for outcome in report.outcomes.values()):
        report.path.unlink()
        if is_new:
            out.rmdir()
        raise ValueError(f"{folder} has no portrait that can talk: {report.reasons()}")
    return report


@functools.cache
def load_landmarker() -> PortraitLandmarker:
    """What sees the portraits, loaded once in each process.

    Raises:
        ValueError: if MediaPipe is missing.
    """
    return MediaPipeLandmarker()


def _work_through(files: list[PortraitFile], report: PortraitReport, workers: Workers) -> None:
    jobs = [(file, report.path.parent) for file in files]
    for file, out in jobs:  # of a picture that has changed
        _remove(out, report.outcomes[file.picture].name if file.picture in report.outcomes else file.name)
    for outcome in workers.results(_prepare, jobs, "picture"):
        report.add(outcome)


def _prepare(job: tuple[PortraitFile, Path]) -> PortraitOutcome:
    cv2.setNumThreads(1)
    file, out = job
    outcome = PortraitOutcome(file.picture, file.stamp(), file.name, file.identity)
    try:
        photograph = make_photograph(read_image(file.path), file.name, file.identity, load_landmarker())
    except InputError:
        return dataclasses.replace(outcome, rejected="not a readable picture")
    except RejectedPortrait as rejection:
        return dataclasses.replace(outcome, rejected=str(rejection))
    photograph.save(out)
    return dataclasses.replace(outcome, glasses=photograph.glasses)


def _remove(out: Path, name: str) -> None:
    for suffix in (".npz", ".mask.png", ".jpg"):
        (out / (name + suffix)).unlink(missing_ok=True)
