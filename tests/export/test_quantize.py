"""Which layers are quantized, and that the graph computes what PyTorch does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export.graphs.calibrate import calibrate, calibration_clips
from export.graphs.quantize import LARGEST_QUANTIZED, LayerRanges, QuantizedLayer, layers_to_quantize, quantize
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel


@pytest.fixture(scope="module")
def ranges(checkpoint: Path) -> dict[str, LayerRanges]:
    model = EmoModel.load(checkpoint)
    clips = calibration_clips(2, model.config.resolution, model.config.clip_frames, 25)
    return calibrate(model, "int8", clips, steps=2)


@pytest.mark.parametrize("name", ["emo-test", "emo-photo", "emo-sd15"])
def test_the_layers_that_stay_as_they_are(name: str) -> None:
    """The first and the last three convolutions, shortcuts, time embeddings, and what is projected once per clip."""
    with torch.device("meta"):
        backbone = EmoModel(EmoConfig.from_name(name)).backbone
    layers = {n: layer for n, layer in backbone.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    left = layers.keys() - layers_to_quantize(backbone).keys()
    last = backbone.up_blocks[-1].resnets[-1]
    convolutions = {n for n in left if n.endswith(("conv1", "conv2"))}
    assert {layers[n] for n in convolutions} == {last.conv1, last.conv2}
    left -= convolutions
    kinds = Counter(n.split("transformer_blocks.0.")[-1].split(".")[-1 if "resnets" in n else 0] for n in left)
    spatial, temporal = len(backbone.attention_layers()), len(backbone.temporal_modules())
    assert kinds["attn2"] == 2 * spatial
    assert kinds["attn_audio"] == 2 * spatial
    assert kinds["attn_speed"] == 2 * temporal
    assert {"conv_in", "conv_out", "time_emb_proj", "time_embedding"} <= kinds.keys()
    known = {"conv_in", "conv_out", "conv_shortcut", "time_emb_proj", "time_embedding"}
    once = {"attn2", "attn_audio", "attn_speed", "portrait_in", "motion_in", "audio_embedding"}
    assert kinds.keys() <= known | once


def test_every_other_layer_has_ranges(model: EmoModel, ranges: dict[str, LayerRanges]) -> None:
    layers = layers_to_quantize(model.backbone)
    assert ranges.keys() == layers.keys()
    for name, found in ranges.items():
        weight = layers[name].weight.detach()
        assert torch.equal(found.weight, weight.flatten(1).abs().amax(1))
        assert found.input > 0
        assert (found.output is not None) == isinstance(layers[name], nn.Conv2d)


def test_ranges_are_those_of_real_denoising(model: EmoModel, ranges: dict[str, LayerRanges]) -> None:
    """More people see more: a range never shrinks, and other people have others. Each step has its own, too."""
    clips = calibration_clips(3, model.config.resolution, model.config.clip_frames, 25)
    one_step = calibrate(model, "int8", clips[:2], steps=1)
    assert any(one_step[name].input != ranges[name].input for name in ranges)
    more = calibrate(model, "int8", clips, steps=2)
    assert all(more[name].input >= ranges[name].input for name in ranges)
    assert any(more[name].input > ranges[name].input for name in ranges)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_quantized_layer_is_off_by_its_rounding(precision: str, kind: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 6) if kind == "linear" else nn.Conv2d(8, 6, 3, padding=1, stride=2)
    inputs = torch.randn(4, 5, 8) if kind == "linear" else torch.randn(4, 8, 6, 6)
    weight = layer.weight.detach()
    per_channel = weight.flatten(1).abs().amax(1)
    found = LayerRanges(
        float(inputs.abs().max()), per_channel if precision == "int8" else per_channel.max()[None], None
    )
    quantized = QuantizedLayer(layer, precision, found)
    expected, actual = layer(inputs), quantized(inputs)
    error = (actual - expected).abs().max() / (expected.max() - expected.min())
    assert 0 < error < {"int8": 0.02, "fp8": 0.06}[precision]


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_int8_rounds_by_hand(precision: str) -> None:
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -0.5]])
    quantized = QuantizedLayer(layer, precision, LayerRanges(127.0, torch.tensor([1.0]), None))
    assert quantized.weight.tolist() == [[127], [-64]]
    out = quantized(torch.tensor([[1.4, 2.6], [500.0, 0.0]]))
    torch.testing.assert_close(out, torch.tensor([[1 - 3 * 64 / 127], [127.0]]))


def test_8_bits_in_pytorch_are_near_the_model(
    model: EmoModel, ranges: dict[str, LayerRanges], checkpoint: Path
) -> None:
    latents = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timestep = torch.tensor([500.0])
    with torch.no_grad():
        expected = model.backbone(latents, timestep, Conditions())
        actual = quantize(EmoModel.load(checkpoint), "int8", ranges).backbone(latents, timestep, Conditions())
    cosine = torch.nn.functional.cosine_similarity(actual.flatten(), expected.flatten(), dim=0)
    assert 0.99 < cosine < 0.9999999


@pytest.mark.parametrize("graph", ["backbone", "guided_backbone"])
def test_the_graph_has_pairs_around_every_layer(graph: str, bundled_int8: Path) -> None:
    """Each weight is stored in 8 bits, meets an input that was quantized, and a convolution's output is quantized."""
    with torch.device("meta"):
        layers = layers_to_quantize(EmoModel(EmoConfig.from_name("emo-photo")).backbone)
    proto = onnx.load(bundled_int8 / f"{graph}.onnx")
    maker = {output: node for node in proto.graph.node for output in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    stored = {tensor.name for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.INT8}
    weights = [node for node in proto.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    assert len(weights) == len(layers)
    kinds: Counter[str] = Counter()
    for weight in weights:
        (product,) = users[weight.output[0]]
        kinds[product.op_type] += 1
        quantized = maker[product.input[0]]
        assert quantized.op_type == "DequantizeLinear"
        assert maker[quantized.input[0]].op_type == "QuantizeLinear"
        if product.op_type == "Conv":
            assert [user.op_type for user in users[product.output[0]]] == ["QuantizeLinear"]
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in layers.values())
    assert kinds == {"Conv": convolutions, "MatMul": len(layers) - convolutions}
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    zeros = [values[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    assert {(str(zero.dtype), int(zero)) for zero in zeros} == {("uint8", 128)}
    scales = {node.input[1] for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert all((numpy_helper.to_array(t) > 0).all() for t in proto.graph.initializer if t.name in scales)


def test_largest_numbers() -> None:
    assert torch.finfo(torch.float8_e4m3fn).max == LARGEST_QUANTIZED["fp8"]
    assert torch.iinfo(torch.int8).max == LARGEST_QUANTIZED["int8"]
