"""ONNX graphs to TensorRT engines, which are built once and kept. Building needs no GPU, only an engine's run does."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from emo_rt.bundle import GraphSpec
from emo_rt.errors import BundleError, InputError

#: Beside the graphs.
ENGINES = "engines"
#: What the layers that do the work compute in, by a bundle's precision. 8 bits stand between Q and DQ.
COMPUTE_TYPES = {"fp32": "FLOAT", "bf16": "BF16", "fp16": "HALF", "int8": "HALF", "fp8": "HALF"}


def import_tensorrt() -> ModuleType:
    """TensorRT, or TensorRT-RTX where that is installed.

    Raises:
        InputError: if neither is.
    """
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise InputError(
        "TensorRT is not installed: `pip install tensorrt`, or `pip install tensorrt-rtx` on a GeForce or RTX"
    )


def parse(path: Path, tensorrt: ModuleType, builder: Any, logger: Any) -> Any:
    """The strongly typed network of a graph with static shapes: precision is what the graph says.

    Raises:
        BundleError: with what TensorRT refuses, and where.
    """
    flags = tensorrt.NetworkDefinitionCreationFlag
    # TensorRT 11 knows no other typing, and may drop the flag.
    typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = builder.create_network(typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = "; ".join(f"{error.node_name()} ({error.node_operator()}): {error.desc()}" for error in errors)
        raise BundleError(f"{path}: TensorRT does not take this graph: {reasons}")
    return network


def check_types(network: Any, tensorrt: ModuleType, path: Path, precision: str) -> None:
    """Raises BundleError if a convolution or product of a network computes in another type than its precision says."""
    kinds = (tensorrt.LayerType.CONVOLUTION, tensorrt.LayerType.MATRIX_MULTIPLY)
    wanted = getattr(tensorrt.DataType, COMPUTE_TYPES[precision])
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        found = layer.get_output(0).dtype
        if layer.type in kinds and found != wanted:
            raise BundleError(f"{path}: {layer.name} computes in {found.name}, {precision} wants {wanted.name}")


def build_engine(path: Path, tensorrt: ModuleType, precision: str, timing_cache: Path | None = None) -> bytes:
    """Parse a graph and build its engine.

    Args:
        path: of the ONNX file; weights may lie beside it.
        tensorrt: as ``import_tensorrt`` gives it.
        precision: the bundle's.
        timing_cache: file of what was measured in earlier builds, read and written.

    Raises:
        BundleError: with what TensorRT refuses, and where.
    """
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = parse(path, tensorrt, builder, logger)
    check_types(network, tensorrt, path, precision)
    config = builder.create_builder_config()
    cache = None
    if timing_cache and hasattr(config, "create_timing_cache"):  # TensorRT-RTX measures on the user's machine
        cache = config.create_timing_cache(timing_cache.read_bytes() if timing_cache.exists() else b"")
        if cache:
            config.set_timing_cache(cache, ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BundleError(f"{path}: TensorRT could not build this graph")
    if timing_cache and cache:
        write_whole(timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def cached_engine(path: Path, graph: GraphSpec, tensorrt: ModuleType, precision: str, device: str) -> bytes:
    """The engine of a graph, from ``engines/`` beside it if it is there and of the same make; else it is built.

    Args:
        path: of the ONNX file.
        graph: what the manifest says of it: the files' sha256 are the graph's part of the key.
        device: that will run it, for instance ``sm_90``.

    Raises:
        BundleError: if it cannot be built.
    """
    directory = path.parent / ENGINES
    target = directory / f"{path.stem}-{device}.engine"
    make = {
        "graph": dict(sorted(graph.files.items())),
        "precision": precision,
        "builder": f"{tensorrt.__name__} {tensorrt.__version__}",
        "device": device,
    }
    reason = _out_of_date(target, make)
    if reason is None:
        return target.read_bytes()
    print(f"building {target.name}: {reason}; this takes a while", file=sys.stderr)
    directory.mkdir(exist_ok=True)
    engine = build_engine(path, tensorrt, precision, directory / f"{device}.timing")
    write_whole(target, engine)
    sidecar = {**make, "sha256": hashlib.sha256(engine).hexdigest()}
    write_whole(_sidecar(target), (json.dumps(sidecar, indent=1) + "\n").encode())
    return engine


def _sidecar(target: Path) -> Path:
    return target.with_suffix(".json")


def _out_of_date(target: Path, make: dict[str, Any]) -> str | None:
    """Why an engine must be built; None if it need not."""
    try:
        known = json.loads(_sidecar(target).read_text())
        content = target.read_bytes()
    except FileNotFoundError:
        return "there is none yet"
    except (OSError, ValueError) as error:
        return f"it cannot be read ({error})"
    for key, value in make.items():
        if known.get(key) != value:
            return f"its {key} changed"
    return None if known.get("sha256") == hashlib.sha256(content).hexdigest() else "it is damaged"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the machine stops."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def tensorrt_dtype(tensorrt: ModuleType, dtype: str) -> Any:
    """TensorRT's name of a NumPy dtype."""
    names = {"float32": "FLOAT", "float16": "HALF", "uint8": "UINT8", "int64": "INT64", "int32": "INT32"}
    return getattr(tensorrt.DataType, names[np.dtype(dtype).name])
