"""Tensors within an exported graph: Polygraphy makes them outputs of the graph, and ONNX Runtime computes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from polygraphy.backend.onnx import ModifyOutputs, OnnxFromPath, SaveOnnx
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.datatype import DataType
from polygraphy.logger import G_LOGGER

G_LOGGER.module_severity = G_LOGGER.WARNING  # else it prints each step


def inner_tensors(
    path: Path, names: Iterable[str], calls: Iterable[Mapping[str, np.ndarray]]
) -> Iterator[dict[str, np.ndarray]]:
    """Run a graph on a processor and give tensors from within it.

    Args:
        path: ONNX file, which may have its weights beside it
        names: names of the tensors
        calls: inputs of each run by name; they are cast to the dtypes that the graph takes

    Yields:
        The tensors of each run, by name.
    """
    graph = ModifyOutputs(OnnxFromPath(str(path), ignore_external_data=True), outputs=sorted(set(names)))
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".onnx") as file:  # its weights lie there
        SaveOnnx(graph, file.name)()
        session = SessionFromOnnx(file.name)()
    with OnnxrtRunner(session) as runner:
        specs = runner.get_input_metadata(use_numpy_dtypes=False)
        dtypes = {name: DataType.to_dtype(spec.dtype, "numpy") for name, spec in specs.items()}
        for inputs in calls:
            yield dict(runner.infer({name: inputs[name].astype(dtype) for name, dtype in dtypes.items()}))
