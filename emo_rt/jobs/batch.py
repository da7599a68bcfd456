"""Several videos from one CSV file: one row a video, a header with what each column is."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from emo_rt.cascade.clips import MAX_SEED
from emo_rt.errors import InputError
from emo_rt.jobs.request import Request
from emo_rt.media.boxes import Box

REQUIRED = ("portrait", "voice", "output")


def read_jobs(path: Path, default: Request) -> list[tuple[int, Request | InputError]]:
    """The rows of a CSV file by their line: what each asks for, or what is wrong with it.

    Columns are `portrait`, `voice` and `output`, and where they are wanted `seed`, `speed` (degrees per frame) and
    `face_box` (X Y W H, pixels). What a row leaves empty is as in `default`.

    Raises:
        InputError: if the file cannot be read, has no rows, or lacks a column or knows too many.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            names = reader.fieldnames or []
            if missing := [name for name in REQUIRED if name not in names]:
                raise InputError(f"batch {path}: the first line has no column {', '.join(missing)}")
            if unknown := [name for name in names if name not in _COLUMNS]:
                raise InputError(f"batch {path}: unknown column {unknown[0]!r}; known are {', '.join(_COLUMNS)}")
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise InputError(f"batch {path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"batch {path}: cannot be read as CSV ({error})") from error
    if not rows:
        raise InputError(f"batch {path}: there is no row below the first line")
    jobs: list[tuple[int, Request | InputError]] = []
    written: dict[Path, int] = {}
    for line, row in rows:
        try:
            request = _request(row, default)
            if (first := written.setdefault(request.out.resolve(), line)) != line:
                raise InputError(f"output {request.out}: line {first} writes it, too; give it another name")
            jobs.append((line, request))
        except InputError as error:
            jobs.append((line, error))
    return jobs


def _request(row: Mapping[str, str | None], default: Request) -> Request:
    if None in row:
        raise InputError("it has more values than the first line has columns; put quotes around commas")
    request = default
    for name, value in row.items():
        if value and value.strip():
            request = _COLUMNS[name](request, value.strip())
        elif name in REQUIRED:
            raise InputError(f"{name} is empty")
    return request


def _seed(request: Request, value: str) -> Request:
    if not value.isdecimal() or int(value) > MAX_SEED:
        raise InputError(f"seed {value!r} is no whole number from 0 to {MAX_SEED}")
    return replace(request, seed=int(value))


def _speed(request: Request, value: str) -> Request:
    try:
        return replace(request, speed=float(value))
    except ValueError:
        raise InputError(f"speed {value!r} is no number") from None


def _face_box(request: Request, value: str) -> Request:
    try:
        x, y, width, height = (int(part) for part in value.replace(",", " ").split())
    except ValueError:
        raise InputError(f"face_box {value!r} is not of the form X Y W H, whole pixels") from None
    return replace(request, face_box=Box(x, y, width, height))


_COLUMNS: dict[str, Callable[[Request, str], Request]] = {
    "portrait": lambda request, value: replace(request, image=Path(value)),
    "voice": lambda request, value: replace(request, audio=Path(value)),
    "output": lambda request, value: replace(request, out=Path(value)),
    "seed": _seed,
    "speed": _speed,
    "face_box": _face_box,
}
