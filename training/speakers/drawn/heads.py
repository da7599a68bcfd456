"""Generated people: the parameters of a portrait, drawn from a seed, and of its motion.

Lengths are in head units: the head's half-width is 1, and from the middle of the head x points right, y down and z
towards the viewer. `training.speakers.drawn.render` draws them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor


class TensorRows:
    """A dataclass of tensors with the same leading dimension, indexed together."""

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Self:
        """The chosen rows; an int keeps the batch dimension (of 1)."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return self._map(lambda tensor: tensor[index])

    def __len__(self) -> int:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return len(getattr(self, fields[0].name))

    def repeat(self, times: int) -> Self:
        """Each row `times` times: (a, b) -> (a, a, b, b)."""
        return self._map(lambda tensor: tensor.repeat_interleave(times, 0))

    def to(self, device: torch.device | str) -> Self:
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, function: object) -> Self:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return type(self)(**{field.name: function(getattr(self, field.name)) for field in fields})  # type: ignore[operator]


@dataclass(frozen=True)
class Motion(TensorRows):
    """What changes from frame to frame; the leading dimension B pairs with that of `Portraits`."""

    mouth_opening: Tensor  # (B,) 0 closed .. 1 wide open
    mouth_width: Tensor  # (B,) 0 rounded .. 0.5 neutral .. 1 spread
    blink: Tensor  # (B,) 0 open .. 1 shut
    brow: Tensor  # (B,) -1 lowered .. 1 raised
    gaze: Tensor  # (B, 2) -1 .. 1, x to the right and y down
    rotation: Tensor  # (B, 3) degrees: yaw (to the right of the image), pitch (down), roll (clockwise)
    translation: Tensor  # (B, 2) fractions of the frame

    @classmethod
    def rest(cls, frames: int, device: torch.device | str = "cpu") -> Motion:
        """A frontal face, mouth closed, looking at the viewer."""
        shapes = {"gaze": (frames, 2), "rotation": (frames, 3), "translation": (frames, 2)}
        values = {f.name: torch.zeros(shapes.get(f.name, (frames,)), device=device) for f in dataclasses.fields(cls)}
        values["mouth_width"] += 0.5
        return cls(**values)


@dataclass(frozen=True)
class Portraits(TensorRows):
    """Who is seen, in which framing and light. Every field is float32 (B,) unless noted; colours are linear (B, 3)."""

    centre: Tensor  # (B, 2) of the head, fractions of the frame
    scale: Tensor  # the head's half-width as a fraction of the frame's
    cranium: Tensor  # height above the middle of the head
    jaw: Tensor  # height below it
    depth: Tensor
    taper: Tensor  # how much narrower the chin is
    skin: Tensor
    blush: Tensor
    eye_x: Tensor
    eye_y: Tensor
    eye_width: Tensor
    eye_height: Tensor
    eye_tilt: Tensor
    iris: Tensor
    brow_y: Tensor
    brow_thickness: Tensor
    brow_arch: Tensor
    brow_tilt: Tensor
    nose_y: Tensor
    nose_width: Tensor
    nose_height: Tensor
    mouth_y: Tensor
    mouth_half_width: Tensor
    mouth_curve: Tensor
    upper_lip: Tensor
    lower_lip: Tensor
    lips: Tensor
    ear: Tensor  # size; 0 hidden by hair
    hair: Tensor
    hair_present: Tensor
    hair_volume: Tensor
    hairline: Tensor  # y at the forehead
    hair_side: Tensor  # y down to which it covers the temples
    hair_part: Tensor  # slope of the hairline
    hair_fringe: Tensor  # unevenness of the hairline
    hair_curl: Tensor
    hair_length: Tensor  # y down to which it falls behind; 0 none
    bun: Tensor
    beard: Tensor
    moustache: Tensor
    glasses: Tensor  # opacity
    glasses_round: Tensor
    glasses_colour: Tensor
    cloth: Tensor
    cloth_trim: Tensor
    neck: Tensor  # half-width
    neckline: Tensor  # depth of the collar
    stripes: Tensor
    background: Tensor  # (B, 2, 3) above and below
    blobs: Tensor  # (B, 4, 6) x, y, radius, colour
    light: Tensor  # (B, 3) unit vector towards the key light
    light_colour: Tensor
    ambient: Tensor


_SKINS = ((0.96, 0.80, 0.70), (0.92, 0.71, 0.58), (0.84, 0.61, 0.46), (0.70, 0.47, 0.33), (0.52, 0.33, 0.23),
          (0.38, 0.23, 0.16))  # fmt: skip
_HAIRS = ((0.08, 0.06, 0.05), (0.17, 0.10, 0.06), (0.32, 0.19, 0.10), (0.50, 0.30, 0.14), (0.80, 0.62, 0.34),
          (0.58, 0.23, 0.09), (0.70, 0.69, 0.68))  # fmt: skip
_IRISES = ((0.24, 0.13, 0.06), (0.36, 0.22, 0.09), (0.40, 0.38, 0.16), (0.24, 0.45, 0.62), (0.28, 0.48, 0.30),
           (0.42, 0.50, 0.55))  # fmt: skip

# style: probability, then ranges of volume, hairline, side, part, fringe, curl, length; and the chance of a bun.
_HAIRSTYLES: dict[str, tuple[float, tuple[tuple[float, float], ...], float]] = {
    "short": (0.22, ((0.05, 0.12), (-0.80, -0.66), (-0.05, 0.25), (-0.12, 0.12), (0.0, 0.03), (0, 0), (0, 0)), 0),
    "parted": (0.14, ((0.10, 0.20), (-0.78, -0.66), (0.00, 0.25), (0.15, 0.32), (0.0, 0.03), (0, 0), (0, 0)), 0),
    "fringe": (0.12, ((0.09, 0.16), (-0.50, -0.42), (0.25, 0.60), (-0.06, 0.06), (0.02, 0.05), (0, 0), (0.6, 1.2)), 0),
    "long": (0.20, ((0.09, 0.18), (-0.76, -0.60), (0.70, 1.10), (-0.25, 0.25), (0.0, 0.02), (0, 0), (1.4, 2.4)), 0),
    "bob": (0.10, ((0.12, 0.20), (-0.72, -0.50), (0.80, 1.05), (-0.20, 0.20), (0.0, 0.04), (0, 0), (0.9, 1.3)), 0),
    "bun": (0.08, ((0.04, 0.09), (-0.80, -0.68), (-0.10, 0.15), (-0.05, 0.05), (0.0, 0.01), (0, 0), (0, 0)), 1),
    "curly": (0.10, ((0.18, 0.42), (-0.74, -0.60), (0.00, 0.40), (-0.05, 0.05), (0.03, 0.05), (1, 1), (0, 1.0)), 0),
    "bald": (0.04, ((0.00, 0.00), (-0.70, -0.70), (0.00, 0.00), (0.0, 0.0), (0.0, 0.0), (0, 0), (0, 0)), 0),
}
_HAIR_FIELDS = ("hair_volume", "hairline", "hair_side", "hair_part", "hair_fringe", "hair_curl", "hair_length")


def sample_portraits(seeds: Sequence[int], device: torch.device | str = "cpu") -> Portraits:
    """One person per seed; equal seeds give equal people."""
    people = [_sample(seed) for seed in seeds]
    return Portraits(
        **{
            field.name: torch.tensor(np.array([person[field.name] for person in people], np.float32), device=device)
            for field in dataclasses.fields(Portraits)
        }
    )


def _sample(seed: int) -> dict[str, np.ndarray | float]:
    rng = np.random.default_rng([seed, 0x4EAD])
    uniform = rng.uniform

    def mixture(colours: tuple[tuple[float, float, float], ...], position: float) -> np.ndarray:
        """Between neighbours of a palette."""
        left = min(int(position), len(colours) - 2)
        return np.array(colours[left]) * (left + 1 - position) + np.array(colours[left + 1]) * (position - left)

    feminine = rng.random() < 0.5
    darkness = uniform(0, len(_SKINS) - 1)
    skin = mixture(_SKINS, darkness) * uniform(0.95, 1.05, 3)
    names = list(_HAIRSTYLES)
    odds = np.array([_HAIRSTYLES[name][0] for name in names])
    if feminine:
        odds = odds * np.array([0.35, 0.4, 1.3, 1.8, 1.8, 1.8, 1.0, 0.1])
    else:
        odds = odds * np.array([1.8, 1.8, 0.6, 0.2, 0.1, 0.1, 1.0, 2.5])
    style = names[int(rng.choice(len(names), p=odds / odds.sum()))]
    _, ranges, bun = _HAIRSTYLES[style]
    hair_values = {name: float(uniform(*bounds)) for name, bounds in zip(_HAIR_FIELDS, ranges, strict=True)}
    dark_haired = darkness > 2.5 and rng.random() < 0.85
    hair = np.array(_HAIRS[int(rng.integers(3 if dark_haired else len(_HAIRS)))]) * uniform(0.85, 1.15)
    bearded = not feminine and rng.random() < 0.35
    side = rng.choice([-1, 1])
    light = np.array([side * uniform(0.15, 0.65), -uniform(0.25, 0.55), 1.0])
    hue = uniform(0, 1)
    eye_y = uniform(0.0, 0.08)
    painted = feminine and rng.random() < 0.6
    lip_tint = np.array([0.72, 0.20, 0.22]) if painted else np.array([0.74, 0.36, 0.34])
    mouth_y = uniform(0.71, 0.78)

    return {
        "centre": np.array([uniform(0.47, 0.53), uniform(0.47, 0.52)]),
        "scale": uniform(0.255, 0.30),
        "cranium": uniform(1.18, 1.32),
        "jaw": mouth_y + (uniform(0.42, 0.50) if feminine else uniform(0.46, 0.58)),
        "depth": uniform(1.05, 1.2),
        "taper": uniform(0.10, 0.24) if feminine else uniform(-0.02, 0.18),
        "skin": skin.clip(0.05, 1),
        "blush": uniform(0.1, 0.6),
        "eye_x": uniform(0.40, 0.45),
        "eye_y": eye_y,
        "eye_width": uniform(0.20, 0.25),
        "eye_height": uniform(0.10, 0.15) + 0.02 * feminine,
        "eye_tilt": uniform(-0.05, 0.03),
        "iris": mixture(_IRISES, uniform(0, 1.5) if darkness > 2.5 else uniform(0, 5)),
        "brow_y": eye_y - uniform(0.27, 0.34),
        "brow_thickness": uniform(0.030, 0.045) if feminine else uniform(0.045, 0.07),
        "brow_arch": uniform(0.02, 0.09),
        "brow_tilt": uniform(-0.05, 0.05),
        "nose_y": uniform(0.40, 0.47),
        "nose_width": uniform(0.13, 0.19),
        "nose_height": uniform(0.8, 1.2),
        "mouth_y": mouth_y,
        "mouth_half_width": uniform(0.34, 0.41),
        "mouth_curve": uniform(0.01, 0.07),
        "upper_lip": uniform(0.045, 0.085),
        "lower_lip": uniform(0.07, 0.11),
        "lips": lip_tint * (0.35 + 0.65 * skin) * uniform(0.9, 1.1),
        "ear": 0.0 if style in ("long", "bob") else uniform(0.85, 1.15),
        "hair": hair,
        "hair_present": float(style != "bald"),
        **hair_values,
        "bun": bun * uniform(0.32, 0.48),
        "beard": uniform(0.25, 1.0) if bearded else 0.0,
        "moustache": uniform(0.5, 1.0) if bearded and rng.random() < 0.7 else 0.0,
        "glasses": float(rng.random() < 0.16),
        "glasses_round": uniform(0, 1),
        "glasses_colour": np.array([0.08, 0.07, 0.08]) + rng.random() ** 3 * uniform(0, 0.5, 3),
        "cloth": _colour(uniform(0, 1), uniform(0.1, 0.75), uniform(0.2, 0.9)),
        "cloth_trim": _colour(uniform(0, 1), uniform(0.0, 0.5), uniform(0.3, 0.95)),
        "neck": uniform(0.46, 0.53) if feminine else uniform(0.54, 0.66),
        "neckline": uniform(0.02, 0.40),
        "stripes": float(rng.random() < 0.2),
        "background": np.stack(
            [
                _colour(hue, uniform(0.05, 0.5), uniform(0.35, 0.95)),
                _colour(hue + 0.08, uniform(0.1, 0.5), uniform(0.2, 0.8)),
            ]
        ),
        "blobs": np.stack(
            [
                [*uniform(0, 1, 2), uniform(0.1, 0.3), *_colour(hue + uniform(-0.2, 0.2), 0.4, uniform(0.3, 1))]
                for _ in range(4)
            ]
        ),
        "light": light / np.linalg.norm(light),
        "light_colour": np.array([1.0, uniform(0.92, 1.0), uniform(0.84, 1.0)]) * uniform(0.62, 0.76),
        "ambient": np.array([uniform(0.9, 1.0), 0.96, uniform(0.98, 1.08)]) * uniform(0.36, 0.48),
    }


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """HSV in [0, 1] -> RGB (3,)."""
    ramp = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return value * (1 - saturation * (1 - ramp.clip(0, 1)))
