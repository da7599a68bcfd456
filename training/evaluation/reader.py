"""The face reader: what a face does in a picture and whose it is, to measure videos that have no labels.

`python -m training.train_reader` trains it on generated speakers, whose labels are exact.

A plain network does not find the mouth. This one pools its features with attention maps; training teaches some of the
maps where the mouth, the eyes and the face are, and the network then reads the mouth within a few hundred steps. The
other maps find places of their own, from which the head's rotation follows. Where the map finds the mouth, a second
small network looks closer: closed lips and lips that are a hair apart differ by a pixel. What it sees there in all
pictures of a clip tells how this person's lips look, painted or bearded, in shade or in light.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from emo_rt.atomic import atomic_write
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.metrics import nearest
from training.model.vae import to_float

#: The reader that comes with the project; it knows the generated speakers.
BUNDLED_READER = Path(__file__).parents[2] / "models" / "face-reader"

#: Width and height, in pixels, of the pictures that the network takes. It looks at the whole at half of that.
READER_RESOLUTION = 256

#: Width and height, in pixels, of a cell of the attention maps.
ATTENTION_STRIDE = 8

#: Width and height of the piece around the mouth that is looked at closely, as a share of the picture's and in pixels.
MOUTH_SHARE, MOUTH_PIXELS = 0.3, 64

#: Channels of what is seen there.
_MOUTH_CHANNELS = 96

#: Degrees of head rotation for which the network says 1.
ROTATION_UNIT = 20.0

#: Channels of an identity.
IDENTITY_CHANNELS = 64

#: Number of people, at most, among whom an identity is looked for.
GALLERY_SIZE = 100

#: The least correlation of a reader's mouth opening with held-out labels with which it may judge others.
NEEDED_CORRELATION = 0.95

_MOUTH, _EYES, _FACE = range(3)  # the attention maps whose places are taught
_MAPS = 12
_CHANNELS = 40


@dataclass(frozen=True)
class Reading:
    """What a reader sees in t frames, in float32; the names are those of the labels of a `TrainingClip`.

    Attributes:
        mouth_opening: opening (t,), 0 closed .. 1 wide open, not clipped.
        mouth_width: width (t,), 0 rounded .. 1 spread, not clipped.
        blink: eyelids (t,), 0 open .. 1 shut, not clipped.
        rotation: yaw, pitch and roll (t, 3) in degrees.
        face_centre: x and y (t, 2) of the middle of the face box, in widths of the picture.
        identity: unit vectors (t, 64); the greater their product, the more alike two people are.
    """

    mouth_opening: np.ndarray
    mouth_width: np.ndarray
    blink: np.ndarray
    rotation: np.ndarray
    face_centre: np.ndarray
    identity: np.ndarray


class ReaderOutputs(NamedTuple):
    """What the network gives for b pictures.

    Attributes:
        mouth: opening and width (b, 2).
        blink: eyelids (b,).
        rotation: yaw, pitch and roll (b, 3) in units of 20 degrees.
        face_centre: x and y (b, 2) in [-1, 1].
        identity: unit vectors (b, 64).
        attention: logits (b, 2, cells) of the places of the mouth and of the eyes.
    """

    mouth: Tensor
    blink: Tensor
    rotation: Tensor
    face_centre: Tensor
    identity: Tensor
    attention: Tensor


class _Look(NamedTuple):
    """What is seen in b pictures before mouths are read: `ReaderOutputs` with features instead of the mouth.

    Attributes:
        face: features (b, 85) of the face around the mouth.
        lips: features (b, 96) of the mouth.
    """

    face: Tensor
    lips: Tensor
    blink: Tensor
    rotation: Tensor
    face_centre: Tensor
    identity: Tensor
    attention: Tensor


class FaceReader(nn.Module):
    """Reads mouth, eyes, head rotation, place and identity from faces of any resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_convolution(3, 24, 2), _convolution(24, _CHANNELS, 2), _convolution(40, _CHANNELS))
        #: Its features cover the whole face, and so where and how large the face's parts should be.
        self.coarse = nn.Sequential(
            _convolution(_CHANNELS, 64, 2),
            _convolution(64, 64),
            _convolution(64, 64, 2),
            _convolution(64, 64),
            _convolution(64, _CHANNELS),
        )
        self.merged = _convolution(_CHANNELS, _CHANNELS)
        self.attention = nn.Conv2d(_CHANNELS, _MAPS, 1)
        self.close = nn.Sequential(
            _convolution(3, 24, 2),
            _convolution(24, 48),
            _convolution(48, 64, 2),
            _convolution(64, 64, 2),
            nn.Flatten(),
            nn.Linear(64 * (MOUTH_PIXELS // 8) ** 2, _MOUTH_CHANNELS),
            nn.ReLU(),
        )
        part = 2 * _CHANNELS + 5  # features there, features of the face, place, spread, concentration
        self.mouth_head = _head(part + 3 * _MOUTH_CHANNELS, 2)
        self.blink_head = _head(part, 1)
        self.rotation_head = _head(5 * _MAPS + _CHANNELS, 3)
        self.identity_head = nn.Sequential(
            nn.Linear((_MAPS + 1) * _CHANNELS, 128), nn.ReLU(), nn.Linear(128, IDENTITY_CHANNELS)
        )
        rows, columns = torch.meshgrid(
            *2 * [torch.linspace(-1, 1, READER_RESOLUTION // ATTENTION_STRIDE)], indexing="ij"
        )
        self.register_buffer("_places", torch.stack([columns, rows], -1).flatten(0, 1), persistent=False)

    def forward(self, images: Tensor) -> ReaderOutputs:
        """Reads pictures (n, p, 3, 256, 256) in [-1, 1], n of each of p people; outputs have b = n * p rows."""
        look = self.look(images.flatten(0, 1))
        return ReaderOutputs(self.mouth(look, people=images.shape[1]), *look[2:])

    def mouth(self, look: _Look, people: int) -> Tensor:
        """Opening and width (n * people, 2) in n pictures of each of `people`."""
        of_each = look.lips.unflatten(0, (-1, people))
        spread, mean = torch.var_mean(of_each, 0, correction=0)
        usual = torch.cat([mean, (spread + 1e-5).sqrt()], 1).repeat(len(of_each), 1)
        mouth: Tensor = self.mouth_head(torch.cat([look.face, look.lips, usual], 1))
        return mouth

    def look(self, images: Tensor) -> _Look:
        """What is seen in pictures (b, 3, 256, 256) in [-1, 1], each by itself."""
        fine = self.fine(functional.avg_pool2d(images, 2))
        coarse = self.coarse(fine)
        wide = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        features = self.merged(fine + wide)
        attention = self.attention(features).flatten(2)  # [b, maps, cells]
        where = attention.softmax(2)
        seen = where @ features.flatten(2).mT  # [b, maps, channels]
        place = where @ self._places  # [b, maps, 2]
        spread = where @ self._places.square() - place.square()  # type: ignore[operator]
        concentration = where.square().sum(2, keepdim=True)
        shape = torch.cat([place, spread.clamp(min=1e-5).sqrt(), concentration], 2)  # [b, maps, 5]
        face = coarse.mean((2, 3))  # [b, channels]
        mouth, eyes = (torch.cat([seen[:, part], face, shape[:, part]], 1) for part in (_MOUTH, _EYES))
        return _Look(
            face=mouth,
            lips=self.close(around(images, place[:, _MOUTH])),
            blink=self.blink_head(eyes)[:, 0],
            rotation=self.rotation_head(torch.cat([shape.flatten(1), face], 1)),
            face_centre=place[:, _FACE],
            identity=functional.normalize(self.identity_head(torch.cat([seen.flatten(1), face], 1)), dim=1),
            attention=attention[:, : _EYES + 1],
        )

    @torch.no_grad()
    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        """Reads frames of any resolution.

        Args:
            frames: square RGB pictures of one person, uint8 (t, h, h, 3), resized to 256 x 256 where they differ.
                Mouths are read in view of the person's others; all else is read in each picture alone.
            batch: number of pictures at a time.

        Raises:
            ValueError: if the frames have another shape or type.
        """
        if frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 (t, h, h, 3), not {frames.dtype} {frames.shape}")
        self.eval()
        device = next(self.parameters()).device
        parts = [self.look(resized(to_float(part.to(device)))) for part in torch.from_numpy(frames).split(batch)]
        seen = _Look(*(torch.cat(column) for column in zip(*parts, strict=True)))
        opening, width = self.mouth(seen, people=1).cpu().numpy().T
        return Reading(
            mouth_opening=opening,
            mouth_width=width,
            blink=seen.blink.cpu().numpy(),
            rotation=(seen.rotation * ROTATION_UNIT).cpu().numpy(),
            face_centre=((seen.face_centre + 1) / 2).cpu().numpy(),
            identity=seen.identity.cpu().numpy(),
        )

    def save(self, directory: Path) -> None:
        """Writes `reader.safetensors`, whole or not at all."""
        directory.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with atomic_write(directory / "reader.safetensors") as file:
            file.write(save(weights))

    @classmethod
    def load(cls, directory: Path) -> FaceReader:
        """Reads `reader.safetensors`.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: naming the file, if it holds no reader of this version.
        """
        path = Path(directory) / "reader.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: train a reader with `python -m training.train_reader`")
        reader = cls()
        try:
            reader.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError):
            raise ValueError(
                f"{path} holds no reader of this version: train one with `python -m training.train_reader`"
            ) from None
        return reader.eval()


@dataclass(frozen=True)
class Gallery:
    """People, and who they are to a reader.

    Attributes:
        names: names of the n people's clips.
        identity: unit vectors (n, 64) of their portraits.
    """

    names: tuple[str, ...]
    identity: np.ndarray

    @classmethod
    def of(cls, clips: Mapping[str, TrainingClip], reader: FaceReader) -> Gallery:
        """The people of the first `GALLERY_SIZE` clips."""
        names = tuple(clips)[:GALLERY_SIZE]
        return cls(names, reader.read(np.stack([portrait_of(clips[name])[0] for name in names])).identity)

    def share_recognised(self, identity: np.ndarray, name: str) -> float | None:
        """Share of the frames, of identities (t, 64), in which `name` is the nearest; None if not in the gallery."""
        if name not in self.names:
            return None
        return float((nearest(identity, self.identity) == self.names.index(name)).mean())


def known_accuracy(directory: Path) -> dict[str, dict[str, float]]:
    """What `reader.json` says of a reader's accuracy on renders of people whom it had never seen.

    Returns:
        The fields of `training.evaluation.reader_accuracy.ReaderAccuracy` for each kind of people.

    Raises:
        ValueError: if the reader was never tested, or if its mouth opening correlates by less than
            `NEEDED_CORRELATION` with the labels of one kind.
    """
    path = Path(directory) / "reader.json"
    report = json.loads(path.read_text()) if path.is_file() else {}
    if not report.get("tests"):
        raise ValueError(
            f"{path} reports no test of the reader: run `python -m training.train_reader --out {directory} --test DIR`"
        )
    accuracies: dict[str, dict[str, float]] = {name: test["renders"] for name, test in report["tests"].items()}
    for name, accuracy in accuracies.items():
        reached = accuracy["opening_correlation"]
        if reached < NEEDED_CORRELATION:
            raise ValueError(
                f"the reader in {directory} is not good enough to judge a mouth: r = {reached:.3f} with the labels of "
                f"{name}, {NEEDED_CORRELATION} is needed"
            )
    return accuracies


def around(images: Tensor, places: Tensor) -> Tensor:
    """Pieces (b, 3, 64, 64) of pictures (b, 3, h, h) around places (b, 2), x and y in [-1, 1]; no gradient to these."""
    matrix = MOUTH_SHARE * torch.eye(2, 3, dtype=images.dtype, device=images.device).repeat(len(images), 1, 1)
    matrix[:, :, 2] = places.detach()
    grid = functional.affine_grid(matrix, [len(images), 3, MOUTH_PIXELS, MOUTH_PIXELS], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def resized(images: Tensor) -> Tensor:
    """Pictures (b, 3, h, h) as the network takes them: (b, 3, 256, 256)."""
    if images.shape[-1] == READER_RESOLUTION:
        return images
    size = (READER_RESOLUTION, READER_RESOLUTION)
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs))
