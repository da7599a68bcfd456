"""What a drawn head is: who is seen, and how the face moves from frame to frame.

Lengths are in head units: the head's half-width is 1, and from the middle of the head x points right, y down and z
towards the viewer. `training.speakers.drawn.render` draws heads, `training.speakers.drawn.people` invents them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


class TensorRows:
    """A dataclass of tensors with the same leading dimension, indexed together."""

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Self:
        """The chosen rows; an int keeps the leading dimension, which is then 1."""
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
        """The same rows on a device."""
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return type(self)(**{field.name: function(getattr(self, field.name)) for field in fields})


@dataclass(frozen=True)
class Motion(TensorRows):
    """What changes from frame to frame: float32, one row for each row of `Portraits`.

    Attributes:
        mouth_opening: (B,) from 0, closed, to 1, wide open.
        mouth_width: (B,) from 0, rounded, over 0.5, neutral, to 1, spread.
        blink: (B,) from 0, open eyes, to 1, shut eyes.
        brow: (B,) from -1, lowered, to 1, raised.
        gaze: (B, 2) from -1 to 1, to the right and down.
        rotation: (B, 3) yaw to the right of the picture, pitch down and roll clockwise, in degrees.
        translation: (B, 2) to the right and down, in fractions of the frame.
    """

    mouth_opening: Tensor
    mouth_width: Tensor
    blink: Tensor
    brow: Tensor
    gaze: Tensor
    rotation: Tensor
    translation: Tensor

    @classmethod
    def rest(cls, frames: int, device: torch.device | str = "cpu") -> Motion:
        """A frontal face that looks at the viewer, with its mouth closed, for a number of `frames`."""
        shapes = {"gaze": (frames, 2), "rotation": (frames, 3), "translation": (frames, 2)}
        values = {f.name: torch.zeros(shapes.get(f.name, (frames,)), device=device) for f in dataclasses.fields(cls)}
        values["mouth_width"] += 0.5
        return cls(**values)


@dataclass(frozen=True)
class Portraits(TensorRows):
    """Who is seen, in which framing and light.

    Every field is float32 (B,) in head units unless noted; colours are linear RGB (B, 3).
    """

    centre: Tensor  # (B, 2) middle of the head, fractions of the frame
    scale: Tensor  # half-width of the head as a fraction of the frame's width
    cranium: Tensor  # height above the middle of the head
    jaw: Tensor  # height below the middle of the head
    depth: Tensor
    taper: Tensor  # share of the width that the chin lacks
    skin: Tensor  # colour
    blush: Tensor  # strength, 0 to 1
    eye_x: Tensor
    eye_y: Tensor
    eye_width: Tensor
    eye_height: Tensor
    eye_tilt: Tensor
    iris: Tensor  # colour
    brow_y: Tensor
    brow_thickness: Tensor
    brow_arch: Tensor
    brow_tilt: Tensor
    nose_y: Tensor
    nose_width: Tensor
    nose_height: Tensor  # relative to the usual nose
    mouth_y: Tensor
    mouth_half_width: Tensor
    mouth_curve: Tensor
    upper_lip: Tensor
    lower_lip: Tensor
    lips: Tensor  # colour
    ear: Tensor  # size relative to the usual ear; 0: hidden by hair
    hair: Tensor  # colour
    hair_present: Tensor  # 0 or 1
    hair_volume: Tensor
    hairline: Tensor  # y at the forehead
    hair_side: Tensor  # y down to which hair covers the temples
    hair_part: Tensor  # slope of the hairline
    hair_fringe: Tensor  # unevenness of the hairline
    hair_curl: Tensor  # 0 or 1
    hair_length: Tensor  # y down to which hair falls behind the head; 0: none
    bun: Tensor  # radius; 0: none
    beard: Tensor  # opacity
    moustache: Tensor  # opacity
    glasses: Tensor  # opacity
    glasses_round: Tensor  # 0 square to 1 round
    glasses_colour: Tensor
    cloth: Tensor  # colour
    cloth_trim: Tensor  # colour of the collar
    neck: Tensor  # half-width
    neckline: Tensor  # depth of the collar
    stripes: Tensor  # 0 or 1
    background: Tensor  # (B, 2, 3) colours above and below
    blobs: Tensor  # (B, 4, 6) x, y, radius in fractions of the frame, and colour of spots in the background
    light: Tensor  # (B, 3) unit vector towards the key light
    light_colour: Tensor
    ambient: Tensor  # colour
