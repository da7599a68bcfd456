"""Which videos there are, who is in them, and which shots of them to use.

Two data sets publish, instead of videos, where they are and how they were cut; both are read as published:

* HDTF (github.com/MRzzm/HDTF): ``RD_``, ``WDA_`` and ``WRA_annotion_time.txt`` (sic), lines of
  ``Radio11.mp4 00:30-01:00 01:30-02:30``; ``*_crop_wh.txt``, lines of ``Radio11_0.mp4 412 599 0 599`` (name and
  number of the shot, left, width, top, height), in pixels of the picture whose height ``*_resolution.txt`` says.
* VFHQ (liangbinxie.github.io/projects/vfhq): a file ``Clip+VIDEO+P0+C0+F1537-1825.txt`` for each shot, with lines that
  end in values: ``H``, ``W``, ``FPS`` and ``CROP`` (left, top, right, bottom).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emo_rt.media.boxes import Box

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")

_HDTF_TIMES = "_annotion_time.txt"
_VFHQ_NAME = re.compile(r"Clip\+(?P<video>.+)\+P\d+\+C\d+\+F(?P<first>\d+)-(?P<last>\d+)")


@dataclass(frozen=True)
class Shot:
    """A stretch of a video, in seconds from its beginning, and the part of the picture to look at."""

    start: float = 0.0
    end: float | None = None  # None: the video's
    crop: Box | None = None  # pixels; None: the whole picture
    height: int | None = None  # of the picture whose pixels these are; None: the video's


@dataclass(frozen=True)
class FootageVideo:
    """A video file, who speaks in it, and what to use of it."""

    path: Path
    name: str  # relative to the folder
    identity: str
    shots: tuple[Shot, ...] = (Shot(),)  # empty: the annotations do not know it


def find_videos(folder: Path, annotations: Mapping[str, tuple[Shot, ...]] | None = None) -> list[FootageVideo]:
    """All videos in a folder and those in it, in order of their names.

    Args:
        folder: where to look.
        annotations: shots of videos by file name without suffix; without them, each video is used whole.

    Raises:
        FileNotFoundError: if there is no such folder, or no video in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not paths:
        raise FileNotFoundError(f"{folder} has no videos ({', '.join(VIDEO_SUFFIXES)})")
    videos = []
    for path in paths:
        shots = (Shot(),) if annotations is None else annotations.get(_without_subset(path.stem), ())
        videos.append(FootageVideo(path, path.relative_to(folder).as_posix(), identity_of(path, folder), shots))
    return videos


def identity_of(path: Path, folder: Path) -> str:
    """Who speaks in a video: its folder's name or, right in ``folder``, what the file's name says.

    Names are read as the data sets give them, in case of doubt towards one person: training and held-out must not
    share any. ``WRA_RandPaul2_001`` and ``RandPaul0`` are both RandPaul, all of HDTF's radio addresses (who speaks is
    not said) are Radio, and all shots of one VFHQ video are of one identity.
    """
    if path.parent != folder:
        return path.parent.relative_to(folder).as_posix()
    if shot := _VFHQ_NAME.match(path.stem):
        return shot["video"]
    name = re.sub(r"_\d+$", "", _without_subset(path.stem))
    return re.sub(r"\d+$", "", name).rstrip("_- ") or path.stem


def is_held_out_person(identity: str, percent: float) -> bool:
    """Whether an identity is kept from training: the same always, and for more percent only more of them."""
    digest = hashlib.sha256(identity.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < percent / 100


def read_annotations(directory: Path) -> dict[str, tuple[Shot, ...]]:
    """Shots by video (file name without suffix) from a directory of HDTF's or VFHQ's files.

    Raises:
        FileNotFoundError: if the directory holds neither.
        ValueError: naming the file and line that does not read as published.
    """
    times = sorted(directory.glob(f"*{_HDTF_TIMES}"))
    if times:
        return {name: shots for path in times for name, shots in _read_hdtf(path).items()}
    clips = sorted(directory.glob("Clip+*.txt"))
    if clips:
        return _read_vfhq(clips)
    raise FileNotFoundError(f"{directory} has neither HDTF's *{_HDTF_TIMES} nor VFHQ's Clip+*.txt")


def _read_hdtf(times: Path) -> dict[str, tuple[Shot, ...]]:
    subset = times.name.removesuffix(_HDTF_TIMES)
    crops = _rows(times.with_name(f"{subset}_crop_wh.txt"))
    heights = _rows(times.with_name(f"{subset}_resolution.txt"))
    shots: dict[str, tuple[Shot, ...]] = {}
    for file, intervals in _rows(times).items():
        name = file.removesuffix(".mp4")
        try:
            height = int(heights[file][0]) if heights.get(file) else None
            shots[name] = tuple(
                _hdtf_shot(interval, crops.get(f"{name}_{number}.mp4"), height)
                for number, interval in enumerate(intervals)
            )
        except ValueError as error:
            raise ValueError(f"{times}: {file} is not as HDTF publishes it ({error})") from None
    return shots


def _hdtf_shot(interval: str, crop: list[str] | None, height: int | None) -> Shot:
    start, end = (_seconds(clock) for clock in interval.split("-"))
    if crop is None:  # some shots have none
        return Shot(start, end)
    x, width, y, rows = map(int, crop)
    return Shot(start, end, Box(x, y, width, rows), height)


def _seconds(clock: str) -> float:
    """Of ``mm:ss`` or ``hh:mm:ss``."""
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _rows(path: Path) -> dict[str, list[str]]:
    """Lines of words, by the first one; none if there is no such file."""
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: words[1:] for words in lines if words}


def _read_vfhq(paths: list[Path]) -> dict[str, tuple[Shot, ...]]:
    shots: dict[str, list[Shot]] = {}
    for path in paths:
        name = _VFHQ_NAME.fullmatch(path.stem)
        values = {re.sub(r"\W.*", "", key): words for key, words in _rows(path).items()}
        try:
            if name is None:
                raise ValueError("its name is not Clip+VIDEO+P0+C0+F0-100.txt")
            rate, height = float(values["FPS"][-1]), int(values["H"][-1])
            left, top, right, bottom = map(int, values["CROP"][-4:])
            # The frames at either end belong to the shot before and after.
            start, end = ((int(name["first"]) + 1) / rate, (int(name["last"]) - 1) / rate)
        except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{path} is not as VFHQ publishes it ({error})") from None
        shot = Shot(start, end, Box(left, top, right - left, bottom - top), height)
        shots.setdefault(name["video"], []).append(shot)
    return {video: tuple(sorted(found, key=lambda shot: shot.start)) for video, found in shots.items()}


def _without_subset(name: str) -> str:
    return re.sub(r"^(RD|WDA|WRA)_", "", name)
