"""What a build has to do: the graphs whose sources have changed since they were built.

A build records beside the graphs what they follow from: the settings, and the sha256 of every weight. Nothing here
needs PyTorch, so that a build with nothing to do ends at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors

from emo_rt.atomic import atomic_write
from emo_rt.bundle import file_sha256
from export.graphs.options import GRAPH_PARTS, BuildOptions

RECORD_NAME = "build.json"
#: The files of a checkpoint's weights, and the start of the weights' names in the model.
WEIGHT_FILES = {
    "model.safetensors": "",
    "vae/diffusion_pytorch_model.safetensors": "vae.autoencoder.",
    "wav2vec2/model.safetensors": "audio_encoder.wav2vec2.",
}
#: The folders whose code decides what is in a graph.
GRAPH_CODE = ("export/graphs", "training/model")
#: The folders whose code decides the people that 8 bits are calibrated on.
CALIBRATION_CODE = ("training/clips", "training/speakers")
#: Keys of a config that the graphs do not hold: the manifest hands them to the runtime.
_RUNTIME_KEYS = ("name", "steps", "guidance_scale", "speed", "face_region_margin", "face_fraction")
_PACKAGES = ("torch", "onnx", "onnxscript", "diffusers", "transformers")
_CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True)
class BuildSources:
    """What a bundle follows from.

    Attributes:
        settings: options, config, package versions and code that concern all graphs, by the words that name them in a
            reason to build again
        weights: start of the sha256 of each weight, by the weight's name in the model
        runtime: keys of the config that the manifest hands to the runtime
    """

    settings: Mapping[str, str]
    weights: Mapping[str, str]
    runtime: Mapping[str, Any]


def read_sources(model: Path, options: BuildOptions) -> BuildSources:
    """The present sources of a build.

    Args:
        model: directory of the checkpoint
        options: options of the build

    Raises:
        FileNotFoundError: if a file of the checkpoint is missing.
        ValueError: if a file cannot be read.
    """
    configs = [model / "config.json", model / "vae" / "config.json"]
    weights = _weight_hashes(model)
    try:
        config = json.loads(configs[0].read_text())
        scaling_factor = json.loads(configs[1].read_text())["scaling_factor"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{model}: its configs cannot be read: {error}") from None
    settings = {f"the config's {key}": json.dumps(value) for key, value in config.items() if key not in _RUNTIME_KEYS}
    settings |= {name.replace("_", " "): json.dumps(value) for name, value in asdict(options).items()}
    settings["the VAE's scaling factor"] = json.dumps(scaling_factor)
    settings |= {package: _installed(package) for package in _PACKAGES}
    settings["the code of the graphs or of the model"] = _code_hash(GRAPH_CODE)
    if options.is_quantized:
        settings["nvidia-modelopt"] = _installed("nvidia-modelopt")
        settings["the code of the speakers that calibrate"] = _code_hash(CALIBRATION_CODE)
    return BuildSources(settings, weights, {key: config.get(key) for key in _RUNTIME_KEYS})


def _weight_hashes(model: Path) -> dict[str, str]:
    """The start of each weight's sha256, by its name in the model."""
    weights: dict[str, str] = {}
    for file, prefix in WEIGHT_FILES.items():
        path = model / file
        if not path.is_file():
            raise FileNotFoundError(f"{model} is no checkpoint: it has no {file}")
        try:
            tensors = safetensors.deserialize(path.read_bytes())
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        for name, tensor in tensors:
            described = f"{tensor['dtype']} {tensor['shape']} ".encode()
            weights[prefix + name] = hashlib.sha256(described + tensor["data"]).hexdigest()[:16]
    return weights


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _code_hash(folders: Sequence[str]) -> str:
    """The sha256 of all code in folders of the checkout."""
    files = sorted(path for folder in folders for path in (_CHECKOUT / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def outdated_graphs(directory: Path, sources: BuildSources) -> dict[str, str]:
    """The graphs of a bundle that a build has to make again, each with the reason; all graphs where no bundle is.

    Args:
        directory: directory of the bundle
        sources: present sources of the build
    """
    record = read_record(directory)
    every = [name for part in GRAPH_PARTS for name in part]
    if not record["graphs"]:
        return dict.fromkeys(every, "there is none yet")
    for key in sorted(sources.settings.keys() | record["settings"].keys()):
        if sources.settings.get(key) != record["settings"].get(key):
            return dict.fromkeys(every, f"{key} changed")
    reasons: dict[str, str] = {}
    for part in GRAPH_PARTS:
        for name in part:
            reason = _reason(directory, record["graphs"].get(name), sources.weights)
            if reason:
                reasons |= dict.fromkeys(part, reason)
                break
    return reasons


def _reason(directory: Path, graph: Mapping[str, Any] | None, weights: Mapping[str, str]) -> str | None:
    if graph is None:
        return "there is none yet"
    for file, sha256 in graph["files"].items():
        path = directory / file
        if not path.is_file() or file_sha256(path) != sha256:
            return f"{file} is missing or was altered"
    changed = [name for name, sha256 in graph["weights"].items() if weights.get(name) != sha256]
    if changed:
        return f"{changed[0]} changed" + (f", and {len(changed) - 1} more" if changed[1:] else "")
    return None


def read_record(directory: Path) -> dict[str, Any]:
    """The record of the graphs in a directory: settings, runtime and graphs; empty if it is missing or broken."""
    try:
        record = json.loads((directory / RECORD_NAME).read_text())
        return {name: dict(record[name]) for name in ("settings", "runtime", "graphs")}
    except (OSError, ValueError, TypeError, KeyError):
        return {"settings": {}, "runtime": {}, "graphs": {}}


def write_record(directory: Path, sources: BuildSources, graphs: Mapping[str, Any]) -> None:
    """Record what the graphs in a directory follow from.

    Args:
        directory: directory of the graphs
        sources: sources that they were built from
        graphs: a `record_entry` for each graph, by name
    """
    record = {"settings": dict(sources.settings), "runtime": dict(sources.runtime), "graphs": dict(graphs)}
    with atomic_write(directory / RECORD_NAME) as file:
        file.write(f"{json.dumps(record, indent=1)}\n".encode())


def record_entry(files: Mapping[str, str], weights: Iterable[str], sources: BuildSources) -> dict[str, Any]:
    """A graph's part of the record.

    Args:
        files: sha256 of each of the graph's files, by file name
        weights: names of the weights that the graph holds; those that the sources lack are left out
        sources: sources of the build
    """
    known = {name: sources.weights[name] for name in sorted(set(weights) & sources.weights.keys())}
    return {"files": dict(files), "weights": known}
