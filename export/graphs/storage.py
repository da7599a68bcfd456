"""Exported graphs stored in less space, without a change to any result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, set_external_data, uses_external_data

#: Smaller tensors are worth neither a Cast node (counted in values) nor a place in another file (in bytes).
SMALLEST_STORED = 256
#: Bytes of weights above which a graph is exported with its weights beside it. ONNX's own limit for a file is 2 GiB.
LARGEST_ONNX_FILE = 1 << 30
#: Bytes that the places in a file of weights are multiples of.
_ALIGNMENT = 64


def store_graphs(exported: Sequence[Path], paths: Sequence[Path]) -> None:
    """Write exported graphs without traces of the exporter, and their weights as float16 where that loses nothing.

    A float32 weight whose every value is a float16 number, as in a checkpoint that was saved in float16, is stored in
    float16 behind a Cast. Values and results stay exactly the same; engines fold the casts when they load the graph.

    Several graphs share one file of weights beside them, named after the first; a graph that was exported with such a
    file keeps one. The weights are read one by one, because all of them may be more than memory holds.

    Args:
        exported: ONNX files as the exporter wrote them
        paths: ONNX files to write, in the same order
    """
    offsets: dict[bytes, int] = {}
    for source, path in zip(exported, paths, strict=True):
        proto = onnx.load(source, load_external_data=False)
        for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        large = any(uses_external_data(tensor) for tensor in proto.graph.initializer)
        beside = paths[0].with_suffix(".weights") if len(paths) > 1 or large else None
        casts = []
        for tensor in proto.graph.initializer:
            content, name = _content(tensor, source.parent), tensor.name
            if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims, dtype=int) >= SMALLEST_STORED:
                half = _halved(content)
                if half is not None:
                    content, tensor.name, tensor.data_type = half, f"{name}_half", TensorProto.FLOAT16
                    casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
            if content:  # else its values are in a field of their own
                _put(tensor, content, beside if len(content) >= SMALLEST_STORED else None, offsets)
        nodes = [*casts, *proto.graph.node]
        proto.graph.ClearField("node")
        proto.graph.node.extend(nodes)
        onnx.save(proto, path)


def _content(tensor: TensorProto, directory: Path) -> bytes:
    """The bytes of a tensor that lies in the graph or in a file beside it."""
    if not uses_external_data(tensor):
        return tensor.raw_data
    place = ExternalDataInfo(tensor)
    with (directory / place.location).open("rb") as file:
        file.seek(place.offset or 0)
        return file.read(place.length)


def _halved(content: bytes) -> bytes | None:
    """The bytes of float32 numbers as float16; None if that changes a number."""
    values = np.frombuffer(content, np.float32)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half.tobytes() if np.array_equal(half.astype(np.float32), values) else None


def _put(tensor: TensorProto, content: bytes, beside: Path | None, offsets: dict[bytes, int]) -> None:
    """Keep the bytes of a tensor in the graph, or in a file.

    Args:
        tensor: tensor of the graph
        content: bytes of its values
        beside: file of weights; None to keep the bytes in the graph
        offsets: places in that file by the sha256 of the bytes there; a new one is added
    """
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = content
    if beside is None:
        return
    key = hashlib.sha256(content).digest()
    if key not in offsets:
        with beside.open("ab") as file:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            offsets[key] = file.tell()
            file.write(content)
    set_external_data(tensor, beside.name, offsets[key], len(content))
    tensor.ClearField("raw_data")
