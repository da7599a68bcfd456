"""Videos to training clips: read, cut, cropped, labelled as far as is known."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from emo_rt.media.image import crop_portrait
from training.clips.clip import TrainingClip
from training.clips.rates import FRAMES_PER_SECOND, SAMPLE_RATE
from training.clips.rotation import head_speed
from training.evaluation.reader import FaceReader
from training.footage.face_detector import FaceDetector, make_detector
from training.footage.report import Outcome, PreparationReport, Settings
from training.footage.shots import CropOutside, Window, look, visible, windows
from training.footage.timeline import UnreadableVideo, read_frames, read_sound
from training.footage.videos import FootageVideo, Shot, is_held_out_person

_QUIETEST = 1e-5  # root mean square, of 1: below, the sound was muted


_SMOOTHING = 5  # frames; what reads rotation from pictures shakes


@dataclass
class Tools:
    """What sees faces, and, if it does not see rotation, what may."""

    detector: FaceDetector
    reader: FaceReader | None = None


def prepare_video(video: FootageVideo, out: Path, settings: Settings, tools: Tools) -> Outcome:
    """Writes the clips of one video, and says why not of the rest. Raises only errors of writing (``OSError``)."""
    held_out = is_held_out_person(video.identity, settings.held_out)
    outcome = Outcome(video.name, video.identity, "held-out" if held_out else "train")
    try:
        sound = read_sound(video.path)
        if not video.shots:
            outcome.reject("not annotated")
        for shot in video.shots:
            try:
                sightings = list(look(video.path, shot, settings.detect_every, tools.detector))
            except CropOutside:
                outcome.reject("crop outside the picture")
                continue
            kept = list(windows(sightings, settings.clip_frames, settings.min_face, outcome.reject))
            for window, frames in _cut_out(video.path, shot, kept, settings):
                clip = _clip(window, frames, _heard(sound, shot.start, window.first, len(frames)), tools.reader)
                name = f"{outcome.split}/{_clip_name(video.name, shot.start, window.first)}"
                clip.save(out / name)
                outcome.keep(name, clip)
    except UnreadableVideo as error:
        return _discarded(outcome, out, "unreadable", error)
    except OSError:
        raise  # of writing: reading gives UnreadableVideo
    except Exception as error:  # whatever else is wrong with one video, the others go on
        return _discarded(outcome, out, "failed", error)
    return outcome


def _discarded(outcome: Outcome, out: Path, reason: str, error: Exception) -> Outcome:
    for name in outcome.clips:
        (out / name).unlink(missing_ok=True)
    words = " ".join(str(error).split()) or type(error).__name__
    return Outcome(outcome.video, outcome.identity, outcome.split, rejected={reason: 0.0}, error=words)


def _clip_name(video: str, start: float, first: int) -> str:
    """Different for all videos of a folder, and the same each time."""
    digest = hashlib.sha256(video.encode()).hexdigest()[:8]
    return f"{Path(video).stem[:80]}-{digest}-{round(start * FRAMES_PER_SECOND) + first:06d}.npz"


def _cut_out(path: Path, shot: Shot, kept: list[Window], settings: Settings) -> Iterator[tuple[Window, np.ndarray]]:
    """Each window with its frames uint8 (t, resolution, resolution, 3); reads the video again."""
    if not kept:
        return
    length = settings.clip_frames
    remaining = iter(kept)
    window = next(remaining)
    frames: list[np.ndarray] = []
    for index, frame in enumerate(read_frames(path, shot.start, shot.start + (kept[-1].first + length) / 25)):
        if index < window.first:
            continue
        frames.append(crop_portrait(visible(frame.pixels, shot), window.crop, settings.resolution))
        if len(frames) == length:
            yield window, np.stack(frames)
            frames = []
            if (following := next(remaining, None)) is None:
                return
            window = following
    raise UnreadableVideo("it gives other frames each time that it is read")


def _heard(sound: np.ndarray | None, start: float, first: int, frames: int) -> np.ndarray:
    """The sound of a window, float32 (samples,); (0,) if there is none."""
    samples = frames * SAMPLE_RATE // FRAMES_PER_SECOND
    begin = round((start + first / FRAMES_PER_SECOND) * SAMPLE_RATE)
    heard = (np.zeros(0, np.float32) if sound is None else sound)[begin : begin + samples].clip(-1, 1)
    if len(heard) < 0.98 * samples or float(np.sqrt(np.square(heard).mean())) < _QUIETEST:
        return np.zeros(0, np.float32)
    return np.pad(heard, (0, samples - len(heard)))


def _clip(window: Window, frames: np.ndarray, heard: np.ndarray, reader: FaceReader | None) -> TrainingClip:
    rotation = window.rotation
    if not len(rotation) and reader:
        rotation = _smoothed(reader.read(frames).rotation)
    scale = frames.shape[1] / window.crop.width
    corner = np.array([window.crop.x, window.crop.y, 0, 0])
    unknown = np.zeros(0, np.float32)
    return TrainingClip(
        frames=frames,
        waveform=heard,
        mouth_opening=unknown,
        mouth_width=unknown,
        rotation=rotation.astype(np.float32),
        head_speed=head_speed(rotation) if len(rotation) else unknown,
        face_box=((window.face_box - corner) * scale).astype(np.float32),
        mouth_box=((window.mouth_box - corner) * scale).astype(np.float32),
        phoneme_class=unknown,
    )


def _smoothed(rotation: np.ndarray) -> np.ndarray:
    """Rotations (t, 3), each the mean of those around it: what reads them from single pictures shakes."""
    padded = np.pad(rotation, ((_SMOOTHING // 2, _SMOOTHING // 2), (0, 0)), mode="edge")
    means: np.ndarray = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHING, axis=0).mean(-1)
    return means


def _make_tools(settings: Settings) -> Tools:
    torch.set_num_threads(1)  # a process for each video is faster
    cv2.setNumThreads(1)
    detector = make_detector(Path(settings.landmarker) if settings.landmarker else None)
    return Tools(detector, FaceReader.load(Path(settings.reader)) if settings.reader else None)


_cached_tools = functools.cache(_make_tools)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepare(job: tuple[FootageVideo, Path, Settings]) -> Outcome:
    video, out, settings = job
    return prepare_video(video, out, settings, _cached_tools(settings))


def prepare(videos: list[FootageVideo], out: Path, settings: Settings, workers: int = 1) -> PreparationReport:
    """Prepares what is not in the report of ``out`` yet.

    Raises:
        ValueError: if the directory was begun with other settings, or the detector or reader cannot be had.
        FileNotFoundError: if the reader's directory holds none.
        OSError: if the directory cannot be written.
    """
    _cached_tools(settings)  # complains before anything is written
    for split in ("train", "held-out"):
        (out / split).mkdir(parents=True, exist_ok=True)
        for partial in (out / split).glob("*.npz.part"):  # of a run that was killed
            partial.unlink()
    report = PreparationReport(out, settings)
    jobs = [(video, out, settings) for video in videos if video.name not in report.outcomes]
    if workers == 1:
        for job in tqdm(jobs, unit="video"):
            report.add(_prepare(job))
    else:
        with multiprocessing.get_context("spawn").Pool(workers, _leave_interrupts_to_the_parent) as pool:
            for outcome in tqdm(pool.imap(_prepare, jobs), total=len(jobs), unit="video"):
                report.add(outcome)
    return report
