"""Which portraits a folder holds, what each is called, and who is seen."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

#: File names' ends, in lower case.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff")

_MASK_SUFFIX = ".mask.png"  # as photographs have beside them


@dataclass(frozen=True)
class PortraitFile:
    """A picture that may become a photograph.

    Attributes:
        path: the file.
        picture: path relative to the folder of all portraits.
        name: name of the photograph, without characters that file systems dislike.
        identity: who is seen; pictures of one person share it.
    """

    path: Path
    picture: str
    name: str
    identity: str

    def stamp(self) -> str:
        """Size and time of the last change: another stamp means another picture.

        Raises:
            OSError: if there is no such file any more.
        """
        status = self.path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


def find_portraits(folder: Path) -> list[PortraitFile]:
    """All pictures in a folder and below, in order of their paths; what starts with a dot, and masks, are left out.

    The pictures of one subfolder are one person. Each picture right in the folder is a person of its own.

    Raises:
        FileNotFoundError: if there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    relative = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    pictures = [path for path in relative if _is_picture(path)]
    if not pictures:
        raise FileNotFoundError(f"{folder} has no pictures ({', '.join(PICTURE_SUFFIXES)})")
    plain = Counter(map(_safe, pictures))
    files = []
    for path in pictures:
        name, whole = _safe(path), path.as_posix()
        if plain[name] > 1:  # a/b.jpg, a_b.jpg, a_b.png
            name += "-" + hashlib.sha256(whole.encode()).hexdigest()[:8]
        identity = name if path.parent == Path() else path.parent.as_posix()
        files.append(PortraitFile(folder / path, whole, name, identity))
    return files


def _is_picture(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.endswith(_MASK_SUFFIX) and not hidden


def _safe(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", path.with_suffix("").as_posix()).strip("_") or "picture"
