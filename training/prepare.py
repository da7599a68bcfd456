"""Training data of talking-head videos: ``python -m training.prepare VIDEO_DIR OUT_DIR``.

Every video is read at 25 Hz with its sound at 16 kHz, and cut where the scene changes. Each shot is cropped to a square
around the face, at the scale of a portrait at run time, the same for the whole shot: so the head moves in it. Shots
become clips of a few seconds, in OUT_DIR/train and OUT_DIR/held-out, for `python -m training.train --data`.

Who is held out is decided by identity, never by clip: by the name of the folder that a video is in (put each person's
videos into one), or else by its file name without numbers at the end (anna_2.mp4 is anna). The names of HDTF's and
VFHQ's videos are understood. The same people are held out each time.

What a clip is good for depends on what is known of it:

  image stage  every clip, also those of videos without sound
  video stage  clips with sound
  speed stage  clips with sound and head rotation: --landmarker, or --reader for speakers like those it was trained on
  audio stage  none: footage has no phonemes; take it from a checkpoint, or train it on `python -m training.corpus`

OUT_DIR/report.jsonl has a line for every finished video: what was kept, and why the rest was not. Run the same command
again to go on with what is missing; delete a video's line to do that video again.

examples:
  python -m training.prepare footage data/footage --landmarker face_landmarker.task
  python -m training.prepare hdtf-videos data/hdtf --annotations HDTF/HDTF_dataset --landmarker face_landmarker.task
  python -m training.train --stage video --data data/footage/train --init runs/image --out runs/video
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from emo_rt.face import crop_portrait
from training.corpus import FRAMES_PER_SECOND, Clip, head_speed
from training.face_detector import FaceDetector, make_detector
from training.footage import Shot, Video, find_videos, is_held_out, read_annotations
from training.reader import FaceReader
from training.shots import CropOutside, Window, look, visible, windows
from training.speech import SAMPLE_RATE
from training.timeline import UnreadableVideo, read_frames, read_sound

REPORT = "report.jsonl"

_QUIETEST = 1e-5  # root mean square, of 1: below, the sound was muted
_SMOOTHING = 5  # frames; what reads rotation from pictures shakes


@dataclass(frozen=True)
class Settings:
    """What the clips depend on, besides the videos."""

    resolution: int  # pixels a side
    seconds: float  # length of a clip
    held_out: float  # percent of the identities
    min_face: float  # pixels, width in the video
    detect_every: int  # frames
    landmarker: str | None = None  # a file
    reader: str | None = None  # a directory
    annotations: str | None = None  # a directory

    @property
    def clip_frames(self) -> int:
        return round(self.seconds * FRAMES_PER_SECOND)


@dataclass
class Outcome:
    """What became of a video; a line of the report."""

    video: str
    identity: str
    split: str
    clips: list[str] = field(default_factory=list)
    seconds: float = 0.0  # kept
    seconds_with_sound: float = 0.0
    seconds_with_rotation: float = 0.0
    rejected: dict[str, float] = field(default_factory=dict)  # seconds by reason; 0 where they were not counted
    error: str | None = None

    def reject(self, reason: str, frames: int = 0) -> None:
        seconds = self.rejected.get(reason, 0.0) + frames / FRAMES_PER_SECOND
        self.rejected[reason] = round(seconds, 2)

    def keep(self, name: str, clip: Clip) -> None:
        seconds = len(clip.frames) / FRAMES_PER_SECOND
        self.clips.append(name)
        self.seconds = round(self.seconds + seconds, 2)
        self.seconds_with_sound = round(self.seconds_with_sound + seconds * clip.knows("waveform"), 2)
        self.seconds_with_rotation = round(self.seconds_with_rotation + seconds * clip.knows("rotation"), 2)


@dataclass
class Tools:
    """What sees faces, and, if it does not see rotation, what may."""

    detector: FaceDetector
    reader: FaceReader | None = None


def prepare_video(video: Video, out: Path, settings: Settings, tools: Tools) -> Outcome:
    """Writes the clips of one video, and says why not of the rest. Raises only errors of writing (``OSError``)."""
    held_out = is_held_out(video.identity, settings.held_out)
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


def _clip(window: Window, frames: np.ndarray, heard: np.ndarray, reader: FaceReader | None) -> Clip:
    rotation = window.rotation
    if not len(rotation) and reader:
        rotation = _smoothed(reader.read(frames).rotation)
    scale = frames.shape[1] / window.crop.width
    corner = np.array([window.crop.x, window.crop.y, 0, 0])
    unknown = np.zeros(0, np.float32)
    return Clip(
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


class Report:
    """The outcomes so far, a line each in ``report.jsonl``; the first line holds the settings.

    Raises:
        ValueError: if the report is of other settings.
    """

    def __init__(self, out: Path, settings: Settings) -> None:
        self.path = out / REPORT
        self.outcomes: dict[str, Outcome] = {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # half a line, of a run that was killed: that video is done again
            if "settings" in entry:
                self._check(entry["settings"], asdict(settings))
            else:
                self.outcomes[entry["video"]] = Outcome(**entry)
        entries: list[dict[str, Any]] = [{"settings": asdict(settings)}, *map(asdict, self.outcomes.values())]
        partial = self.path.with_suffix(".part")
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        partial.replace(self.path)

    def _check(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name, value in now.items():
            if before.get(name) != value:
                option = "--" + name.replace("_", "-")
                raise ValueError(
                    f"{self.path.parent} was begun with {option} {before.get(name)}, not {value}: "
                    "go on with the same, or give another directory"
                )

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.video] = outcome
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")

    def table(self) -> str:
        """What was kept and what was not, in minutes."""
        outcomes = self.outcomes.values()
        rows = []
        for split in ("train", "held-out"):
            kept = [outcome for outcome in outcomes if outcome.split == split and outcome.clips]
            clips, people = sum(len(o.clips) for o in kept), len({o.identity for o in kept})
            note = f"{clips} clips of {people} identities"
            rows.append((split, len(kept), sum(o.seconds for o in kept), note))
        with_sound, with_rotation = (
            [o for o in outcomes if getattr(o, name)] for name in ("seconds_with_sound", "seconds_with_rotation")
        )
        rows.append(("  with sound", len(with_sound), sum(o.seconds_with_sound for o in with_sound), ""))
        rows.append(("  with rotation", len(with_rotation), sum(o.seconds_with_rotation for o in with_rotation), ""))
        for reason in sorted({reason for o in outcomes for reason in o.rejected}):
            found = [o for o in outcomes if reason in o.rejected]
            rows.append((f"rejected: {reason}", len(found), sum(o.rejected[reason] for o in found), ""))
        lines = [f"{'':34}{'videos':>8}{'minutes':>10}"]
        lines += [f"{name:34}{videos:8}{seconds / 60:10.2f}  {note}".rstrip() for name, videos, seconds, note in rows]
        return "\n".join(lines)


def _make_tools(settings: Settings) -> Tools:
    torch.set_num_threads(1)  # a process for each video is faster
    cv2.setNumThreads(1)
    detector = make_detector(Path(settings.landmarker) if settings.landmarker else None)
    return Tools(detector, FaceReader.load(Path(settings.reader)) if settings.reader else None)


_cached_tools = functools.cache(_make_tools)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepare(job: tuple[Video, Path, Settings]) -> Outcome:
    video, out, settings = job
    return prepare_video(video, out, settings, _cached_tools(settings))


def prepare(videos: list[Video], out: Path, settings: Settings, workers: int = 1) -> Report:
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
    report = Report(out, settings)
    jobs = [(video, out, settings) for video in videos if video.name not in report.outcomes]
    if workers == 1:
        for job in tqdm(jobs, unit="video"):
            report.add(_prepare(job))
    else:
        with multiprocessing.get_context("spawn").Pool(workers, _leave_interrupts_to_the_parent) as pool:
            for outcome in tqdm(pool.imap(_prepare, jobs), total=len(jobs), unit="video"):
                report.add(outcome)
    return report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, metavar="VIDEO_DIR", help="videos, also in folders in it")
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="for train/, held-out/ and report.jsonl")
    parser.add_argument(
        "--landmarker", type=Path, metavar="FILE", help="MediaPipe's face_landmarker.task: exact mouths, head rotation"
    )
    parser.add_argument(
        "--reader", type=Path, metavar="DIR", help="of training.train_reader: head rotation, for speakers like its own"
    )
    parser.add_argument(
        "--annotations", type=Path, metavar="DIR", help="HDTF's or VFHQ's text files: use their shots and crops only"
    )
    parser.add_argument("--resolution", type=int, default=128, help="side of a frame in pixels (default: 128)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip (default: 4)")
    parser.add_argument(
        "--held-out", type=float, default=10.0, metavar="PERCENT", help="of the identities (default: 10)"
    )
    parser.add_argument(
        "--min-face",
        type=float,
        metavar="PIXELS",
        help="narrowest face in a video (default: a quarter of --resolution)",
    )
    parser.add_argument(
        "--detect-every", type=int, default=1, metavar="FRAMES", help="look for faces in one frame in how many (1)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each (default: 1)")
    args = parser.parse_args(arguments)
    if args.resolution < 16:
        parser.error("--resolution is at least 16")
    if not 0 <= args.held_out <= 100:
        parser.error("--held-out is between 0 and 100")
    if not args.seconds >= 0.2:
        parser.error("--seconds is at least 0.2")
    if not 1 <= args.detect_every <= args.seconds * FRAMES_PER_SECOND / 4:
        parser.error("--detect-every is at least 1 and at most a quarter of a clip")
    if args.workers < 1:
        parser.error("--workers is at least 1")
    settings = Settings(
        resolution=args.resolution,
        seconds=args.seconds,
        held_out=args.held_out,
        min_face=args.resolution / 4 if args.min_face is None else args.min_face,
        detect_every=args.detect_every,
        landmarker=str(args.landmarker) if args.landmarker else None,
        reader=str(args.reader) if args.reader else None,
        annotations=str(args.annotations) if args.annotations else None,
    )
    try:
        annotations = read_annotations(args.annotations) if args.annotations else None
        report = prepare(find_videos(args.videos, annotations), args.out, settings, args.workers)
    except KeyboardInterrupt:
        print("prepare: stopped; the same command goes on", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"prepare: error: {error}", file=sys.stderr)
        return 2
    print(report.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
