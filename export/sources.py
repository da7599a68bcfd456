"""What a build has to do: the graphs whose sources have changed since they were built.

A build records beside the graphs what they were made of: the settings, and every weight's sha256. Nothing here needs
PyTorch, so that a build with nothing to do ends at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors

from emo_rt.bundle import file_sha256

_CHECKOUT = Path(__file__).parents[1]
RECORD_NAME = "build.json"
#: What runs at every step: the graphs that 8 bits are for.
STEPS = ("backbone", "guided_backbone", "cached_backbone", "cached_guided_backbone")
#: Graphs that are built together, those of the Backbone because they hold the same weights.
PARTS = (
    ("audio_encoder",),
    ("conditioning",),
    ("vae_encoder",),
    ("reference_net",),
    ("time_embedding",),
    ("vae_decoder",),
    STEPS,
)
#: Where a checkpoint's weights are, and what the model calls them.
WEIGHTS = {
    "model.safetensors": "",
    "vae/diffusion_pytorch_model.safetensors": "vae.autoencoder.",
    "wav2vec2/model.safetensors": "audio_encoder.wav2vec2.",
}
#: Keys of a config that the graphs do not hold: the manifest hands them to the runtime.
_RUNTIME_KEYS = ("name", "steps", "guidance_scale", "speed", "face_region_margin", "face_fraction")
_PACKAGES = ("torch", "onnx", "onnxscript", "diffusers", "transformers")
#: The folders whose code the graphs follow from; `_CALIBRATION_CODE` too where 8 bits are calibrated.
_GRAPH_CODE = ("export/graphs", "training/model")
_CALIBRATION_CODE = ("training/clips", "training/speakers")


#: The precisions that each backend runs.
PRECISIONS_OF = {
    "onnxruntime": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "bf16", "fp16", "int8", "fp8"),
}


@dataclass(frozen=True)
class Options:
    """Of a build.

    Attributes:
        precision: of the graphs.
        backend: that they are made for.
        clip_frames: f, if not the checkpoint's.
        resolution: in pixels, if not the checkpoint's.
        calibration_clips: how many people the ranges of 8 bits are taken from.
    """

    precision: str = "fp32"
    backend: str = "onnxruntime"
    clip_frames: int | None = None
    resolution: int | None = None
    calibration_clips: int = 4

    def __post_init__(self) -> None:
        known = PRECISIONS_OF.get(self.backend)
        if known is None:
            raise ValueError(f"backend {self.backend!r} is unknown; choose {', '.join(PRECISIONS_OF)}")
        if self.precision not in known:
            others = [backend for backend, precisions in PRECISIONS_OF.items() if self.precision in precisions]
            cure = f"build it for {' or '.join(others)}" if others else f"choose {', '.join(known)}"
            raise ValueError(f"backend {self.backend} has no precision {self.precision!r}; {cure}")

    @property
    def dtype(self) -> str:
        """Of what is not of 8 bits: GPUs do it in float16, processors in float32."""
        half = self.precision == "fp16" or (self.precision in ("int8", "fp8") and self.backend == "tensorrt")
        return "bfloat16" if self.precision == "bf16" else "float16" if half else "float32"

    @property
    def eight_bits(self) -> str:
        """How int8 is stored: processors multiply unsigned activations faster, TensorRT wants none."""
        return "uint8" if self.precision == "int8" and self.backend != "tensorrt" else self.precision


@dataclass(frozen=True)
class Sources:
    """What a bundle is made of.

    Attributes:
        settings: what concerns all of its graphs, by what it is called in a reason.
        weights: the start of each one's sha256, by its name in the model.
        runtime: what the manifest hands on to the runtime.
    """

    settings: Mapping[str, str]
    weights: Mapping[str, str]
    runtime: Mapping[str, Any]


def read_sources(model: Path, options: Options) -> Sources:
    """The sources of a build now.

    Args:
        model: the checkpoint's directory.

    Raises:
        FileNotFoundError: if a file of the checkpoint is missing.
        ValueError: if one cannot be read.
    """
    weights: dict[str, str] = {}
    for file, prefix in WEIGHTS.items():
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
    configs = [model / "config.json", model / "vae" / "config.json"]
    try:
        config = json.loads(configs[0].read_text())
        scaling_factor = json.loads(configs[1].read_text())["scaling_factor"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{model}: its configs cannot be read: {error}") from None
    settings = {f"the config's {key}": json.dumps(value) for key, value in config.items() if key not in _RUNTIME_KEYS}
    settings |= {name.replace("_", " "): json.dumps(value) for name, value in asdict(options).items()}
    settings["the VAE's scaling factor"] = json.dumps(scaling_factor)
    quantized = options.precision in ("int8", "fp8")
    settings |= {package: _installed(package) for package in (*_PACKAGES, *(["nvidia-modelopt"] if quantized else []))}
    settings["the code of the export or of the model"] = _code(_GRAPH_CODE)
    if quantized:
        settings["the code of the speakers that calibrate"] = _code(_CALIBRATION_CODE)
    return Sources(settings, weights, {key: config.get(key) for key in _RUNTIME_KEYS})


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _code(folders: Sequence[str]) -> str:
    """sha256 of all code in folders of the checkout."""
    files = sorted(path for folder in folders for path in (_CHECKOUT / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def outdated(directory: Path, sources: Sources) -> dict[str, str]:
    """The graphs of a bundle that its sources would make otherwise, each with the reason; all, if it is no bundle."""
    record = read_record(directory)
    every = [name for part in PARTS for name in part]
    if not record["graphs"]:
        return dict.fromkeys(every, "there is none yet")
    for key in sorted(sources.settings.keys() | record["settings"].keys()):
        if sources.settings.get(key) != record["settings"].get(key):
            return dict.fromkeys(every, f"{key} changed")
    reasons: dict[str, str] = {}
    for part in PARTS:
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
    """What a build wrote of the graphs in a directory; nothing if it is not there or broken."""
    try:
        record = json.loads((directory / RECORD_NAME).read_text())
        return {name: dict(record[name]) for name in ("settings", "runtime", "graphs")}
    except (OSError, ValueError, TypeError, KeyError):
        return {"settings": {}, "runtime": {}, "graphs": {}}


def write_record(directory: Path, sources: Sources, graphs: Mapping[str, Any]) -> None:
    """Note what the graphs in a directory were made of."""
    path = directory / RECORD_NAME
    temporary = path.with_name(path.name + ".part")
    record = {"settings": dict(sources.settings), "runtime": dict(sources.runtime), "graphs": dict(graphs)}
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(path)


def entry(files: Mapping[str, str], held: set[str], sources: Sources) -> dict[str, Any]:
    """A graph's part of the record: its files with their sha256, and the weights that it holds."""
    weights = {name: sources.weights[name] for name in sorted(held & sources.weights.keys())}
    return {"files": dict(files), "weights": weights}
