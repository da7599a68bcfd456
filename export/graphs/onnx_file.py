"""Exported modules as ONNX files, and the manifest's entries for them."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch

from emo_rt.bundle import GraphSpec, TensorSpec, file_sha256
from export.graphs.modules import ExportGraph
from export.graphs.quantize import ONNX_OPERATORS
from export.graphs.storage import LARGEST_ONNX_FILE, store_graphs

OPSET = 20
for _library in ("torch.onnx", "onnxscript", "onnx_ir"):  # they warn of what no graph of ours needs
    logging.getLogger(_library).setLevel(logging.ERROR)


def export_part(part: Mapping[str, ExportGraph], directory: Path) -> list[torch.Tensor]:
    """Write the graphs of one part as `NAME.onnx`, with static shapes; several graphs share one file of weights.

    Args:
        part: graphs by name
        directory: directory that the files go into

    Returns:
        The weights of the modules that the graphs hold.
    """
    held: list[torch.Tensor] = []
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        exported = [Path(scratch) / f"{name}.onnx" for name in part]
        for path, graph in zip(exported, part.values(), strict=True):
            held += _export(graph, path)
        store_graphs(exported, [directory / path.name for path in exported])
    return held


def _export(graph: ExportGraph, path: Path) -> list[torch.Tensor]:
    weights = graph.module.state_dict(keep_vars=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module.eval(),
            (*graph.arguments(graph.inputs), {}),  # the exporter takes a dictionary in the last place for keywords
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=graph.input_names,
            output_names=graph.outputs,
            custom_translation_table=ONNX_OPERATORS,
            external_data=sum(tensor.nbytes for tensor in weights.values()) > LARGEST_ONNX_FILE,
            verbose=False,
        )
    assert program is not None
    assert program.exported_program is not None
    exported = program.exported_program
    used = {node.name for node in exported.graph.nodes if node.op == "placeholder" and node.users}
    signature = exported.graph_signature
    return [
        weights[target]
        for placeholders in (signature.inputs_to_parameters, signature.inputs_to_buffers)
        for placeholder, target in placeholders.items()
        if placeholder in used and target in weights
    ]


def graph_spec(path: Path) -> GraphSpec:
    """The manifest's entry for an ONNX file: its files with their sha256, its inputs and its outputs."""
    proto = onnx.load(path, load_external_data=False)
    initializers = {tensor.name for tensor in proto.graph.initializer}
    beside = {
        entry.value for tensor in proto.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    return GraphSpec(
        file=path.name,
        files={name: file_sha256(path.with_name(name)) for name in (path.name, *sorted(beside))},
        inputs=tuple(_tensor_spec(value) for value in proto.graph.input if value.name not in initializers),
        outputs=tuple(_tensor_spec(value) for value in proto.graph.output),
    )


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(value.name, dtype, tuple(dimension.dim_value for dimension in tensor.shape.dim))
