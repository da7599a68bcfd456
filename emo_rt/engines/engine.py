"""An engine runs a graph. Every backend's looks the same, and the cascade never asks which one it got.

A tensor is a NumPy array or whatever the backend leaves on its device; what one engine returns, the next one takes
without a way through the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

from emo_rt.bundle import TensorSpec
from emo_rt.errors import InputError


class DeviceTensor(Protocol):
    """What a backend keeps on its device."""

    def numpy(self) -> np.ndarray:
        """Its values on the host."""
        ...


Tensor: TypeAlias = np.ndarray | DeviceTensor


class Engine(Protocol):
    """One loaded graph."""

    name: str

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs the graph. Takes what it needs from `inputs`, converts dtypes, and returns every output by name.

        Raises:
            InputError: for a missing tensor or one of another shape.
        """
        ...


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor on the host."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()


def find(engine: Engine, spec: TensorSpec, inputs: Mapping[str, Any]) -> Any:
    """One input of an engine out of those that were given.

    Raises:
        InputError: if it is not there.
    """
    if spec.name not in inputs:
        raise InputError(f"{engine.name}: the input {spec.name} is missing")
    return inputs[spec.name]


def check_shape(engine: Engine, spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """Raises InputError if an input has another shape than the graph says."""
    if tuple(shape) != spec.shape:
        raise InputError(f"{engine.name}: the input {spec.name} has the shape {tuple(shape)}, expected {spec.shape}")


def first_line(error: Exception) -> str:
    """What a library's exception says, short."""
    return (str(error).splitlines() or [type(error).__name__])[0]
