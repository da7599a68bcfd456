"""Graphs stored in less space, where nothing is lost by it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, set_external_data, uses_external_data

#: Smaller tensors are not worth a node, or a place in another file.
SMALLEST = 256
#: ONNX's own limit is 2 GiB for a file; larger graphs are exported with their weights beside them.
LARGEST_FILE = 1 << 30
_ALIGNMENT = 64


def store(exported: Sequence[Path], paths: Sequence[Path]) -> None:
    """Write exported graphs to ``paths``: no traces of the exporter, weights in float16 where they are such numbers.

    A float32 weight whose every value is a float16 number, as in a checkpoint that was saved in float16, is stored so
    behind a Cast. Values and results stay exactly what they were; engines fold the casts when they load the graph.

    Several graphs have their weights once, in a file beside them; so has one that came with such a file. Weights pass
    one by one: all of them may be more than memory holds.
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
            if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims, dtype=int) >= SMALLEST:
                half = _halved(content)
                if half is not None:
                    content, tensor.name, tensor.data_type = half, f"{name}_half", TensorProto.FLOAT16
                    casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
            if content:  # else its values are in a field of their own
                _put(tensor, content, beside if len(content) >= SMALLEST else None, offsets)
        nodes = [*casts, *proto.graph.node]
        proto.graph.ClearField("node")
        proto.graph.node.extend(nodes)
        onnx.save(proto, path)


def _content(tensor: TensorProto, directory: Path) -> bytes:
    """The bytes of a tensor, which may lie in a file beside the graph."""
    if not uses_external_data(tensor):
        return tensor.raw_data
    place = ExternalDataInfo(tensor)
    with (directory / place.location).open("rb") as file:
        file.seek(place.offset or 0)
        return file.read(place.length)


def _halved(content: bytes) -> bytes | None:
    """Numbers of float32 as float16, or None if that would change one."""
    values = np.frombuffer(content, np.float32)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half.tobytes() if np.array_equal(half.astype(np.float32), values) else None


def _put(tensor: TensorProto, content: bytes, beside: Path | None, offsets: dict[bytes, int]) -> None:
    """Keep the bytes of a tensor in the graph, or at the end of a file; ``offsets`` says, by sha256, what is there."""
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
