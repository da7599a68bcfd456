"""Builds TensorRT engines from ONNX graphs and keeps them. Building needs no GPU; running an engine does."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from emo_rt.atomic import atomic_write
from emo_rt.bundle import GraphSpec
from emo_rt.errors import BundleError, InputError

#: Folder of the built engines, beside the graphs.
ENGINES = "engines"
#: The type that convolutions and matrix products compute in, by the bundle's precision. An 8-bit product stands between
#: Q and DQ nodes, and its output is HALF.
COMPUTE_TYPES = {"fp32": "FLOAT", "bf16": "BF16", "fp16": "HALF", "int8": "HALF", "fp8": "HALF"}


def import_tensorrt() -> ModuleType:
    """Imports TensorRT, or TensorRT-RTX where that is installed instead.

    Raises:
        InputError: if neither is installed.
    """
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise InputError(
        "TensorRT is not installed: `pip install tensorrt`, or `pip install tensorrt-rtx` on a GeForce or RTX"
    )


def parse_graph(path: Path, tensorrt: ModuleType, builder: Any, logger: Any) -> Any:
    """Parses a graph into a strongly typed network: the graph alone decides the precision.

    Args:
        path: path of the ONNX file, with static shapes
        tensorrt: module that `import_tensorrt` returns
        builder: `tensorrt.Builder` that the network belongs to
        logger: `tensorrt.Logger` of the parser

    Returns:
        a `tensorrt.INetworkDefinition`

    Raises:
        BundleError: if TensorRT refuses a node; the message names it.
    """
    flags = tensorrt.NetworkDefinitionCreationFlag
    # In TensorRT 11 every network is strongly typed, and the flag may be missing.
    typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = builder.create_network(typed)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reasons = "; ".join(f"{error.node_name()} ({error.node_operator()}): {error.desc()}" for error in errors)
        raise BundleError(f"{path}: TensorRT does not take this graph: {reasons}")
    return network


def check_types(network: Any, tensorrt: ModuleType, path: Path, precision: str) -> None:
    """Raises BundleError if a convolution or matrix product computes in another type than the precision asks for."""
    kinds = (tensorrt.LayerType.CONVOLUTION, tensorrt.LayerType.MATRIX_MULTIPLY)
    wanted = getattr(tensorrt.DataType, COMPUTE_TYPES[precision])
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        found = layer.get_output(0).dtype
        if layer.type in kinds and found != wanted:
            raise BundleError(f"{path}: {layer.name} computes in {found.name}, {precision} wants {wanted.name}")


def build_engine(
    path: Path, tensorrt: ModuleType, precision: str, device: str, timing_cache: Path | None = None
) -> bytes:
    """Parses a graph and builds its engine. What the graph computes in float32 is computed in float32, not in TF32.

    Args:
        path: path of the ONNX file; weights may lie beside it
        tensorrt: module that `import_tensorrt` returns
        precision: precision of the bundle, a key of `COMPUTE_TYPES`
        device: compute capability of the GPU that runs the engine, for instance `sm_89`
        timing_cache: file with the kernel timings of earlier builds, read and written; None to measure all of them

    Returns:
        the serialized engine

    Raises:
        BundleError: if TensorRT refuses the graph or cannot build it.
        InputError: if TensorRT-RTX does not know such a GPU.
    """
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = parse_graph(path, tensorrt, builder, logger)
    check_types(network, tensorrt, path, precision)
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    if hasattr(config, "set_compute_capability"):
        _build_for(config, tensorrt, device)
    cache = None
    if timing_cache and hasattr(config, "create_timing_cache"):  # TensorRT-RTX measures on the user's machine
        cache = config.create_timing_cache(timing_cache.read_bytes() if timing_cache.exists() else b"")
        if cache:
            config.set_timing_cache(cache, ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BundleError(f"{path}: TensorRT could not build this graph")
    if timing_cache and cache:
        with atomic_write(timing_cache) as file:
            file.write(bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def _build_for(config: Any, tensorrt: ModuleType, device: str) -> None:
    """Tells TensorRT-RTX for which GPU it builds; TensorRT builds for the one at hand."""
    wanted = getattr(tensorrt.ComputeCapability, device.replace("sm_", "SM"), None)
    if wanted is None:
        raise InputError(f"TensorRT-RTX does not run on this GPU ({device}): pip install tensorrt")
    config.num_compute_capabilities = 1
    config.set_compute_capability(wanted, 0)


def cached_engine(path: Path, graph: GraphSpec, tensorrt: ModuleType, precision: str, device: str) -> bytes:
    """The engine of a graph: the one in the folder `engines` beside it if that is up to date, else one built now.

    An engine is up to date if graph, precision, TensorRT version, device and options are those that it was built for.

    Args:
        path: path of the ONNX file
        graph: the manifest's record of the graph; the sha256 of its files tell graphs apart
        tensorrt: module that `import_tensorrt` returns
        precision: precision of the bundle, a key of `COMPUTE_TYPES`
        device: compute capability of the GPU that runs the engine, for instance `sm_89`

    Returns:
        the serialized engine

    Raises:
        BundleError: if the engine cannot be built.
        InputError: if TensorRT-RTX does not know such a GPU.
    """
    directory = path.parent / ENGINES
    target = directory / f"{path.stem}-{device}.engine"
    build_facts = {
        "graph": dict(sorted(graph.files.items())),
        "precision": precision,
        "builder": f"{tensorrt.__name__} {tensorrt.__version__}",
        "device": device,
        "tf32": False,
    }
    reason = _out_of_date(target, build_facts)
    if reason is None:
        return target.read_bytes()
    print(f"building {target.name}: {reason}; this takes a while", file=sys.stderr)
    directory.mkdir(exist_ok=True)
    engine = build_engine(path, tensorrt, precision, device, directory / f"{device}.timing")
    with atomic_write(target) as file:
        file.write(engine)
    sidecar = {**build_facts, "sha256": hashlib.sha256(engine).hexdigest()}
    with atomic_write(_sidecar(target)) as file:
        file.write((json.dumps(sidecar, indent=1) + "\n").encode())
    return engine


def _sidecar(target: Path) -> Path:
    return target.with_suffix(".json")


def _out_of_date(target: Path, build_facts: dict[str, Any]) -> str | None:
    """The reason why an engine must be built; None if it is up to date."""
    try:
        known = json.loads(_sidecar(target).read_text())
        content = target.read_bytes()
    except FileNotFoundError:
        return "there is none yet"
    except (OSError, ValueError) as error:
        return f"it cannot be read ({error})"
    for key, value in build_facts.items():
        if known.get(key) != value:
            return f"its {key} changed"
    return None if known.get("sha256") == hashlib.sha256(content).hexdigest() else "it is damaged"


def tensorrt_dtype(tensorrt: ModuleType, dtype: str) -> Any:
    """The member of `tensorrt.DataType` for a NumPy dtype name."""
    names = {"float32": "FLOAT", "float16": "HALF", "uint8": "UINT8", "int64": "INT64", "int32": "INT32"}
    return getattr(tensorrt.DataType, names[np.dtype(dtype).name])
