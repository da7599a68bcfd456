"""Several videos from one CSV file: a row for each, below a first line that names the columns."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emo_rt.errors import InputError, in_one_line, reason
from emo_rt.jobs.parsing import parse_box, parse_positive, parse_seed, parse_speed, parse_whole
from emo_rt.jobs.request import Request
from emo_rt.jobs.session import Session
from emo_rt.media.sound import STDIN
from emo_rt.media.video import STDOUT
from emo_rt.stopping import is_stopped

REQUIRED = ("portrait", "voice", "output")
#: Encodings that say by their first bytes that they are it, the longest marks first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Row:
    """A row of a batch that is done.

    Attributes:
        line: its line in the CSV file
        made: whether its video is made
        words: the line that reports the video, or what went wrong
    """

    line: int
    made: bool
    words: str


def one_by_one(
    session: Session, jobs: Sequence[tuple[int, Request | InputError]], *, resume: bool | None
) -> Iterator[Row]:
    """Makes the videos of a batch one after another.

    Args:
        session: maker of the videos
        jobs: rows as `read_jobs` returns them
        resume: as of `Session.make`

    Yields:
        each row as soon as it is done
    """
    for line, request in jobs:
        try:
            if isinstance(request, InputError):
                raise request
            yield Row(line, True, str(session.make(request, resume=resume)))
        except Exception as error:  # whatever a row causes stays that row's
            if is_stopped():
                raise
            yield Row(line, False, in_one_line(error))


def read_jobs(path: Path, default: Request) -> list[tuple[int, Request | InputError]]:
    """Reads the requests of a CSV file.

    The columns `portrait`, `voice` and `output` are required; `seed`, `speed` (degrees per frame), `face_box` (X Y W
    H, pixels), `face` (counted from the left), `framing`, `audio_track` and `max_seconds` are optional. Commas,
    semicolons or tabs are between them, and capitals in their names do not matter. The text is UTF-8, UTF-16 with its
    mark, or else Latin-1.

    A portrait or a voice is looked for beside the CSV file first, and then from the current directory; an output goes
    to where its path leads from the current directory.

    Args:
        path: CSV file
        default: request that gives what a row leaves empty

    Returns:
        The line number of each row, with its request or with what is wrong with it.

    Raises:
        InputError: if the file cannot be read, has no rows, lacks a column, or has an unknown one or one twice.
    """
    rows = _read_rows(path)
    if not rows:
        raise InputError(f"batch {path}: there is no row below the first line")
    jobs: list[tuple[int, Request | InputError]] = []
    written: dict[str, int] = {}
    for line, row in rows:
        try:
            request = _request(row, default, path.parent)
            if (first := written.setdefault(_place(request.out), line)) != line:
                raise InputError(f"output {request.out}: line {first} writes it, too; give it another name")
            jobs.append((line, request))
        except InputError as error:
            jobs.append((line, error))
    return jobs


def _read_rows(path: Path) -> list[tuple[int, dict[str | None, str]]]:
    """The rows of the file with their line numbers; those that are empty are left out."""
    try:
        text = _decoded(path.read_bytes())
        names, delimiter = _header(path, text)
        reader = csv.DictReader(
            io.StringIO(text, newline=""), names, delimiter=delimiter, skipinitialspace=True, strict=True
        )
        next(reader, None)
        return [(reader.line_num, row) for row in reader if any(map(_text, row.values()))]
    except FileNotFoundError:
        raise InputError(f"batch {path}: no such file") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"batch {path}: cannot be read as CSV ({reason(error)})") from error


def _decoded(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _header(path: Path, text: str) -> tuple[list[str], str]:
    """The names in the first line, and what stands between them."""
    lines = [
        ([name.strip().lower() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=each), [])], each)
        for each in (",", ";", "\t")
    ]
    names, delimiter = max(lines, key=lambda line: len(set(line[0]) & set(_COLUMNS)))
    if missing := [name for name in REQUIRED if name not in names]:
        raise InputError(f"batch {path}: the first line has no column {', '.join(missing)}")
    if unknown := [name for name in names if name not in _COLUMNS]:
        raise InputError(f"batch {path}: unknown column {unknown[0]!r}; known are {', '.join(_COLUMNS)}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"batch {path}: the column {twice[0]} is there twice; remove one of them")
    return names, delimiter


def _text(value: object) -> str:
    """The text of a cell, or of all surplus ones."""
    return "".join(map(_text, value)) if isinstance(value, list) else str(value or "").strip()


def _request(row: Mapping[str | None, str], default: Request, folder: Path) -> Request:
    if None in row:
        raise InputError("it has more values than the first line has columns; put quotes around commas")
    request = default
    for name, value in row.items():
        assert name is not None
        if value and value.strip():
            request = replace(request, **_COLUMNS[name](value.strip()))
        elif name in REQUIRED:
            raise InputError(f"{name} is empty")
    if request.audio == STDIN or request.out == STDOUT:
        raise InputError("- stands for a pipe, which a batch does not have; give the name of a file")
    return replace(request, image=_found(folder, request.image), audio=_found(folder, request.audio))


def _found(folder: Path, path: Path) -> Path:
    """The path beside the CSV file, if there is something; else as it is, from the current directory."""
    return folder / path if os.path.exists(folder / path) else path


def _place(path: Path) -> str:
    """The file that a path leads to."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError) as error:
        raise InputError(f"output {path}: cannot be written ({reason(error)}); give another output") from None


#: What each column changes in a request.
_COLUMNS: dict[str, Callable[[str], dict[str, Any]]] = {
    "portrait": lambda text: {"image": Path(text)},
    "voice": lambda text: {"audio": Path(text)},
    "output": lambda text: {"out": Path(text)},
    "seed": lambda text: {"seed": parse_seed(text, "seed")},
    "speed": lambda text: {"speed": parse_speed(text, "speed")},
    "face_box": lambda text: {"face_box": parse_box(text, "face_box")},
    "face": lambda text: {"face": parse_whole(text, "face", smallest=1)},
    "framing": lambda text: {"framing": text},
    "audio_track": lambda text: {"audio_track": parse_whole(text, "audio_track", smallest=1)},
    "max_seconds": lambda text: {"max_seconds": parse_positive(text, "max_seconds")},
}
