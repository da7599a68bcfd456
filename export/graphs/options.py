"""What a build can be asked for, and which graphs it makes together. Nothing here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emo_rt.bundle import STEP_GRAPHS

#: The graphs of a bundle; those that hold the same weights are exported together. The graphs of a step come last,
#: because quantizing changes the model.
GRAPH_PARTS = (
    ("audio_encoder",),
    ("conditioning",),
    ("vae_encoder",),
    ("reference_net",),
    ("time_embedding",),
    ("vae_decoder",),
    STEP_GRAPHS,
)
#: The precisions that each backend runs.
BACKEND_PRECISIONS = {
    "onnxruntime": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "tensorrt": ("fp32", "bf16", "fp16", "int8", "fp8"),
}


@dataclass(frozen=True)
class BuildOptions:
    """The options of a build.

    Attributes:
        precision: precision of the graphs: fp32, bf16, fp16, int8 or fp8
        backend: backend that the graphs are made for
        clip_frames: number of frames of a clip, f in the paper; None for the checkpoint's own
        resolution: side of the square video in pixels; None for the checkpoint's own
        calibration_clips: number of generated people that the ranges of 8 bits are taken from

    Raises:
        ValueError: if the backend does not run the precision, or a number is out of its range.
    """

    precision: str = "fp32"
    backend: str = "onnxruntime"
    clip_frames: int | None = None
    resolution: int | None = None
    calibration_clips: int = 4

    def __post_init__(self) -> None:
        known = BACKEND_PRECISIONS.get(self.backend)
        if known is None:
            raise ValueError(f"backend {self.backend!r} is unknown; choose {', '.join(BACKEND_PRECISIONS)}")
        if self.precision not in known:
            others = [backend for backend, precisions in BACKEND_PRECISIONS.items() if self.precision in precisions]
            hint = f"build it for {' or '.join(others)}" if others else f"choose {', '.join(known)}"
            raise ValueError(f"backend {self.backend} has no precision {self.precision!r}; {hint}")
        for name, number in (*self.config_changes.items(), ("calibration_clips", self.calibration_clips)):
            if number < 1:
                raise ValueError(f"{name.replace('_', ' ')} is {number}; choose 1 or more")

    @property
    def config_changes(self) -> dict[str, Any]:
        """The fields of the checkpoint's config that the bundle has otherwise."""
        changes = {"clip_frames": self.clip_frames, "resolution": self.resolution}
        return {name: value for name, value in changes.items() if value is not None}

    @property
    def is_quantized(self) -> bool:
        """Whether the graphs of a step compute in 8 bits."""
        return self.precision in ("int8", "fp8")

    @property
    def dtype(self) -> str:
        """The dtype of all that is not of 8 bits; beside 8 bits, GPUs compute in float16 and processors in float32."""
        half = self.precision == "fp16" or (self.is_quantized and self.backend == "tensorrt")
        return "bfloat16" if self.precision == "bf16" else "float16" if half else "float32"

    @property
    def storage(self) -> str:
        """The storage of int8: processors multiply unsigned activations faster, TensorRT takes none."""
        return "uint8" if self.precision == "int8" and self.backend != "tensorrt" else self.precision
