"""Files that appear whole or not at all, and files that are opened only if they are what their name says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a binary file that replaces `path` when the block ends.

    The content reaches the disk before the file gets its name. After a kill or a power cut, `path` is as it was before
    or holds all of the new content. If the block raises, `path` stays as it was. Nothing is written through a link,
    whatever lies there under the name of the unfinished file.

    Args:
        path: path of the file; its directory exists; a link is replaced, so give what it points to

    Raises:
        OSError: if the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        temporary.unlink(missing_ok=True)  # what a process of this number left, or somebody put there
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def plain_file(path: str, flags: int) -> int:
    """An opener for `open` that follows no link, and does not wait for the other end of a named pipe."""
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # each is missing on some system
        flags |= getattr(os, name, 0)
    return os.open(path, flags, 0o666)
