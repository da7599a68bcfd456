"""Measure how well faces are found: which of a picture's faces would be animated, and is it one.

Each FOLDER lists its pictures and their faces in faces.csv. Portraits of kind `whole` with one face are also made
small, tilted, dark, noisy, painted and so on; heads are drawn that turn aside. Beside emo-rt's detector stand
OpenCV's cascades. A face is right if its box overlaps the true one by half of both; a picture without a face if it is
refused.

example:
  python -m benchmarks.faces portraits animals --portraits 20
  python -m benchmarks.faces new --propose   # writes new/faces.csv, to be put right by hand
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.cascades import cascade_faces
from benchmarks.face_pictures import (
    LIST,
    LIST_COLUMNS,
    WHOLE,
    YAWS,
    FacePicture,
    clip_pictures,
    drawn_pictures,
    listed_pictures,
    made_count,
    made_pictures,
    textures,
)
from benchmarks.machine import machine_facts, results_file, write_results
from emo_rt.atomic import atomic_write
from emo_rt.errors import EmoError
from emo_rt.media.boxes import Box
from emo_rt.media.face import SMALLEST_FACE
from emo_rt.media.face_detector import CERTAIN, detect_faces
from emo_rt.media.image import read_image

#: What becomes of a picture.
RIGHT, REFUSED, WRONG = "right", "refused", "wrong"

_DRAWN = 8  # heads of each turn
_OVERLAP = 0.5


def sure_faces(image: np.ndarray) -> list[Box]:
    """The faces in a picture (height, width, 3) that emo-rt would animate, the largest first."""
    faces = [face.box for face in detect_faces(image) if face.confidence >= CERTAIN]
    return [box for box in faces if min(box.width, box.height) >= SMALLEST_FACE]


def outcome(found: Sequence[Box], faces: Sequence[Box]) -> str:
    """What becomes of a picture: the largest box that was found is animated.

    Args:
        found: what was found, the largest first.
        faces: the true faces; any that is nearly as large as the largest may be taken.
    """
    if not found:
        return REFUSED if faces else RIGHT
    largest = max((box.width for box in faces), default=0.0)
    taken = (overlap(found[0], box) for box in faces if box.width >= 0.8 * largest)
    return RIGHT if any(share >= _OVERLAP for share in taken) else WRONG


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    both = max(width, 0) * max(height, 0)
    return both / (one.width * one.height + other.width * other.height - both)


def in_order(found: Sequence[Box], faces: Sequence[Box]) -> bool:
    """Whether exactly the true faces were found, so that each has its number from the left."""
    pairs = zip(*(sorted(boxes, key=lambda box: box.x + box.width / 2) for boxes in (found, faces)), strict=False)
    return len(found) == len(faces) and all(overlap(*pair) >= _OVERLAP for pair in pairs)


def measure(pictures: Iterator[FacePicture], count: int) -> dict[str, Any]:
    """Counts the outcomes of pictures for both detectors, and names the pictures that went wrong.

    Args:
        pictures: pictures whose faces are known.
        count: about how many there are, for the bar.

    Returns:
        `rows`, for each kind `kind`, `pictures`, `faces` (whether there are any), and the outcomes of `cascades` and
        `yunet`; `errors` of YuNet; and the median `seconds` that it took.
    """
    detectors: dict[str, Callable[[np.ndarray], list[Box]]] = {"cascades": cascade_faces, "yunet": sure_faces}
    counts: dict[str, dict[str, Any]] = {}
    errors, seconds = [], []
    for picture in tqdm(pictures, total=count, desc="finding faces", unit="picture"):
        row = counts.setdefault(
            picture.kind,
            {"kind": picture.kind, "pictures": 0, "faces": bool(picture.faces)}
            | {name: dict.fromkeys((RIGHT, REFUSED, WRONG), 0) for name in detectors},
        )
        row["pictures"] += 1
        for name, detect in detectors.items():
            began = time.perf_counter()
            found = detect(picture.image)
            took = time.perf_counter() - began
            became = outcome(found, picture.faces)
            row[name][became] += 1
            if len(picture.faces) > 1:
                row[name]["numbered"] = row[name].get("numbered", 0) + in_order(found, picture.faces)
            if name == "yunet":
                seconds.append(took)
                if became != RIGHT:
                    errors.append(f"{picture.kind}: {picture.name}: {became}")
    return {"rows": list(counts.values()), "errors": errors, "seconds": round(float(np.median(seconds)), 3)}


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each detector, the share of pictures with faces that are `right`, and how many without are `animated`."""
    sums: dict[str, dict[str, float]] = defaultdict(dict)
    for name in ("cascades", "yunet"):
        with_faces = [row for row in rows if row["faces"]]
        count = sum(row["pictures"] for row in with_faces)
        sums[name]["right"] = round(sum(row[name][RIGHT] for row in with_faces) / count, 4) if count else 0.0
        sums[name]["animated"] = sum(row[name][WRONG] for row in rows if not row["faces"])
        sums[name]["pictures"] = sum(row["pictures"] for row in rows)
    return sums


def propose(folder: Path) -> Path:
    """Writes the list of a folder's faces as the detector finds them, and returns its file.

    Raises:
        ValueError: if there is a list already, or no picture.
    """
    path = folder / LIST
    if path.exists():
        raise ValueError(f"{path}: is there already; put it right by hand, or remove it")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not files:
        raise ValueError(f"{folder}: holds no picture (.jpg, .jpeg, .png, .webp)")
    lines = [",".join(LIST_COLUMNS)]
    for file in tqdm(files, desc="finding faces", unit="picture"):
        boxes = [face.box for face in detect_faces(read_image(file)) if face.confidence >= CERTAIN]
        numbers = [f"{b.x:.0f},{b.y:.0f},{b.width:.0f},{b.height:.0f}" for b in boxes] or [",,,"]
        lines += [f"{file.name},{WHOLE if boxes else 'no face'},{each}" for each in numbers]
    with atomic_write(path) as out:
        out.write("".join(f"{line}\n" for line in lines).encode())
    return path


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown: right, refused and wrong of each detector."""
    lines = ["| pictures | number | cascades: right, refused, wrong | YuNet |", "|---|---|---|---|"]
    for row in rows:
        cells = [" · ".join(str(row[name][key]) for key in (RIGHT, REFUSED, WRONG)) for name in ("cascades", "yunet")]
        lines.append(f"| {row['kind']} | {row['pictures']} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def pictures_of(folders: Sequence[Path], clips: Path | None, portraits: int) -> tuple[Iterator[FacePicture], int]:
    """All pictures to measure with, one after another, and about how many.

    Args:
        folders: folders with lists.
        clips: folder of training clips, or None.
        portraits: number of portraits that others are made of, at most.

    Raises:
        ValueError: if a list cannot be read.
    """
    listed = [picture for folder in folders for picture in listed_pictures(folder)]
    nothing = [*textures()]
    whole = [picture for picture in listed if picture.kind == WHOLE and len(picture.faces) == 1]
    whole = whole[:: max(len(whole) // max(portraits, 1), 1)][:portraits]
    grounds = [picture for picture in [*listed, *nothing] if not picture.faces]
    parts = [iter(listed), iter(nothing), drawn_pictures(_DRAWN), made_pictures(whole, grounds)]
    if clips:
        parts.append(clip_pictures(clips))
    return chain(*parts), len(listed) + len(nothing) + _DRAWN * len(YAWS) + made_count(len(whole))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faces", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folders", type=Path, nargs="+", metavar="FOLDER", help="pictures, and faces.csv, which lists their faces")
    add("--clips", type=Path, metavar="DIR", help="training clips as well, by how far the heads turn")
    made = "make small, tilted, dark ... pictures of so many portraits (default: %(default)s)"
    add("--portraits", type=int, default=20, metavar="N", help=made)
    add("--propose", action="store_true", help="write each folder's faces.csv as the detector finds the faces")
    args = parser.parse_args(arguments)
    try:
        if args.propose:
            for folder in args.folders:
                print(propose(folder))
            return 0
        results = measure(*pictures_of(args.folders, args.clips, args.portraits))
    except (EmoError, OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    for wrong in results.pop("errors"):
        print(wrong)
    results = {"machine": machine_facts(), "totals": totals(results["rows"]), **results}
    print(table(results["rows"]))
    for name, total in results["totals"].items():
        print(f"{name}: {total['right']:.2%} of faces right, {total['animated']} pictures without a face animated")
    path = results_file("faces")
    write_results(path, results)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
