"""Portraits that are ready to become puppets: picture, person mask and landmarks, as `training.prepare` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from emo_rt.atomic import atomic_write

#: Version of the files; what another version has written is refused.
PHOTOGRAPH_VERSION = 1
#: Number of MediaPipe's face landmarks, the ten of the irises included.
LANDMARKS = 478

_HINT = "make it anew with `python -m training.prepare portraits`"


@dataclass(frozen=True)
class Photograph:
    """A square picture of one person who looks at the camera.

    In a folder it is three files: `NAME.jpg`, `NAME.mask.png` and `NAME.npz`.

    Attributes:
        name: name of its files.
        identity: who is seen; pictures of one person share it.
        picture: uint8 RGB (s, s, 3).
        mask: uint8 (s, s), 255 where the person is.
        landmarks: float32 (478, 3) of MediaPipe's face mesh: x to the right and y down from the upper left corner, z
            away from the viewer, all in widths of the picture.
        glasses: whether the person wears glasses, which must not bend.
    """

    name: str
    identity: str
    picture: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray
    glasses: bool = False

    def save(self, folder: Path) -> None:
        """Writes the three files into a folder that exists; the `.npz`, by which it is found, comes last."""
        with atomic_write(folder / f"{self.name}.jpg") as file:
            Image.fromarray(self.picture).save(file, format="JPEG", quality=93, subsampling=0)
        with atomic_write(folder / f"{self.name}.mask.png") as file:
            Image.fromarray(self.mask).save(file, format="PNG")
        with atomic_write(folder / f"{self.name}.npz") as file:
            np.savez(
                file,
                version=PHOTOGRAPH_VERSION,
                identity=self.identity,
                landmarks=self.landmarks,
                glasses=self.glasses,
            )

    @classmethod
    def load(cls, path: Path) -> Photograph:
        """Reads what `save` has written.

        Args:
            path: the `.npz` file.

        Raises:
            ValueError: if it is of another version, damaged, or its picture or mask is missing. It names the file and
                what to do.
        """
        identity, landmarks, glasses = _labels(path)
        picture = _pixels(path.with_suffix(".jpg"), "RGB")
        mask = _pixels(path.with_suffix(".mask.png"), "L")
        if not picture.shape[0] == picture.shape[1] == mask.shape[0] == mask.shape[1]:
            raise ValueError(f"{path.with_suffix('.jpg')} and its mask are not squares of one size: {_HINT}")
        return cls(path.stem, identity, picture, mask, landmarks, glasses)


def photograph_paths(folder: Path) -> list[Path]:
    """The `.npz` files of a folder's photographs, sorted by name.

    Raises:
        FileNotFoundError: if there is none.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no prepared portraits: make them with `python -m training.prepare portraits`"
        )
    return paths


def read_identity(path: Path) -> str:
    """Who is seen in the photograph of an `.npz` file, whose pixels are not read.

    Raises:
        ValueError: as `Photograph.load`, but for pixels that are damaged.
    """
    for part in (path.with_suffix(".jpg"), path.with_suffix(".mask.png")):
        if not part.is_file():
            raise ValueError(f"{part} is missing: {_HINT}")
    return _labels(path)[0]


def _labels(path: Path) -> tuple[str, np.ndarray, bool]:
    """The identity, the landmarks (478, 3) and the glasses in the `.npz` file of a photograph."""
    try:
        with np.load(path) as archive:
            version, identity = int(archive["version"]), str(archive["identity"])
            landmarks, glasses = archive["landmarks"].astype(np.float32), bool(archive["glasses"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is no prepared portrait ({error}): {_HINT}") from None
    if version != PHOTOGRAPH_VERSION:
        raise ValueError(f"{path} is of version {version}, not {PHOTOGRAPH_VERSION}: {_HINT}")
    if landmarks.shape != (LANDMARKS, 3):
        raise ValueError(f"{path} has landmarks of shape {landmarks.shape}, not {(LANDMARKS, 3)}: {_HINT}")
    return identity, landmarks, glasses


def _pixels(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}): {_HINT}") from None
