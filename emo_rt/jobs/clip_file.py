"""The finished clips of a job in one file, each with a checksum: what is damaged or cut off is told from what is whole.

The file is a sequence of records: a header (the length of the content, and its checksum), then the content, which is
the clip's packets and, in every `LATENTS_EVERY`th record, the latents that the next clip goes on from. A checksum
covers all that came before it, from the text on that the job began with: no record is taken for that of another job.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from emo_rt.atomic import plain_file

#: Number of clips after which their file holds latents to go on from: they are larger than a clip of a small model.
LATENTS_EVERY = 8
_HEADER = struct.Struct("<II")
_NUMBER = struct.Struct("<I")


@dataclass(frozen=True)
class ClipRecord:
    """A clip as it is kept.

    Attributes:
        packets: the clip as `encode_clip` returns it
        motion_latents: latents that the next clip goes on from, (n, c, s, s); None where the record has none
        end: byte of the file that follows the record
        checksum: checksum of the file up to there
    """

    packets: list[bytes]
    motion_latents: np.ndarray | None
    end: int
    checksum: int


def append_clip(
    path: Path, start: int, checksum: int, packets: Sequence[bytes], motion_latents: np.ndarray | None
) -> tuple[int, int]:
    """Writes a record in the place of whatever follows byte `start`, as far as the disk.

    Args:
        path: file of the clips; one that is a link is refused
        start: byte of the file that the record begins at
        checksum: checksum of the file up to there
        packets: the clip as `encode_clip` returns it
        motion_latents: latents to keep with it, (n, c, s, s); None to keep none

    Returns:
        The byte that follows the record, and the checksum of the file up to there.

    Raises:
        OSError: if it cannot be written.
    """
    content = io.BytesIO()
    content.write(_NUMBER.pack(len(packets)))
    for data in packets:
        content.write(_NUMBER.pack(len(data)) + data)
    if motion_latents is not None:
        np.save(content, motion_latents, allow_pickle=False)
    body = content.getvalue()
    checksum = zlib.crc32(body, checksum)
    with open(path, "ab", opener=plain_file) as file:
        file.truncate(start)
        _write(file, _HEADER.pack(len(body), checksum) + body)
    return start + _HEADER.size + len(body), checksum


def read_clips(path: Path, checksum: int) -> Iterator[ClipRecord]:
    """Yields the records of a file up to the first one that is not whole; none if there is no such file.

    Args:
        path: file of the clips
        checksum: checksum that the first record goes on from
    """
    try:
        with open(path, "rb", opener=plain_file) as file:
            while (record := read_clip(file, checksum)) is not None:
                yield record
                checksum = record.checksum
    except OSError:
        return


def read_clip(file: BinaryIO, checksum: int) -> ClipRecord | None:
    """Reads the record that a file of clips is at.

    Args:
        file: open file, at the beginning of a record
        checksum: checksum of the file up to there

    Returns:
        The record; None if it is not whole or not there yet: the file is then anywhere behind its beginning.
    """
    size = os.fstat(file.fileno()).st_size
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, expected = _HEADER.unpack(header)
    if length > size - file.tell():
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body, checksum) != expected:
        return None
    content = io.BytesIO(body)
    try:
        packets = [_read_packet(content) for _ in range(_read_number(content))]
        latents = np.load(content, allow_pickle=False) if content.tell() < len(body) else None
    except (ValueError, EOFError, struct.error):  # its checksum is right: somebody made it so
        return None
    return ClipRecord(packets, latents, file.tell(), expected)


def _read_packet(content: BinaryIO) -> bytes:
    return content.read(_read_number(content))


def _read_number(file: BinaryIO) -> int:
    number: int = _NUMBER.unpack(file.read(_NUMBER.size))[0]
    return number


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
