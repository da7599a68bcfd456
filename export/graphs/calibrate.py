"""The ranges of a Backbone's layers, which ModelOpt finds while the float32 model animates generated people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from export.graphs.options import BuildOptions
from export.graphs.quantize import LayerRanges, layers_to_quantize
from training.clips.clip import TrainingClip, portrait_of
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline
from training.speakers.speaker import make_clip

with warnings.catch_warnings():  # about versions of transformers, which is not used with it
    warnings.simplefilter("ignore")
    import modelopt.torch.quantization as mtq

#: The seed of the first person that ranges are taken from: far from those of any training corpus.
FIRST_CALIBRATION_SEED = 10_000_000


def calibrated_ranges(checkpoint: Path, options: BuildOptions) -> dict[str, LayerRanges]:
    """The ranges of a checkpoint's Backbone for a build of 8 bits: clips of twice the clip length, all steps.

    Args:
        checkpoint: directory of the model
        options: options of the build
    """
    model = EmoModel.load(checkpoint, **options.config_changes)
    config = model.config
    frames = 2 * config.clip_frames
    clips = calibration_clips(options.calibration_clips, config.resolution, frames, config.frames_per_second)
    return calibrate(model, options.precision, clips)


def calibration_clips(count: int, resolution: int, frames: int, frames_per_second: int) -> list[TrainingClip]:
    """Clips of generated people of the training split, each with another face and voice.

    Args:
        count: number of clips
        resolution: side of the pictures in pixels
        frames: number of frames of each clip
        frames_per_second: frame rate in Hz
    """
    seconds = frames / frames_per_second
    numbers = tqdm(range(count), desc="drawing people to calibrate on", unit="clip", leave=False)
    return [make_clip(FIRST_CALIBRATION_SEED + number, seconds, resolution, voices="train") for number in numbers]


def calibrate(
    model: EmoModel, precision: str, clips: Sequence[TrainingClip], steps: int | None = None
) -> dict[str, LayerRanges]:
    """Record what the layers of the Backbone see while a float32 model animates the people of `clips`.

    Args:
        model: model in float32; it keeps ModelOpt's quantizers and is of no further use, because a second model may
            not fit into memory
        precision: `int8` or `fp8`
        clips: clips to denoise, each over its whole length
        steps: number of DDIM steps; the config's by default

    Returns:
        The ranges of every layer to quantize, by its name in the Backbone.
    """
    pipeline = EmoPipeline(model)

    def denoise(_: nn.Module) -> None:
        for seed, clip in enumerate(tqdm(clips, desc="calibrating", unit="clip", leave=False)):
            pipeline(*portrait_of(clip), clip.waveform, len(clip.frames), seed=seed, steps=steps)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mtq.quantize(model.backbone, _modelopt_config(model.backbone, precision), denoise)
    return {
        name: LayerRanges(
            float(layer.input_quantizer.amax),
            layer.weight_quantizer.amax.flatten().clone(),
            float(layer.output_quantizer.amax) if layer.output_quantizer.is_enabled else None,
        )
        for name, layer in model.backbone.named_modules()
        if hasattr(layer, "weight_quantizer") and layer.weight_quantizer.is_enabled
    }


def _modelopt_config(backbone: nn.Module, precision: str) -> dict[str, Any]:
    """ModelOpt's configuration: symmetric, as TensorRT wants it; INT8 weights have a range for each channel."""
    bits = {"int8": 8, "fp8": (4, 3)}[precision]
    rows: list[dict[str, Any]] = [{"quantizer_name": "*", "enable": False}]
    for name, layer in layers_to_quantize(backbone).items():
        kinds = {"weight": 0 if precision == "int8" else None, "input": None}
        if precision == "int8" and isinstance(layer, nn.Conv2d):
            kinds["output"] = None  # else ONNX Runtime convolves in float32
        rows += [
            {"quantizer_name": f"{name}.{kind}_quantizer", "cfg": {"num_bits": bits, "axis": axis}}
            for kind, axis in kinds.items()
        ]
    return {"quant_cfg": rows, "algorithm": "max"}
