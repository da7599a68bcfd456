"""A Backbone in INT8 or FP8: ModelOpt finds the ranges while the model denoises, and the graph says them as Q/DQ pairs.

Only the Backbone is quantized: it runs at every step, everything else once per clip or once per video. Left alone are
its first convolution and its last three, what runs once per clip, time embeddings and shortcut convolutions; and the
products within attention, for which no engine has a fast 8-bit form at every size.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from onnxscript import opset20
from torch import Tensor, nn
from tqdm import tqdm

from training.clips.clip import TrainingClip, portrait_of
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline
from training.speakers.speaker import make_clip

with warnings.catch_warnings():  # about versions of transformers, which is not used with it
    warnings.simplefilter("ignore")
    import modelopt.torch.quantization as mtq

op: Any = opset20  # its types know tensors of one kind only
#: Layers of the Backbone that stay as they are, by their names.
LEFT_ALONE = re.compile(
    r"conv_in|conv_out|conv_shortcut|time_emb|portrait_in|motion_in|audio_embedding"
    r"|\.attentions\..*attn2\.to_[kv]|attn_(audio|speed)\.to_[kv]"
)
#: Largest number of each format.
LARGEST_QUANTIZED = {"int8": 127.0, "uint8": 127.0, "fp8": 448.0}
#: What a weight is stored as, and what an activation becomes and which of these is zero.
_WEIGHTS = {"int8": torch.int8, "uint8": torch.int8, "fp8": torch.float8_e4m3fn}
_ACTIVATIONS = {
    "int8": (TensorProto.INT8, 0),
    "uint8": (TensorProto.UINT8, 128),
    "fp8": (TensorProto.FLOAT8E4M3FN, 0),
}


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes of a layer's input, of its weight (one for each output channel, or one), of its output."""

    input: float
    weight: Tensor
    output: float | None


def calibration_clips(count: int, resolution: int, frames: int, frames_per_second: int) -> list[TrainingClip]:
    """People of the training split who speak, each another voice, for ``frames`` frames."""
    seconds = frames / frames_per_second
    numbers = tqdm(range(count), desc="drawing people to calibrate on", unit="clip", leave=False)
    return [make_clip(10_000_000 + number, seconds, resolution, voices="train") for number in numbers]


def calibrate(
    model: EmoModel, precision: str, clips: Sequence[TrainingClip], steps: int | None = None
) -> dict[str, Ranges]:
    """What the layers of the Backbone see while the float32 ``model`` animates the people of ``clips``.

    Args:
        model: is left with ModelOpt's quantizers in it, and of no further use: a second one may not fit into memory.
        precision: ``int8`` or ``fp8``.
        clips: each is denoised whole, at all timesteps of the schedule.
        steps: of the schedule; the config's by default.

    Returns:
        the ranges of every layer to quantize, by its name in the Backbone.
    """
    pipeline = EmoPipeline(model)

    def denoise(_: nn.Module) -> None:
        for seed, clip in enumerate(tqdm(clips, desc="calibrating", unit="clip", leave=False)):
            pipeline(*portrait_of(clip), clip.waveform, len(clip.frames), seed=seed, steps=steps)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mtq.quantize(model.backbone, _modelopt_config(model.backbone, precision), denoise)
    return {
        name: Ranges(
            float(layer.input_quantizer.amax),
            layer.weight_quantizer.amax.flatten().clone(),
            float(layer.output_quantizer.amax) if layer.output_quantizer.is_enabled else None,
        )
        for name, layer in model.backbone.named_modules()
        if hasattr(layer, "weight_quantizer") and layer.weight_quantizer.is_enabled
    }


def layers_to_quantize(backbone: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear layers and convolutions that 8 bits do for, by name."""
    found = {
        name: layer
        for name, layer in backbone.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and not LEFT_ALONE.search(name)
    }
    # The last residual block's second convolution makes three quarters of emo-tiny's whole error in INT8, and its first
    # two fifths of what is left.
    last_block = max(name.rpartition(".")[0] for name in found if re.match(r"up_blocks\.\d+\.resnets\.", name))
    return {name: layer for name, layer in found.items() if not name.startswith(f"{last_block}.")}


def _modelopt_config(backbone: nn.Module, precision: str) -> dict[str, Any]:
    """Symmetric everywhere, as TensorRT wants it; INT8 weights have a range for each output channel."""
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


def quantize(model: EmoModel, precision: str, ranges: Mapping[str, Ranges]) -> EmoModel:
    """Let the Backbone of a ``model`` of any dtype compute in 8 bits, in place, where there are ``ranges``.

    Args:
        precision: ``int8``, ``fp8``, or ``uint8``: the numbers of ``int8`` with activations stored 128 higher, which
            processors multiply faster and TensorRT does not take.
    """
    for name, layer_ranges in ranges.items():
        layer = model.backbone.get_submodule(name)
        model.backbone.set_submodule(name, QuantizedLayer(layer, precision, layer_ranges))
    return model


class QuantizedLayer(nn.Module):
    """A linear layer or a convolution on an input and with a weight of 8 bits; its output is of 8 bits, too, or not."""

    input_scale: Tensor
    output_scale: Tensor
    weight: Tensor
    weight_scale: Tensor

    def __init__(self, layer: nn.Module, precision: str, ranges: Ranges) -> None:
        super().__init__()
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        self.precision = precision
        self.convolution = (layer.stride, layer.padding) if isinstance(layer, nn.Conv2d) else None
        # Linear weights are stored as (in, out): engines look for quantized products without a transposition.
        weight = layer.weight.detach().float() if self.convolution else layer.weight.detach().float().T
        self.axis = 0 if self.convolution else 1
        dtype = layer.weight.dtype
        self.register_buffer("input_scale", self._scale(torch.tensor(ranges.input), dtype))
        self.register_buffer("weight_scale", self._scale(ranges.weight.squeeze(), dtype))
        self.has_output = ranges.output is not None
        if ranges.output is not None:
            self.register_buffer("output_scale", self._scale(torch.tensor(ranges.output), dtype))
        shape = [-1 if axis == self.axis else 1 for axis in range(weight.ndim)] if self.weight_scale.ndim else []
        self.register_buffer("weight", _to_8_bits(weight, self.weight_scale.float().reshape(shape), precision))
        self.bias = layer.bias

    def _scale(self, largest: Tensor, dtype: torch.dtype) -> Tensor:
        smallest = torch.finfo(torch.float16).tiny  # a layer that never saw anything, or a weight of zeros
        return (largest / LARGEST_QUANTIZED[self.precision]).clamp(min=smallest).to(dtype)

    def forward(self, tensor: Tensor) -> Tensor:
        """As the layer's own."""
        tensor = quantize_dequantize(tensor, self.input_scale, self.precision)
        weight = dequantize(self.weight, self.weight_scale, self.axis)
        if self.convolution:
            stride, padding = self.convolution
            tensor = F.conv2d(tensor, weight, self.bias, stride, padding)
        else:
            tensor = tensor @ weight
            tensor = tensor if self.bias is None else tensor + self.bias
        return quantize_dequantize(tensor, self.output_scale, self.precision) if self.has_output else tensor


def _to_8_bits(tensor: Tensor, scale: Tensor, precision: str) -> Tensor:
    scaled = tensor / scale
    if precision == "fp8":
        return scaled.clamp(-LARGEST_QUANTIZED[precision], LARGEST_QUANTIZED[precision]).to(_WEIGHTS[precision])
    return scaled.round().clamp(-128, 127).to(_WEIGHTS[precision])


@torch.library.custom_op("emo::quantize_dequantize", mutates_args=())
def quantize_dequantize(tensor: Tensor, scale: Tensor, precision: str) -> Tensor:
    """To 8 bits and back, with one scale; in a graph QuantizeLinear and DequantizeLinear."""
    return (_to_8_bits(tensor.float(), scale.float(), precision).float() * scale.float()).to(tensor.dtype)


@quantize_dequantize.register_fake
def _(tensor: Tensor, scale: Tensor, precision: str) -> Tensor:
    return torch.empty_like(tensor)


@torch.library.custom_op("emo::dequantize", mutates_args=())
def dequantize(weight: Tensor, scale: Tensor, axis: int) -> Tensor:
    """A stored weight, with one scale or one for each slice along ``axis``; in a graph DequantizeLinear."""
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)] if scale.ndim else []
    return weight.to(scale.dtype) * scale.reshape(shape)


@dequantize.register_fake
def _(weight: Tensor, scale: Tensor, axis: int) -> Tensor:
    return torch.empty_like(weight, dtype=scale.dtype)


def _quantize_dequantize_onnx(tensor: Any, scale: Any, precision: str) -> Any:
    kind, zero_point = _ACTIVATIONS[precision]
    zero = op.Constant(value=helper.make_tensor("zero", kind, [], [zero_point]))
    return op.DequantizeLinear(op.QuantizeLinear(tensor, scale, zero), scale, zero)


def _dequantize_onnx(weight: Any, scale: Any, axis: int) -> Any:
    return op.DequantizeLinear(weight, scale, axis=axis)


#: For ``torch.onnx.export``: how the operators above become nodes.
ONNX_OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.emo.quantize_dequantize.default: _quantize_dequantize_onnx,
    torch.ops.emo.dequantize.default: _dequantize_onnx,
}
