"""Several videos from one CSV file: a row for each, below a first line that names the columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from emo_rt.errors import InputError
from emo_rt.jobs.parsing import parse_box, parse_number, parse_seed, parse_whole
from emo_rt.jobs.request import Request

REQUIRED = ("portrait", "voice", "output")


def read_jobs(path: Path, default: Request) -> list[tuple[int, Request | InputError]]:
    """Reads the requests of a CSV file.

    The columns `portrait`, `voice` and `output` are required; `seed`, `speed` (degrees per frame), `face_box` (X Y W
    H, pixels), `face` (counted from the left), `framing` and `audio_track` are optional.

    Args:
        path: CSV file
        default: request that gives what a row leaves empty

    Returns:
        The line number of each row, with its request or with what is wrong with it.

    Raises:
        InputError: if the file cannot be read, has no rows, lacks a column or has an unknown one.
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
            request = replace(request, **_COLUMNS[name](value.strip()))
        elif name in REQUIRED:
            raise InputError(f"{name} is empty")
    return request


#: What each column changes in a request.
_COLUMNS: dict[str, Callable[[str], dict[str, Any]]] = {
    "portrait": lambda text: {"image": Path(text)},
    "voice": lambda text: {"audio": Path(text)},
    "output": lambda text: {"out": Path(text)},
    "seed": lambda text: {"seed": parse_seed(text, "seed")},
    "speed": lambda text: {"speed": parse_number(text, "speed")},
    "face_box": lambda text: {"face_box": parse_box(text, "face_box")},
    "face": lambda text: {"face": parse_whole(text, "face", smallest=1)},
    "framing": lambda text: {"framing": text},
    "audio_track": lambda text: {"audio_track": parse_whole(text, "audio_track", smallest=1)},
}
