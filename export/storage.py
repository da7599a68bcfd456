"""Graphs stored in less space, where nothing is lost by it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

#: Smaller tensors are not worth a node, or a place in another file.
SMALLEST = 256
#: ONNX's own limit is 2 GiB for a file; larger graphs keep their weights beside them.
LARGEST_FILE = 1 << 30
_ALIGNMENT = 64


def store(exported: Sequence[Path], paths: Sequence[Path]) -> None:
    """Write exported graphs to ``paths``: no traces of the exporter, weights in float16 where they are such numbers.

    A float32 weight whose every value is a float16 number, as in a checkpoint that was saved in float16, is stored so
    behind a Cast. Values and results stay exactly what they were; engines fold the casts when they load the graph.

    Several graphs have their weights once, in a file beside them; so has one that is too large for ONNX.
    """
    offsets: dict[bytes, int] = {}
    for source, path in zip(exported, paths, strict=True):
        proto = onnx.load(source)
        for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        casts = [cast for tensor in proto.graph.initializer if (cast := _halve(tensor))]
        nodes = [*casts, *proto.graph.node]
        proto.graph.ClearField("node")
        proto.graph.node.extend(nodes)
        if len(paths) > 1 or sum(len(tensor.raw_data) for tensor in proto.graph.initializer) > LARGEST_FILE:
            _move_weights(proto, paths[0].with_suffix(".weights"), offsets)
        onnx.save(proto, path)


def _move_weights(proto: onnx.ModelProto, path: Path, offsets: dict[bytes, int]) -> None:
    """Put the weights at the end of a file; those that ``offsets`` knows, by their sha256, are there already."""
    with path.open("ab") as file:
        for tensor in proto.graph.initializer:
            content = tensor.raw_data
            if len(content) < SMALLEST:
                continue
            key = hashlib.sha256(content).digest()
            if key not in offsets:
                file.write(bytes(-file.tell() % _ALIGNMENT))
                offsets[key] = file.tell()
                file.write(content)
            set_external_data(tensor, path.name, offsets[key], len(content))
            tensor.ClearField("raw_data")


def _halve(tensor: TensorProto) -> onnx.NodeProto | None:
    """Turn a weight into float16 in place, and give the Cast that brings it back; None if that would change it."""
    if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims, dtype=int) < SMALLEST:
        return None
    name, values = tensor.name, numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), values):
        return None
    tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
    return helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT)
