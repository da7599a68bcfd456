"""The processes of this machine, for tests that kill some, or want none to be left."""

from __future__ import annotations

import contextlib
from pathlib import Path


def processes_of(words: bytes) -> list[int]:
    """The numbers of the processes whose command line has these words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if words in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
