"""The manifest of a bundle: what `manifest.json` says of the model, its noise schedule and its graphs.

Reading it checks it: JSON types, ranges, and that every graph has the tensors that the config promises. A key that this
version does not know is ignored, so that an export may add facts (measured costs, say) without a new format version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, get_type_hints

from emo_rt.limits import DTYPES, LARGEST_IN_CONFIG, MAX_SIZE

FORMAT_VERSION = 4
#: The graphs that run a denoising step.
STEP_GRAPHS = ("backbone", "guided_backbone", "cached_backbone", "cached_guided_backbone")
GRAPH_NAMES = (
    "audio_encoder",
    "conditioning",
    "vae_encoder",
    "reference_net",
    "time_embedding",
    *STEP_GRAPHS,
    "vae_decoder",
)
# The graphs whose outputs a graph takes, by the same names, beside the tensors of `expected_tensors`.
_STEP_SOURCES = ("conditioning", "reference_net", "time_embedding")
_GRAPH_SOURCES = {
    "conditioning": ("audio_encoder",),
    "backbone": _STEP_SOURCES,
    "guided_backbone": _STEP_SOURCES,
    "cached_backbone": (*_STEP_SOURCES, "backbone"),
    "cached_guided_backbone": (*_STEP_SOURCES, "guided_backbone"),
}
_PREDICTION_TYPES = ("sample", "epsilon", "v_prediction")
_TIMESTEP_SPACINGS = ("trailing", "leading")


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        name: name of the tensor in the graph
        dtype: NumPy name of its element type
        shape: static shape

    Raises:
        ValueError: if the dtype is unknown or a size is out of range.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name} has the unknown dtype {self.dtype!r}")
        if not all(1 <= size <= MAX_SIZE for size in self.shape):
            raise ValueError(f"tensor {self.name} has the shape {self.shape}; sizes are static and positive")

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        """Reads the JSON object; raises ValueError where it is wrong."""
        fields = _fields(cls, data)
        if not all(type(size) is int for size in fields["shape"]):
            raise ValueError(f"tensor {fields['name']} has the shape {fields['shape']}; sizes are integers")
        return cls(fields["name"], fields["dtype"], tuple(fields["shape"]))


@dataclass(frozen=True)
class GraphSpec:
    """An ONNX graph of the bundle.

    Attributes:
        file: path of the ONNX file inside the bundle
        files: sha256 of every file that the graph needs, weights included, by path inside the bundle
        inputs: input tensors
        outputs: output tensors

    Raises:
        ValueError: if `file` has no sha256 or a path leads out of the bundle.
    """

    file: str
    files: Mapping[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if self.file not in self.files:
            raise ValueError(f"no sha256 for {self.file}")
        for name, sha256 in self.files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"the file {name!r} lies outside of the bundle")
            if not name.isprintable() or {"\\", ":"} & set(name):  # Windows would find others by these two
                raise ValueError(f"the file {name!r} has a name that no exported file has")
            if not isinstance(sha256, str):
                raise ValueError(f"the sha256 of {name} is no text")

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        return {
            "file": self.file,
            "files": dict(self.files),
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GraphSpec:
        """Reads the JSON object; raises ValueError where it is wrong."""
        fields = _fields(cls, data)
        return cls(
            fields["file"],
            dict(fields["files"]),
            tuple(TensorSpec.from_json(spec) for spec in fields["inputs"]),
            tuple(TensorSpec.from_json(spec) for spec in fields["outputs"]),
        )


@dataclass(frozen=True)
class RuntimeConfig:
    """The facts of a model that the runtime needs, and the bundle's default generation options.

    Attributes:
        resolution: side R of the square frames, pixels
        frames_per_second: frame rate of the video
        clip_frames: frames per clip, f
        motion_frames: latents of the last clip that the next one goes on from, n
        sample_rate: sample rate of the voice, Hz
        audio_margin: frames of audio features on each side of a frame, m
        audio_context: further frames of voice on each side that `audio_encoder` alone sees
        latent_channels: channels of the latents, c
        latent_size: side of the square latents, s
        steps: default number of DDIM steps
        guidance_scale: default scale of classifier-free guidance
        speed: default speed of the head, degrees per frame
        face_region_margin: margin around the face box on each side, as a share of the box's size
        face_fraction: width of the face box in a cropped portrait, as a share of the crop's side

    Raises:
        ValueError: if a value is out of its range or two contradict each other.
    """

    resolution: int
    frames_per_second: int
    clip_frames: int
    motion_frames: int
    sample_rate: int
    audio_margin: int
    audio_context: int
    latent_channels: int
    latent_size: int
    steps: int
    guidance_scale: float
    speed: float
    face_region_margin: float
    face_fraction: float

    def __post_init__(self) -> None:
        may_be_zero = ("audio_margin", "audio_context", "guidance_scale", "speed", "face_region_margin")
        for field in dataclasses.fields(self):
            value, largest = getattr(self, field.name), LARGEST_IN_CONFIG[field.name]
            if not 0 <= value <= largest or (value == 0 and field.name not in may_be_zero):
                raise ValueError(f"config.{field.name} is {value}, and at most {largest:g} makes sense")
        if self.resolution % 2:
            raise ValueError(f"config.resolution is {self.resolution}, and videos have even sides")
        if 3 * self.clip_frames * self.resolution**2 > MAX_SIZE:
            raise ValueError(f"config.resolution {self.resolution} is too large for {self.clip_frames} frames a clip")
        if self.sample_rate % self.frames_per_second:
            raise ValueError(
                f"config.sample_rate {self.sample_rate} Hz is no multiple of {self.frames_per_second} frames per second"
            )
        if self.motion_frames > self.clip_frames:
            raise ValueError(f"config.motion_frames {self.motion_frames} exceeds clip_frames {self.clip_frames}")

    @property
    def samples_per_frame(self) -> int:
        """Samples of voice per video frame."""
        return self.sample_rate // self.frames_per_second

    @property
    def feature_frames(self) -> int:
        """Frames of audio features and of head speed per clip, f + 2m."""
        return self.clip_frames + 2 * self.audio_margin

    @property
    def window_samples(self) -> int:
        """Samples of voice that `audio_encoder` takes per clip."""
        return (self.feature_frames + 2 * self.audio_context) * self.samples_per_frame

    @property
    def latents_shape(self) -> tuple[int, int, int, int]:
        """Shape of a clip's latents, (f, c, s, s)."""
        return self.clip_frames, self.latent_channels, self.latent_size, self.latent_size

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RuntimeConfig:
        """Reads the JSON object; raises ValueError where it is wrong."""
        return cls(**_fields(cls, data))


@dataclass(frozen=True)
class NoiseSchedule:
    """The table that DDIM reads, and how it chooses timesteps from it; the words are those of diffusers.

    Attributes:
        alphas_cumprod: share of the picture in the noisy latents' variance, by training timestep
        prediction_type: quantity that the Backbone predicts: sample, epsilon or v_prediction
        timestep_spacing: rule by which the timesteps of a run are chosen: trailing or leading
        steps_offset: number of training timesteps by which leading timesteps are shifted

    Raises:
        ValueError: if a value is out of its range.
    """

    alphas_cumprod: tuple[float, ...]
    prediction_type: str = "epsilon"
    timestep_spacing: str = "trailing"
    steps_offset: int = 0

    def __post_init__(self) -> None:
        if not self.alphas_cumprod or not all(0 <= alpha <= 1 for alpha in self.alphas_cumprod):
            raise ValueError("noise_schedule.alphas_cumprod must be a table of numbers from 0 to 1")
        for name, allowed in (("prediction_type", _PREDICTION_TYPES), ("timestep_spacing", _TIMESTEP_SPACINGS)):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"noise_schedule.{name} is {value!r}, not one of {allowed}")
        if not 0 <= self.steps_offset <= len(self.alphas_cumprod):
            raise ValueError(f"noise_schedule.steps_offset is {self.steps_offset}")

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        return {**dataclasses.asdict(self), "alphas_cumprod": list(self.alphas_cumprod)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NoiseSchedule:
        """Reads the JSON object; raises ValueError where it is wrong."""
        fields = _fields(cls, data)
        return cls(**{**fields, "alphas_cumprod": tuple(float(alpha) for alpha in fields["alphas_cumprod"])})


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`.

    Attributes:
        name: name of the model
        precision: precision that the graphs compute in: fp32, bf16, fp16, int8 or fp8
        config: facts of the model
        noise_schedule: noise schedule that the model was trained with
        graphs: graphs by their name, one for each of `GRAPH_NAMES`
        format_version: version of the bundle format

    Raises:
        ValueError: if a graph is missing or its tensors do not fit the config or the other graphs.
    """

    name: str
    precision: str
    config: RuntimeConfig
    noise_schedule: NoiseSchedule
    graphs: Mapping[str, GraphSpec]
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise ValueError(f"the name {self.name!r} has control characters")
        if self.config.steps > len(self.noise_schedule.alphas_cumprod) - self.noise_schedule.steps_offset:
            raise ValueError(f"config.steps is {self.config.steps}, more than the noise schedule has")
        if missing := [name for name in GRAPH_NAMES if name not in self.graphs]:
            raise ValueError(f"no graph {', '.join(missing)}")
        for name, expected in expected_tensors(self.config).items():
            _check_promised(name, self.graphs[name], expected)
            sources = [self.graphs[source] for source in _GRAPH_SOURCES.get(name, ())]
            supplied = {spec.name: spec.shape for source in sources for spec in source.outputs}
            _check_supplied(name, self.graphs[name], {**supplied, **expected, **_may_take(name, self.config)})

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
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
        """Reads the JSON object; raises ValueError for what is missing, of the wrong type or inconsistent."""
        version = data.get("format_version") if isinstance(data, Mapping) else None
        if version != FORMAT_VERSION:
            raise ValueError(f"it has format version {version!r}, and this version of emo-rt reads {FORMAT_VERSION}")
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
    """The tensors that the graphs of every bundle have: shapes by graph and tensor name."""
    f, c, s, _ = config.latents_shape
    n, r = config.motion_frames, config.resolution
    step: dict[str, tuple[int, ...]] = {
        "latents": (f, c, s, s),
        "next_latents": (f, c, s, s),
        "latents_coefficient": (1,),
        "prediction_coefficient": (1,),
    }
    guided_step = {**step, "guidance_scale": (1,)}
    return {
        "audio_encoder": {"waveform": (1, config.window_samples)},
        "conditioning": {"head_speed": (config.feature_frames,), "face_region": (1, 1, r, r)},
        "vae_encoder": {"image": (1, r, r, 3), "latents": (1, c, s, s)},
        "reference_net": {"reference_latents": (1, c, s, s), "motion_latents": (n, c, s, s)},
        "time_embedding": {"timestep": (1,)},
        "backbone": step,
        "guided_backbone": guided_step,
        "cached_backbone": step,
        "cached_guided_backbone": guided_step,
        "vae_decoder": {"latents": (f, c, s, s), "frames": (f, r, r, 3)},
    }


def _may_take(graph_name: str, config: RuntimeConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that a graph may take or not."""
    return {"gestures": (config.clip_frames, 4)} if graph_name == "conditioning" else {}


def _check_promised(graph_name: str, graph: GraphSpec, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError if a graph lacks a tensor that the config promises, or has it in another shape."""
    declared = {spec.name: spec.shape for spec in (*graph.inputs, *graph.outputs)}
    for name, shape in expected.items():
        if name not in declared:
            raise ValueError(f"graph {graph_name} has no tensor {name}")
        if declared[name] != shape:
            raise ValueError(f"graph {graph_name} has {name} of shape {declared[name]}, the config says {shape}")


def _check_supplied(graph_name: str, graph: GraphSpec, supplied: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError if a graph takes a tensor that nothing supplies."""
    for spec in graph.inputs:
        if spec.shape != supplied.get(spec.name):
            raise ValueError(f"graph {graph_name} takes {spec.name} of shape {spec.shape}, which no graph supplies")


_JSON_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "tuple": (list,)}


def _fields(cls: type, data: object) -> dict[str, Any]:
    """The fields of a dataclass out of a JSON object, with their JSON types checked."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{cls.__name__} must be a JSON object, not {type(data).__name__}")
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
