"""Graphs stored in less space, where nothing is lost by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Smaller tensors are not worth a node.
SMALLEST = 256


def compact(path: Path) -> None:
    """Rewrite an exported graph in place: no traces of the exporter, weights in float16 where they are such numbers.

    A float32 weight whose every value is a float16 number, as in a checkpoint that was saved in float16, is stored so
    behind a Cast. Values and results stay exactly what they were; engines fold the casts when they load the graph.
    """
    proto = onnx.load(path)
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    casts = [cast for tensor in proto.graph.initializer if (cast := _halve(tensor))]
    nodes = [*casts, *proto.graph.node]
    proto.graph.ClearField("node")
    proto.graph.node.extend(nodes)
    data = path.with_name(path.name + ".data")
    external = data.exists()
    data.unlink(missing_ok=True)
    onnx.save(proto, path, save_as_external_data=external, location=data.name if external else None)


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
