"""Scaled feature maps change nothing that the ReferenceNet hands on, and keep it within float16."""

import copy

import pytest
import torch

from export.graphs.float16 import LARGEST_FLOAT16, scale_maps, to_float16
from training.model.config import EmoConfig
from training.model.model import EmoModel


@pytest.fixture
def model() -> EmoModel:
    """A test-size model whose ReferenceNet's maps are as large as training makes them, its biases not zero."""
    torch.manual_seed(0)
    model = EmoModel(EmoConfig.from_name("emo-test")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
        for level in model.reference_net.up_blocks:
            for resnet in level.resnets:
                resnet.conv_shortcut.weight.mul_(64)
    return model


def known(model: EmoModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of a portrait and of motion frames."""
    config, generator = model.config, torch.Generator().manual_seed(1)
    frame = (config.latent_channels, config.latent_size, config.latent_size)
    return torch.randn(1, *frame, generator=generator), torch.randn(
        1, config.motion_frames, *frame, generator=generator
    )


@torch.no_grad()
def test_scaled_maps_give_the_same_conditions(model: EmoModel) -> None:
    scaled = copy.deepcopy(model)
    scale_maps(scaled.reference_net, 2.0**-10)
    portrait, motion = known(model)
    before, after = model.reference_net(portrait)[1], scaled.reference_net(portrait)[1]
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(b, a * 2.0**-10, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
    expected, actual = (one.portrait_and_motion(portrait, motion).named_tensors() for one in (model, scaled))
    for name, tensor in expected.items():
        if name.startswith("reference"):  # the temporal modules' norms keep their epsilon
            torch.testing.assert_close(actual[name], tensor, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_large_maps_stay_within_float16(model: EmoModel) -> None:
    portrait, motion = known(model)
    assert max(float(maps.abs().max()) for maps in model.reference_net(portrait)[1]) > torch.finfo(torch.float16).max
    expected = model.portrait_and_motion(portrait, motion).named_tensors()
    half = to_float16(model)
    maps = half.reference_net(portrait.half())[1]
    assert LARGEST_FLOAT16 / 8 < max(float(m.abs().max()) for m in maps) < 4 * LARGEST_FLOAT16
    for name, tensor in half.portrait_and_motion(portrait.half(), motion.half()).named_tensors().items():
        error = (tensor.float() - expected[name]).abs().max() / (expected[name].max() - expected[name].min())
        assert error < 0.03, name


def test_small_maps_stay_as_they_are() -> None:
    model = EmoModel(EmoConfig.from_name("emo-test")).eval()
    before = copy.deepcopy(model.reference_net)
    half = to_float16(model)
    assert torch.equal(half.reference_net.conv_in.weight, before.conv_in.weight.half())
