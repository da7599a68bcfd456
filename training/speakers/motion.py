"""How a face moves from frame to frame, whatever kind of head shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
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
    """What changes from frame to frame: float32, one row a frame.

    Drawn heads do not show smiles, narrowed eyes and moving shoulders; photo puppets do.

    Attributes:
        mouth_opening: (B,) from 0, closed, to 1, wide open.
        mouth_width: (B,) from 0, rounded, over 0.5, neutral, to 1, spread, without what a smile adds.
        blink: (B,) from 0, open eyes, to 1, shut eyes.
        brow: (B,) from -1, lowered, to 1, raised.
        gaze: (B, 2) from -1 to 1, to the right and down.
        rotation: (B, 3) yaw to the right of the picture, pitch down and roll clockwise, in degrees.
        translation: (B, 2) of the head to the right and down, in fractions of the frame.
        smile: (B,) from 0, none, to 1, broad.
        squint: (B,) raised cheeks from 0, none, to 1, narrowed eyes.
        shoulders: (B, 2) shift of the body to the right and down, in fractions of the frame.
    """

    mouth_opening: Tensor
    mouth_width: Tensor
    blink: Tensor
    brow: Tensor
    gaze: Tensor
    rotation: Tensor
    translation: Tensor
    smile: Tensor
    squint: Tensor
    shoulders: Tensor

    @classmethod
    def rest(cls, frames: int, device: torch.device | str = "cpu") -> Motion:
        """A frontal face that looks at the viewer, with its mouth closed, for a number of `frames`."""
        shapes = {"gaze": (frames, 2), "rotation": (frames, 3), "translation": (frames, 2), "shoulders": (frames, 2)}
        values = {f.name: torch.zeros(shapes.get(f.name, (frames,)), device=device) for f in dataclasses.fields(cls)}
        values["mouth_width"] += 0.5
        return cls(**values)

    @classmethod
    def of(cls, mouth_opening: np.ndarray, **curves: np.ndarray) -> Motion:
        """The motion of NumPy curves, which are named like the attributes; what is not given is at rest."""
        given = {"mouth_opening": mouth_opening, **curves}
        tensors = {name: torch.tensor(np.asarray(curve, np.float32)) for name, curve in given.items()}
        return dataclasses.replace(cls.rest(len(mouth_opening)), **tensors)

    def with_still_head(self) -> Motion:
        """The same face on a head and shoulders that do not move."""
        names = ("rotation", "translation", "shoulders")
        return dataclasses.replace(self, **{name: torch.zeros_like(getattr(self, name)) for name in names})
