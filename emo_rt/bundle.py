"""The bundle: a directory of ONNX graphs and the `manifest.json` that says what they are.

The manifest is written by the export and trusted by nobody: `Bundle.load` checks the version, every file's sha256 and
that the graphs have the shapes that the config promises. Keys that this version does not know are ignored, so that the
export may add facts (measured costs, say) without a new format version.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

import numpy as np

from emo_rt.errors import BundleError

FORMAT_VERSION = 4
MANIFEST_NAME = "manifest.json"
VALIDATION_NAME = "validation.json"
GRAPH_NAMES = (
    "audio_encoder",
    "conditioning",
    "vae_encoder",
    "reference_net",
    "time_embedding",
    "backbone",
    "guided_backbone",
    "cached_backbone",
    "cached_guided_backbone",
    "vae_decoder",
)
# What a graph takes beside the tensors of `expected_tensors`: outputs of these graphs, by the same names.
_STEP_SOURCES = ("conditioning", "reference_net", "time_embedding")
SOURCES = {
    "conditioning": ("audio_encoder",),
    "backbone": _STEP_SOURCES,
    "guided_backbone": _STEP_SOURCES,
    "cached_backbone": (*_STEP_SOURCES, "backbone"),
    "cached_guided_backbone": (*_STEP_SOURCES, "guided_backbone"),
}
PREDICTION_TYPES = ("sample", "epsilon", "v_prediction")
TIMESTEP_SPACINGS = ("trailing", "leading")
CURE = "rebuild it with `python -m export.build`"


@dataclass(frozen=True)
class TensorSpec:
    """Name, NumPy dtype name and static shape of one graph input or output."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        try:
            np.dtype(self.dtype)
        except TypeError:
            raise ValueError(f"tensor {self.name} has the unknown dtype {self.dtype!r}") from None
        if any(size < 1 for size in self.shape):
            raise ValueError(f"tensor {self.name} has the shape {self.shape}; sizes are static and positive")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        fields = _fields(cls, data)
        if not all(type(size) is int for size in fields["shape"]):
            raise ValueError(f"tensor {fields['name']} has the shape {fields['shape']}; sizes are integers")
        return cls(fields["name"], fields["dtype"], tuple(fields["shape"]))


@dataclass(frozen=True)
class GraphSpec:
    """One ONNX graph: its file, the sha256 of every file it needs (external weights too), its inputs and outputs."""

    file: str
    files: Mapping[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if self.file not in self.files:
            raise ValueError(f"no sha256 for {self.file}")
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"the file {name!r} lies outside of the bundle")

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "files": dict(self.files),
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GraphSpec:
        fields = _fields(cls, data)
        return cls(
            fields["file"],
            dict(fields["files"]),
            tuple(TensorSpec.from_json(spec) for spec in fields["inputs"]),
            tuple(TensorSpec.from_json(spec) for spec in fields["outputs"]),
        )


@dataclass(frozen=True)
class RuntimeConfig:
    """What the runtime must know of the model. `steps`, `guidance_scale` and `speed` are the bundle's defaults."""

    resolution: int  # pixels, square
    frames_per_second: int
    clip_frames: int  # f
    motion_frames: int  # n
    sample_rate: int  # Hz, of the voice that audio_encoder takes
    audio_margin: int  # m, frames of audio features on each side of a frame
    audio_context: int  # further frames of voice on each side that only audio_encoder sees
    latent_channels: int  # c
    latent_size: int  # s
    steps: int
    guidance_scale: float
    speed: float  # degrees per frame
    face_region_margin: float  # of the face box's size, on each side
    face_fraction: float  # of the crop's side

    def __post_init__(self) -> None:
        may_be_zero = ("audio_margin", "audio_context", "guidance_scale", "speed", "face_region_margin")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0 or (value == 0 and field.name not in may_be_zero):
                raise ValueError(f"config.{field.name} is {value}")
        if self.sample_rate % self.frames_per_second:
            raise ValueError(
                f"config.sample_rate {self.sample_rate} Hz is no multiple of {self.frames_per_second} frames per second"
            )
        if self.motion_frames > self.clip_frames:
            raise ValueError(f"config.motion_frames {self.motion_frames} exceeds clip_frames {self.clip_frames}")

    @property
    def samples_per_frame(self) -> int:
        return self.sample_rate // self.frames_per_second

    @property
    def feature_frames(self) -> int:
        """Frames of audio features and of head speed per clip, f + 2m."""
        return self.clip_frames + 2 * self.audio_margin

    @property
    def window_samples(self) -> int:
        """Samples of voice that `audio_encoder` takes per clip."""
        return (self.feature_frames + 2 * self.audio_context) * self.samples_per_frame

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RuntimeConfig:
        return cls(**_fields(cls, data))


@dataclass(frozen=True)
class NoiseSchedule:
    """The table that DDIM reads: `alphas_cumprod` by training timestep, and how timesteps are chosen from it."""

    alphas_cumprod: tuple[float, ...]
    prediction_type: str = "epsilon"
    timestep_spacing: str = "trailing"
    steps_offset: int = 0

    def __post_init__(self) -> None:
        if not self.alphas_cumprod or not all(0 <= alpha <= 1 for alpha in self.alphas_cumprod):
            raise ValueError("noise_schedule.alphas_cumprod must be a table of numbers from 0 to 1")
        if self.prediction_type not in PREDICTION_TYPES:
            raise ValueError(
                f"noise_schedule.prediction_type is {self.prediction_type!r}, not one of {PREDICTION_TYPES}"
            )
        if self.timestep_spacing not in TIMESTEP_SPACINGS:
            raise ValueError(
                f"noise_schedule.timestep_spacing is {self.timestep_spacing!r}, not one of {TIMESTEP_SPACINGS}"
            )
        if self.steps_offset < 0:
            raise ValueError(f"noise_schedule.steps_offset is {self.steps_offset}")

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "alphas_cumprod": list(self.alphas_cumprod)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NoiseSchedule:
        fields = _fields(cls, data)
        return cls(**{**fields, "alphas_cumprod": tuple(float(alpha) for alpha in fields["alphas_cumprod"])})


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`."""

    name: str
    precision: str
    config: RuntimeConfig
    noise_schedule: NoiseSchedule
    graphs: Mapping[str, GraphSpec]
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        missing = [name for name in GRAPH_NAMES if name not in self.graphs]
        if missing:
            raise ValueError(f"no graph {', '.join(missing)}")
        for graph_name, specs in expected_tensors(self.config).items():
            graph = self.graphs[graph_name]
            declared = {spec.name: spec.shape for spec in (*graph.inputs, *graph.outputs)}
            for name, shape in specs.items():
                if name not in declared:
                    raise ValueError(f"graph {graph_name} has no tensor {name}")
                if declared[name] != shape:
                    raise ValueError(
                        f"graph {graph_name} has {name} of shape {declared[name]}, the config says {shape}"
                    )
            supplied = {
                spec.name: spec.shape for source in SOURCES.get(graph_name, ()) for spec in self.graphs[source].outputs
            }
            for spec in graph.inputs:
                if spec.shape != specs.get(spec.name, supplied.get(spec.name)):
                    raise ValueError(
                        f"graph {graph_name} takes {spec.name} of shape {spec.shape}, which no graph supplies"
                    )

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": self.format_version,
            "name": self.name,
            "precision": self.precision,
            "config": self.config.to_json(),
            "noise_schedule": self.noise_schedule.to_json(),
            "graphs": {name: graph.to_json() for name, graph in self.graphs.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Raises ValueError, in words, for anything that is missing, of the wrong type or inconsistent."""
        version = data.get("format_version") if isinstance(data, Mapping) else None
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version!r}, this runtime reads {FORMAT_VERSION}")
        fields = _fields(cls, data)
        return cls(
            name=fields["name"],
            precision=fields["precision"],
            config=RuntimeConfig.from_json(fields["config"]),
            noise_schedule=NoiseSchedule.from_json(fields["noise_schedule"]),
            graphs={name: GraphSpec.from_json(graph) for name, graph in fields["graphs"].items()},
            format_version=version,
        )


def expected_tensors(config: RuntimeConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """The tensors that every bundle's graphs have, by graph and name, with their shapes."""
    f, n, c, s, r = (
        config.clip_frames,
        config.motion_frames,
        config.latent_channels,
        config.latent_size,
        config.resolution,
    )
    coefficients: dict[str, tuple[int, ...]] = {"latents_coefficient": (1,), "prediction_coefficient": (1,)}
    step = {"latents": (f, c, s, s), "next_latents": (f, c, s, s), **coefficients}
    return {
        "audio_encoder": {"waveform": (1, config.window_samples)},
        "conditioning": {"head_speed": (config.feature_frames,), "face_region": (1, 1, r, r)},
        "vae_encoder": {"image": (1, r, r, 3), "latents": (1, c, s, s)},
        "reference_net": {"reference_latents": (1, c, s, s), "motion_latents": (n, c, s, s)},
        "time_embedding": {"timestep": (1,)},
        "backbone": step,
        "guided_backbone": {**step, "guidance_scale": (1,)},
        "cached_backbone": step,
        "cached_guided_backbone": {**step, "guidance_scale": (1,)},
        "vae_decoder": {"latents": (f, c, s, s), "frames": (f, r, r, 3)},
    }


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    directory: Path
    manifest: Manifest

    @property
    def config(self) -> RuntimeConfig:
        return self.manifest.config

    @property
    def digest(self) -> str:
        """sha256 of what the manifest says, the graphs' own included: bundles with the same one are the same."""
        return hashlib.sha256(json.dumps(self.manifest.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def noise_schedule(self) -> NoiseSchedule:
        return self.manifest.noise_schedule

    def graph_path(self, graph_name: str) -> Path:
        """Path of the ONNX file of one graph."""
        return self.directory / self.manifest.graphs[graph_name].file

    @classmethod
    def load(cls, directory: str | Path, *, validated: bool = True) -> Bundle:
        """Reads `manifest.json` and verifies every file that it names.

        Args:
            validated: refuse a bundle that differs too much from the model that it was made of.

        Raises:
            BundleError: naming the file at fault and the cure.
        """
        directory = Path(directory)
        path = directory / MANIFEST_NAME
        if not os.path.isdir(directory):
            raise BundleError(f"bundle {directory}: no such directory; build one with `python -m export.build`")
        try:
            manifest = Manifest.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise BundleError(f"bundle {directory}: {MANIFEST_NAME} is missing; {CURE}") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise BundleError(f"bundle {directory}: {MANIFEST_NAME} cannot be read ({error}); {CURE}") from error
        except (ValueError, TypeError) as error:
            raise BundleError(f"bundle {directory}: {MANIFEST_NAME}: {error}; {CURE}") from error
        for graph in manifest.graphs.values():
            for name, sha256 in graph.files.items():
                try:
                    found = file_sha256(directory / name)
                except FileNotFoundError:
                    raise BundleError(f"bundle {directory}: {name} is missing; {CURE}") from None
                except OSError as error:
                    raise BundleError(
                        f"bundle {directory}: {name} cannot be read ({error.strerror}); {CURE}"
                    ) from error
                if found != sha256:
                    raise BundleError(f"bundle {directory}: {name} is not the file that was exported (sha256); {CURE}")
        if validated and (failures := _failures(directory)):
            raise BundleError(
                f"bundle {directory}: it is not what its model makes of a voice ({failures[0]}); {CURE}, "
                "or run it all the same with --unvalidated"
            )
        return cls(directory, manifest)


def _failures(directory: Path) -> list[str]:
    """What the bundle's validation found wrong; a bundle that was never validated has nothing to hide."""
    try:
        return [str(failure) for failure in json.loads((directory / VALIDATION_NAME).read_text())["failures"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        return [f"{VALIDATION_NAME} cannot be read: {error}"]


def file_sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_JSON_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "tuple": (list,)}


def _fields(cls: type, data: object) -> dict[str, Any]:
    """The dataclass's fields out of a JSON object, their JSON types checked; unknown keys are ignored."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{cls.__name__} must be a JSON object, not {data!r}")
    fields: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name not in data:
            if field.default is dataclasses.MISSING:
                raise ValueError(f"{cls.__name__} has no {field.name!r}")
            continue
        value = data[field.name]
        hint = getattr(hints[field.name], "__origin__", hints[field.name])
        expected = _JSON_TYPES.get(hint.__name__, (dict,))
        if not isinstance(value, expected) or isinstance(value, bool):
            raise ValueError(f"{cls.__name__} has {field.name!r} of the type {type(value).__name__}")
        fields[field.name] = value
    return fields
