"""Face reader: what a face does in a picture and whose it is, to measure videos for which no label exists.

``python -m training.train_reader`` trains one on generated speakers, whose labels are exact.

A plain network does not find the mouth: one that pools its features with attention maps, taught by the places of the
mouth and the eyes, does so within a few hundred steps. The other maps find places of their own, from which the head's
rotation follows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from training.model.vae import to_float

#: The bundled one: it knows the generated speakers.
BUNDLED = Path(__file__).parents[2] / "models" / "face-reader"
RESOLUTION = 128  # pixels a side of what the network sees
STRIDE = 4  # pixels per cell of the attention maps, on each side
ROTATION_UNIT = 20.0  # degrees
IDENTITY_CHANNELS = 64

#: A reader judges others only if its own mouth opening correlates with held-out labels by this much.
NEEDED_CORRELATION = 0.98

_MOUTH, _EYES, _FACE = range(3)  # the maps that are taught
_MAPS = 12
_CHANNELS = 40


@dataclass(frozen=True)
class Reading:
    """What is seen in t frames, float32; compare with the labels of the same names in a ``TrainingClip``."""

    mouth_opening: np.ndarray  # (t,) 0 closed .. 1 wide open, not clipped
    mouth_width: np.ndarray  # (t,) 0 rounded .. 1 spread, not clipped
    blink: np.ndarray  # (t,) 0 open .. 1 shut, not clipped
    rotation: np.ndarray  # (t, 3) degrees: yaw, pitch, roll
    face_centre: np.ndarray  # (t, 2) x, y in widths of the picture: the middle of `face_box`
    identity: np.ndarray  # (t, 64) unit vectors: the nearer (the greater their product), the more alike two people


class Outputs(NamedTuple):
    """What the network gives for b pictures."""

    mouth: Tensor  # (b, 2): opening, width
    blink: Tensor  # (b,)
    rotation: Tensor  # (b, 3) in units of 20 degrees
    face_centre: Tensor  # (b, 2) x, y in [-1, 1]
    identity: Tensor  # (b, 64) unit vectors
    attention: Tensor  # (b, 2, cells) logits of the places of mouth and eyes


class FaceReader(nn.Module):
    """Reads mouth, eyes, head rotation, place and identity from faces of any resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_convolution(3, 24, 2), _convolution(24, _CHANNELS, 2), _convolution(40, _CHANNELS))
        #: Sees the whole face, and with it where and how large its parts should be.
        self.coarse = nn.Sequential(
            _convolution(_CHANNELS, 64, 2),
            _convolution(64, 64),
            _convolution(64, 64, 2),
            _convolution(64, 64),
            _convolution(64, _CHANNELS),
        )
        self.merged = _convolution(_CHANNELS, _CHANNELS)
        self.attention = nn.Conv2d(_CHANNELS, _MAPS, 1)
        part = 2 * _CHANNELS + 5  # features there, features of the whole, place, spread, concentration
        self.mouth_head = _head(part, 2)
        self.blink_head = _head(part, 1)
        self.rotation_head = _head(5 * _MAPS + _CHANNELS, 3)
        self.identity_head = nn.Sequential(
            nn.Linear((_MAPS + 1) * _CHANNELS, 128), nn.ReLU(), nn.Linear(128, IDENTITY_CHANNELS)
        )
        rows, columns = torch.meshgrid(*2 * [torch.linspace(-1, 1, RESOLUTION // STRIDE)], indexing="ij")
        self.register_buffer("_places", torch.stack([columns, rows], -1).flatten(0, 1), persistent=False)

    def forward(self, images: Tensor) -> Outputs:
        """Pictures (b, 3, 128, 128) in [-1, 1]."""
        fine = self.fine(images)
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
        whole = coarse.mean((2, 3))
        mouth, eyes = (torch.cat([seen[:, part], whole, shape[:, part]], 1) for part in (_MOUTH, _EYES))
        return Outputs(
            mouth=self.mouth_head(mouth),
            blink=self.blink_head(eyes)[:, 0],
            rotation=self.rotation_head(torch.cat([shape.flatten(1), whole], 1)),
            face_centre=place[:, _FACE],
            identity=functional.normalize(self.identity_head(torch.cat([seen.flatten(1), whole], 1)), dim=1),
            attention=attention[:, : _EYES + 1],
        )

    @torch.no_grad()
    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        """
        Args:
            frames: RGB uint8 (t, h, w, 3), square; other resolutions than 128 are resized.

        Raises:
            ValueError: if the frames have another shape or type.
        """
        if frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 (t, h, h, 3), not {frames.dtype} {frames.shape}")
        self.eval()
        device = next(self.parameters()).device
        parts = [self(resized(to_float(part.to(device)))) for part in torch.from_numpy(frames).split(batch)]
        seen = Outputs(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
        return Reading(
            mouth_opening=seen.mouth[:, 0].numpy(),
            mouth_width=seen.mouth[:, 1].numpy(),
            blink=seen.blink.numpy(),
            rotation=(seen.rotation * ROTATION_UNIT).numpy(),
            face_centre=((seen.face_centre + 1) / 2).numpy(),
            identity=seen.identity.numpy(),
        )

    def save(self, directory: Path) -> None:
        """Write ``reader.safetensors``."""
        directory.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, directory / "reader.safetensors")

    @classmethod
    def load(cls, directory: Path) -> FaceReader:
        """Raises ``FileNotFoundError`` or ``ValueError`` that names the file."""
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


def known_accuracy(directory: Path) -> dict[str, float]:
    """What ``reader.json`` says of a reader on renders of people whom it had never seen.

    Raises:
        ValueError: if it was never tested, or if its mouth opening correlates by less than ``NEEDED_CORRELATION``.
    """
    path = Path(directory) / "reader.json"
    report = json.loads(path.read_text()) if path.is_file() else {}
    if "test" not in report:
        raise ValueError(f"{path} says of no test: `python -m training.train_reader --out {directory} --test DIR`")
    accuracy: dict[str, float] = report["test"]["renders"]
    reached = accuracy["opening_correlation"]
    if reached < NEEDED_CORRELATION:
        raise ValueError(
            f"the reader in {directory} is not good enough to judge a mouth: r = {reached:.3f} with the labels of "
            f"held-out renders, {NEEDED_CORRELATION} is needed"
        )
    return accuracy


def resized(images: Tensor) -> Tensor:
    """Pictures (b, 3, h, h) as the network takes them: (b, 3, 128, 128)."""
    if images.shape[-1] == RESOLUTION:
        return images
    size = (RESOLUTION, RESOLUTION)
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs))
