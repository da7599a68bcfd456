"""The engine: a loaded graph that can be run. Every backend's engine has this interface, so any of them serves.

A tensor is a NumPy array, or what the backend leaves on its device. The outputs of one engine are inputs of the next
without a copy through the host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from emo_rt.bundle import HINT, GraphSpec, TensorSpec
from emo_rt.errors import BundleError, InputError

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

#: The process in which each library started its threads.
_STARTED_IN: dict[str, int] = {}


class DeviceTensor(Protocol):
    """A tensor in the memory of a backend's device."""

    def numpy(self) -> np.ndarray:
        """A copy of the values on the host."""
        ...


Tensor: TypeAlias = np.ndarray | DeviceTensor


class Engine(Protocol):
    """A loaded graph.

    Attributes:
        name: name of the graph, for messages
    """

    name: str

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs the graph.

        Args:
            inputs: tensors by name; each is converted to the dtype that the graph declares, further ones are ignored

        Returns:
            every output of the graph by name

        Raises:
            InputError: if an input is missing or has another shape than the graph declares.
        """
        ...


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor on the host."""
    return tensor if isinstance(tensor, np.ndarray) else tensor.numpy()


def find_input(engine: Engine, spec: TensorSpec, inputs: Mapping[str, Any]) -> Any:
    """The tensor among `inputs` that an engine takes as `spec`; raises InputError if it is missing."""
    if spec.name not in inputs:
        raise InputError(f"{engine.name}: the input {spec.name} is missing")
    return inputs[spec.name]


def check_shape(engine: Engine, spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """Raises InputError if an input has another shape than the graph declares."""
    if tuple(shape) != spec.shape:
        raise InputError(f"{engine.name}: the input {spec.name} has the shape {tuple(shape)}, expected {spec.shape}")


def check_declared(path: Path, graph: GraphSpec, inputs: Shapes, outputs: Shapes) -> None:
    """Checks that an ONNX file has the tensors that the manifest declares.

    Args:
        path: path of the ONNX file, for the message
        graph: the manifest's record of the graph
        inputs: shapes of the file's inputs by name
        outputs: shapes of the file's outputs by name

    Raises:
        BundleError: if a name or a shape differs.
    """
    for kind, specs, found in (("input", graph.inputs, inputs), ("output", graph.outputs, outputs)):
        if {spec.name: spec.shape for spec in specs} != found:
            raise BundleError(f"bundle {path.parent}: {path.name} has other {kind}s than the manifest says; {HINT}")


def check_process(library: str) -> None:
    """Checks that this process is not a fork of one in which a library runs: a fork has none of its threads, and waits.

    Args:
        library: name of the library, which starts its threads now or did so before

    Raises:
        InputError: if it runs in a process that this one was forked from.
    """
    if _STARTED_IN.setdefault(library, os.getpid()) != os.getpid():
        raise InputError(
            f"{library} was loaded before this process was forked, and hangs in a fork: start processes with "
            "multiprocessing.get_context('spawn'), or load no engine before"
        )


def not_run(path: Path, error: Exception) -> BundleError:
    """The error of a graph that loads, but cannot be run.

    Args:
        path: path of its ONNX file
        error: exception of the library
    """
    line = first_line(error)
    hint = "give it more memory" if "alloc" in line else HINT
    return BundleError(f"bundle {path.parent}: {path.name} does not run ({line}); {hint}")


def first_line(error: Exception) -> str:
    """The first line of an exception's message that says something; those of libraries go on for pages.

    Lines about the place in OpenVINO's own code, which come first, are left out.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from ", "Check '", "FrontEnd API failed"))]
    return next(iter(said or lines), type(error).__name__)
