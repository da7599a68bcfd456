"""A Backbone that computes in INT8 or FP8; in an exported graph its 8-bit numbers are pairs of Q/DQ nodes.

Only the Backbone is quantized: it runs at every step, everything else once per clip or once per video. Its first
convolution and its last three stay as they are; so do the layers that run once per clip, time embeddings and shortcut
convolutions, and the products within attention, for which no engine has a fast 8-bit form at every size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from onnxscript import opset20
from torch import Tensor, nn

from training.model.model import EmoModel

#: Layers of the Backbone that are never quantized, by their names.
UNQUANTIZED_LAYERS = re.compile(
    r"conv_in|conv_out|conv_shortcut|time_emb|portrait_in|motion_in|audio_embedding"
    r"|\.attentions\..*attn2\.to_[kv]|attn_(audio|speed)\.to_[kv]"
)
#: The largest number of each 8-bit format.
LARGEST_QUANTIZED = {"int8": 127.0, "uint8": 127.0, "fp8": 448.0}
_WEIGHT_DTYPES = {"int8": torch.int8, "uint8": torch.int8, "fp8": torch.float8_e4m3fn}
#: ONNX's type of an activation, and the number in it that stands for zero.
_ACTIVATION_TYPES = {
    "int8": (TensorProto.INT8, 0),
    "uint8": (TensorProto.UINT8, 128),
    "fp8": (TensorProto.FLOAT8E4M3FN, 0),
}
_onnx: Any = opset20  # its type hints allow tensors of one kind only


@dataclass(frozen=True)
class LayerRanges:
    """The largest magnitudes that a layer handles.

    Attributes:
        input: largest magnitude of the input
        weight: largest magnitudes of the weight, (out,) for one of each output channel or (1,)
        output: largest magnitude of the output; None where the output is not quantized
    """

    input: float
    weight: Tensor
    output: float | None


def layers_to_quantize(backbone: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear layers and convolutions of a Backbone for which 8 bits are enough, by name."""
    found = {
        name: layer
        for name, layer in backbone.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and not UNQUANTIZED_LAYERS.search(name)
    }
    # The last residual block's second convolution made three quarters of a small model's whole error in INT8, and its
    # first two fifths of what was left.
    last_block = max(name.rpartition(".")[0] for name in found if re.match(r"up_blocks\.\d+\.resnets\.", name))
    return {name: layer for name, layer in found.items() if not name.startswith(f"{last_block}.")}


def quantize(model: EmoModel, storage: str, ranges: Mapping[str, LayerRanges]) -> EmoModel:
    """Replace the layers of a model's Backbone that have `ranges`, in place, by layers of 8 bits.

    Args:
        model: model of any dtype
        storage: `int8`, `fp8`, or `uint8`: the numbers of `int8` with activations stored 128 higher, which processors
            multiply faster and TensorRT does not take
        ranges: ranges of the layers, by name in the Backbone
    """
    for name, layer_ranges in ranges.items():
        layer = model.backbone.get_submodule(name)
        model.backbone.set_submodule(name, QuantizedLayer(layer, storage, layer_ranges))
    return model


class QuantizedLayer(nn.Module):
    """A linear layer or a convolution whose input, weight and, if it has a range, output are of 8 bits.

    Args:
        layer: layer in floating point
        storage: `int8`, `uint8` or `fp8`, as in `quantize`
        ranges: largest magnitudes that the layer handles
    """

    input_scale: Tensor
    output_scale: Tensor
    weight: Tensor
    weight_scale: Tensor

    def __init__(self, layer: nn.Module, storage: str, ranges: LayerRanges) -> None:
        super().__init__()
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        self.storage = storage
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
        self.register_buffer("weight", _to_8_bits(weight, self.weight_scale.float().reshape(shape), storage))
        self.bias = layer.bias

    def _scale(self, largest: Tensor, dtype: torch.dtype) -> Tensor:
        smallest = torch.finfo(torch.float16).tiny  # a layer that never saw anything, or a weight of zeros
        return (largest / LARGEST_QUANTIZED[self.storage]).clamp(min=smallest).to(dtype)

    def forward(self, tensor: Tensor) -> Tensor:
        """The layer's output, (..., in) to (..., out) or (b, in, h, w) to (b, out, h', w')."""
        tensor = quantize_dequantize(tensor, self.input_scale, self.storage)
        weight = dequantize(self.weight, self.weight_scale, self.axis)
        if self.convolution:
            stride, padding = self.convolution
            tensor = F.conv2d(tensor, weight, self.bias, stride, padding)
        else:
            tensor = tensor @ weight
            tensor = tensor if self.bias is None else tensor + self.bias
        return quantize_dequantize(tensor, self.output_scale, self.storage) if self.has_output else tensor


def _to_8_bits(tensor: Tensor, scale: Tensor, storage: str) -> Tensor:
    scaled = tensor / scale
    if storage == "fp8":
        return scaled.clamp(-LARGEST_QUANTIZED[storage], LARGEST_QUANTIZED[storage]).to(_WEIGHT_DTYPES[storage])
    return scaled.round().clamp(-128, 127).to(_WEIGHT_DTYPES[storage])


@torch.library.custom_op("emo::quantize_dequantize", mutates_args=())
def quantize_dequantize(tensor: Tensor, scale: Tensor, storage: str) -> Tensor:
    """To 8 bits and back, with one scale; in a graph QuantizeLinear and DequantizeLinear."""
    return (_to_8_bits(tensor.float(), scale.float(), storage).float() * scale.float()).to(tensor.dtype)


@quantize_dequantize.register_fake
def _fake_quantize_dequantize(tensor: Tensor, scale: Tensor, storage: str) -> Tensor:
    return torch.empty_like(tensor)


@torch.library.custom_op("emo::dequantize", mutates_args=())
def dequantize(weight: Tensor, scale: Tensor, axis: int) -> Tensor:
    """A stored weight, with one scale or one for each slice along `axis`; in a graph DequantizeLinear."""
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)] if scale.ndim else []
    return weight.to(scale.dtype) * scale.reshape(shape)


@dequantize.register_fake
def _fake_dequantize(weight: Tensor, scale: Tensor, axis: int) -> Tensor:
    return torch.empty_like(weight, dtype=scale.dtype)


def _quantize_dequantize_nodes(tensor: Any, scale: Any, storage: str) -> Any:
    kind, zero_point = _ACTIVATION_TYPES[storage]
    zero = _onnx.Constant(value=helper.make_tensor("zero", kind, [], [zero_point]))
    return _onnx.DequantizeLinear(_onnx.QuantizeLinear(tensor, scale, zero), scale, zero)


def _dequantize_nodes(weight: Any, scale: Any, axis: int) -> Any:
    return _onnx.DequantizeLinear(weight, scale, axis=axis)


#: For `torch.onnx.export`: how the operators above become nodes.
ONNX_OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.emo.quantize_dequantize.default: _quantize_dequantize_nodes,
    torch.ops.emo.dequantize.default: _dequantize_nodes,
}
