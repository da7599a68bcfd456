"""The 8-bit numbers of an exported graph against its model: a wrong scale may hide from the graph's outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

from training.model.model import EmoModel

#: The largest number of each format that activations have.
_LARGEST = {TensorProto.INT8: 127.0, TensorProto.UINT8: 127.0, TensorProto.FLOAT8E4M3FN: 448.0}

_NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def check_quantizers(model: EmoModel, path: Path, calls: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Compare all Q/DQ pairs of a graph with what passes through them, and its stored weights with the model's.

    Args:
        model: in float32, that the graph was made of.
        path: of the ONNX file.
        calls: inputs to run the graph on.

    Returns:
        ``quantizers``: how many; ``least_range`` and ``most_range``: the largest magnitude that reaches a quantizer as
        a share of what it can say, at the quantizer where that is least, and where it is most; ``weight_error``: of a
        stored weight, by its norm, where that is largest. Nothing if there are no quantizers.
    """
    proto = onnx.load(path)
    values = {tensor.name: tensor for tensor in proto.graph.initializer}
    quantizers = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    if not quantizers:
        return {}
    largest = _largest_inputs(path, {node.input[0] for node in quantizers}, calls)
    used = [
        largest[node.input[0]] / (_LARGEST[values[node.input[2]].data_type] * float(_array(values[node.input[1]])))
        for node in quantizers
    ]
    parameters = dict(model.named_parameters())
    errors = []
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            scale, axis = _array(values[node.input[1]]), onnx.helper.get_node_attr_value(node, "axis")
            stored = _array(values[node.input[0]])
            shape = [-1 if index == axis else 1 for index in range(stored.ndim)] if scale.ndim else []
            weight = parameters[node.input[0]].detach().double().numpy()
            weight = weight.T if weight.ndim == 2 else weight
            errors.append(np.linalg.norm(stored * scale.reshape(shape) - weight) / np.linalg.norm(weight))
    return {
        "quantizers": len(used),
        "least_range": float(min(used)),
        "most_range": float(max(used)),
        "weight_error": float(max(errors)),
    }


def _array(tensor: TensorProto) -> np.ndarray:
    return numpy_helper.to_array(tensor).astype(np.float64)


def _largest_inputs(path: Path, names: set[str], calls: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """The largest magnitudes of tensors within a graph."""
    proto: Any = onnx.load(path, load_external_data=False)
    ordered = sorted(names)
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in ordered)
    largest = dict.fromkeys(ordered, 0.0)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".onnx") as file:  # its weights lie there
        file.write(proto.SerializeToString())
        file.flush()
        session = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    types = {node.name: _NUMPY_TYPES[node.type] for node in session.get_inputs()}
    for inputs in calls:
        given = {name: inputs[name].astype(dtype) for name, dtype in types.items()}
        for name, tensor in zip(ordered, session.run(ordered, given), strict=True):
            largest[name] = max(largest[name], float(np.abs(tensor.astype(np.float64)).max()))
    return largest
