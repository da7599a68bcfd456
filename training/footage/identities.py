"""Who speaks in a video, by the video's name."""

from __future__ import annotations

import re
from pathlib import Path

#: Name of a file of VFHQ, without suffix: the video, and the first and the last frame of the shot.
VFHQ_NAME = re.compile(r"Clip\+(?P<video>.+)\+P\d+\+C\d+\+F(?P<first>\d+)-(?P<last>\d+)")


def identity_of(path: Path, folder: Path) -> str:
    """Who speaks in a video: the name of the folder that it is in or, right in `folder`, what the file's name says.

    Names are read as the data sets give them, in case of doubt as one person: nobody may be in the training and in the
    held-out clips. `WRA_RandPaul2_001` and `RandPaul0` are both RandPaul. All of HDTF's radio addresses are Radio,
    because HDTF does not tell who speaks. All shots of one VFHQ video are of one identity.

    Args:
        path: a video in `folder` or below.
        folder: folder of all videos.
    """
    if path.parent != folder:
        return path.parent.relative_to(folder).as_posix()
    if shot := VFHQ_NAME.match(path.stem):
        return shot["video"]
    name = re.sub(r"_\d+$", "", without_subset(path.stem))
    return re.sub(r"\d+$", "", name).rstrip("_- ") or path.stem


def without_subset(name: str) -> str:
    """The name of a video of HDTF without that of the subset: WDA_BernieSanders -> BernieSanders."""
    return re.sub(r"^(RD|WDA|WRA)_", "", name)
