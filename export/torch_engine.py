"""PyTorch as a backend: the module of an exported graph in an engine's place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from emo_rt.engines.engine import Tensor, to_numpy
from export.graphs.modules import ExportGraph


class TorchTensor:
    """A tensor on PyTorch's device.

    Attributes:
        tensor: tensor of any shape
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def numpy(self) -> np.ndarray:
        """The values on the host."""
        values: np.ndarray = self.tensor.cpu().numpy()
        return values


class TorchEngine:
    """A graph's PyTorch module as an engine, eager or compiled.

    Args:
        name: name of the graph
        graph: module with its example inputs, which decide the inputs' dtypes
        device: PyTorch's device that the module moves to
        compiled: whether `torch.compile` compiles the module
    """

    def __init__(self, name: str, graph: ExportGraph, device: str = "cpu", compiled: bool = False) -> None:
        self.name, self.graph, self.device = name, graph, device
        graph.module.to(device)
        if compiled:
            graph.module.compile()

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`."""
        given = {}
        for name, example in self.graph.inputs.items():
            tensor = inputs[name]
            on_device = tensor.tensor if isinstance(tensor, TorchTensor) else torch.tensor(to_numpy(tensor))
            given[name] = on_device.to(self.device, example.dtype)
        return {name: TorchTensor(tensor) for name, tensor in self.graph.run(given).items()}
