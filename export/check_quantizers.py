"""The 8-bit numbers of an exported graph against its model: a wrong scale may hide from the graph's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper
from torch import nn

from export.inner_tensors import inner_tensors
from training.model.model import EmoModel

#: The largest number of each format that activations have.
_LARGEST = {TensorProto.INT8: 127.0, TensorProto.UINT8: 127.0, TensorProto.FLOAT8E4M3FN: 448.0}


def check_quantizers(model: EmoModel, path: Path, calls: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Compare the Q/DQ pairs of a graph with what passes through them, and its stored weights with the model's.

    Args:
        model: model in float32 that the graph was exported from
        path: ONNX file
        calls: inputs to run the graph on, by name

    Returns:
        `quantizers`, the number of quantizers of activations; `least_range` and `most_range`, the largest magnitude
        that reaches a quantizer as a share of the quantizer's range, where that share is least and where it is most;
        `weight_error`, the largest error of a stored weight as a share of its norm. Empty without quantizers.
    """
    proto = onnx.load(path)
    values = {tensor.name: tensor for tensor in proto.graph.initializer}
    quantizers = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    if not quantizers:
        return {}
    largest = dict.fromkeys((node.input[0] for node in quantizers), 0.0)
    for tensors in inner_tensors(path, largest, calls):
        for name, tensor in tensors.items():
            largest[name] = max(largest[name], float(np.abs(tensor.astype(np.float64)).max()))
    used = [
        largest[node.input[0]] / (_LARGEST[values[node.input[2]].data_type] * float(_array(values[node.input[1]])))
        for node in quantizers
    ]
    parameters = dict(model.named_parameters())
    errors = [
        _weight_error(node, values, parameters)
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values
    ]
    return {
        "quantizers": len(used),
        "least_range": float(min(used)),
        "most_range": float(max(used)),
        "weight_error": float(max(errors)),
    }


def _weight_error(node: NodeProto, values: Mapping[str, TensorProto], parameters: Mapping[str, nn.Parameter]) -> float:
    """The norm of what a stored weight is off, as a share of the weight's norm."""
    scale, axis = _array(values[node.input[1]]), onnx.helper.get_node_attr_value(node, "axis")
    stored = _array(values[node.input[0]])
    shape = [-1 if index == axis else 1 for index in range(stored.ndim)] if scale.ndim else []
    weight = parameters[node.input[0]].detach().double().numpy()
    weight = weight.T if weight.ndim == 2 else weight
    return float(np.linalg.norm(stored * scale.reshape(shape) - weight) / np.linalg.norm(weight))


def _array(tensor: TensorProto) -> np.ndarray:
    return numpy_helper.to_array(tensor).astype(np.float64)
