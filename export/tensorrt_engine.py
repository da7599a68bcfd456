"""ONNX graphs to TensorRT engines."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from emo_rt.errors import BundleError


def build_engine(path: Path, tensorrt: ModuleType) -> bytes:
    """Parse a graph with static shapes and build its engine, strongly typed: precision is what the graph says.

    Args:
        path: of the ONNX file; weights may lie beside it.
        tensorrt: the imported module, TensorRT's or TensorRT-RTX's.

    Raises:
        BundleError: with what TensorRT refuses, and where.
    """
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    flags = tensorrt.NetworkDefinitionCreationFlag
    # TensorRT 11 knows no other typing, and may drop the flag.
    typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = builder.create_network(typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = "; ".join(f"{error.node_name()} ({error.node_operator()}): {error.desc()}" for error in errors)
        raise BundleError(f"{path}: TensorRT does not take this graph: {reasons}")
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    if engine is None:
        raise BundleError(f"{path}: TensorRT could not build this graph")
    return bytes(engine)
