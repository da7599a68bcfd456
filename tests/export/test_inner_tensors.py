"""Tensors within a graph are what the graph computes, with its weights in it or beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.graphs.onnx_file import OPSET
from export.inner_tensors import inner_tensors


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("beside", [False, True], ids=["inside", "beside"])
def test_inner_tensors_by_hand(kind: int, beside: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Inputs come in float32; the graph may take others."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Neg", ["product"], ["negative"]),
        helper.make_node("Abs", ["negative"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, kind, [1, 2]) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.array([[1, 2], [3, 4]], dtype), "weight")
    graph = helper.make_graph(nodes, "three", ends[:1], ends[1:], [weight])
    path = tmp_path / "three.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.save(proto, path, save_as_external_data=beside, location="three.weights", size_threshold=0)
    files = {file.name for file in tmp_path.iterdir()}
    assert ("three.weights" in files) == beside
    calls = [{"x": np.array([[1, 0]], np.float32), "of another graph": np.zeros(1)}, {"x": np.ones((1, 2), np.float32)}]
    first, second = inner_tensors(path, ["product", "negative"], calls)
    assert {name: array.tolist() for name, array in first.items()} == {"product": [[1, 2]], "negative": [[-1, -2]]}
    assert {name: array.tolist() for name, array in second.items()} == {"product": [[4, 6]], "negative": [[-4, -6]]}
    assert first["product"].dtype == dtype
    assert {file.name for file in tmp_path.iterdir()} == files
    assert capfd.readouterr() == ("", "")
