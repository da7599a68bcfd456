"""The annotations of data sets that publish, instead of videos, where they are and how they were cut.

Two are read as published:

* HDTF (github.com/MRzzm/HDTF): `RD_`, `WDA_` and `WRA_annotion_time.txt` (sic), lines of
  `Radio11.mp4 00:30-01:00 01:30-02:30`; `*_crop_wh.txt`, lines of `Radio11_0.mp4 412 599 0 599` (name and number of
  the shot, left, width, top, height), in pixels of a picture whose height is in `*_resolution.txt`.
* VFHQ (liangbinxie.github.io/projects/vfhq): a file `Clip+VIDEO+P0+C0+F1537-1825.txt` for each shot, with lines that
  end in values: `H`, `W`, `FPS` and `CROP` (left, top, right, bottom).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from emo_rt.media.boxes import Box
from training.footage.identities import VFHQ_NAME

_HDTF_TIMES = "_annotion_time.txt"


@dataclass(frozen=True)
class Shot:
    """A stretch of a video, and the part of the picture to look at.

    Attributes:
        start: beginning in seconds.
        end: end in seconds; None is the end of the video.
        crop: part of the picture in pixels; None is the whole picture.
        height: height in pixels of the picture that `crop` was measured in; None is that of the video.
    """

    start: float = 0.0
    end: float | None = None
    crop: Box | None = None
    height: int | None = None


def read_annotations(directory: Path) -> dict[str, tuple[Shot, ...]]:
    """Reads the shots of all videos.

    Args:
        directory: folder with HDTF's or VFHQ's text files.

    Returns:
        the shots of each video, by its file name without suffix (and without HDTF's subset).

    Raises:
        FileNotFoundError: if the directory holds neither.
        ValueError: naming the file, and the line, that does not read as published.
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
    crops = _lines(times.with_name(f"{subset}_crop_wh.txt"))
    heights = _lines(times.with_name(f"{subset}_resolution.txt"))
    shots: dict[str, tuple[Shot, ...]] = {}
    for file, intervals in _lines(times).items():
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
    """A time `mm:ss` or `hh:mm:ss` in seconds."""
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return float(seconds)


def _lines(path: Path) -> dict[str, list[str]]:
    """The words of each line after the first, by the first one; nothing if there is no such file."""
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: words[1:] for words in lines if words}


def _read_vfhq(paths: list[Path]) -> dict[str, tuple[Shot, ...]]:
    shots: dict[str, list[Shot]] = {}
    for path in paths:
        name = VFHQ_NAME.fullmatch(path.stem)
        values = {re.sub(r"\W.*", "", key): words for key, words in _lines(path).items()}
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
