"""Backbone and ReferenceNet compute what diffusers' SD 1.5 UNet computes from the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from tiny_models import TEXT_WIDTH, emo_model, latents, motion_adapter, sd15_unet, silence_text
from torch import Tensor, nn

from training.model.attention import BackboneBlock
from training.model.backbone import Backbone
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.stages.published import inherit_motion_adapter, inherit_sd15_unet


@pytest.fixture(scope="module")
def unet(config: EmoConfig) -> UNet2DConditionModel:
    return silence_text(sd15_unet(config))


@pytest.fixture(scope="module")
def inherited(config: EmoConfig, unet: UNet2DConditionModel) -> EmoModel:
    model = emo_model(seed=7)
    inherit_sd15_unet(model, unet.state_dict())
    inherit_motion_adapter(model, motion_adapter(config).state_dict())
    return model


def record(modules: list[nn.Module]) -> list[Tensor]:
    """Outputs of `modules`, filled in the order in which they run."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        outputs.append(output if isinstance(output, Tensor) else output[0])

    for module in modules:
        module.register_forward_hook(keep)
    return outputs


def ends_of_layers(unet: UNet2DConditionModel) -> list[nn.Module]:
    """What stands before each motion module of AnimateDiff: the attention layer, or the residual block without one."""
    levels = [*unet.down_blocks, *unet.up_blocks]
    ends = [end for level in levels for end in getattr(level, "attentions", None) or level.resnets]
    return [*ends, unet.mid_block.attentions[0]]


def text(batch: int) -> Tensor:
    return torch.randn(batch, 5, TEXT_WIDTH)


def test_the_reference_net_is_sd_without_its_text_attention(
    config: EmoConfig, unet: UNet2DConditionModel, inherited: EmoModel
) -> None:
    clean = latents(config, 3)
    norms = [block.norm2 for block in unet.modules() if isinstance(block, BasicTransformerBlock)]
    their_reference, their_motion = record(norms), record(ends_of_layers(unet))
    unet(clean, 0, text(3))
    reference, motion = inherited.reference_net(clean)
    torch.testing.assert_close(reference, their_reference, rtol=0, atol=1e-5)
    torch.testing.assert_close(motion, their_motion, rtol=0, atol=1e-5)


def test_the_reference_net_runs_at_timestep_zero(
    config: EmoConfig, unet: UNet2DConditionModel, inherited: EmoModel
) -> None:
    clean = latents(config, 1)
    theirs = record(ends_of_layers(unet))
    unet(clean, 10, text(1))
    assert (inherited.reference_net(clean)[1][0] - theirs[0]).abs().max() > 1e-3


def test_features_come_in_the_order_of_the_layers_that_take_them(config: EmoConfig, inherited: EmoModel) -> None:
    reference, motion = inherited.reference_net(latents(config, 1))
    layers, modules = inherited.backbone.attention_layers(), inherited.backbone.temporal_modules()
    assert [features.shape[-1] for features in reference] == [layer.block.attn2.to_k.in_features for layer in layers]
    assert [features.shape[1] for features in motion] == [module.proj_in.in_features for module in modules]


def test_the_backbone_without_conditions_and_time_is_sd(
    config: EmoConfig, unet: UNet2DConditionModel, inherited: EmoModel
) -> None:
    noisy, timestep = latents(config, 2, 3), torch.tensor([999, 400])
    theirs = unet(noisy.flatten(0, 1), timestep.repeat_interleave(3), text(6)).sample.unflatten(0, (2, 3))
    torch.testing.assert_close(
        inherited.backbone(noisy, timestep, Conditions(), temporal=False), theirs, rtol=0, atol=1e-5
    )


def test_the_backbone_with_temporal_modules_is_animatediff(
    config: EmoConfig, unet: UNet2DConditionModel, inherited: EmoModel
) -> None:
    theirs = UNetMotionModel.from_unet2d(unet, motion_adapter(config)).eval()
    noisy, timestep = latents(config, 2, 4), torch.tensor([700, 20])
    expected = theirs(noisy.transpose(1, 2), timestep, text(8)).sample.transpose(1, 2)
    torch.testing.assert_close(inherited.backbone(noisy, timestep, Conditions()), expected, rtol=0, atol=1e-5)


def test_reference_attention_is_sds_cross_attention_to_the_reference_features(config: EmoConfig) -> None:
    frames = 3
    unet = sd15_unet(config, text_width=config.block_out_channels)  # wide enough to take features as its text
    backbone = Backbone(config).eval().requires_grad_(False)
    backbone.load_state_dict(unet.state_dict(), strict=False)
    features, _ = emo_model().reference_net(latents(config, 2, seed=5))
    queue = [layer.repeat_interleave(frames, 0) for layer in features]

    def exchange_text(_: nn.Module, arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return arguments, options | {"encoder_hidden_states": queue.pop(0)}

    for block in unet.modules():
        if isinstance(block, BasicTransformerBlock):
            block.attn2.register_forward_pre_hook(exchange_text, with_kwargs=True)
    noisy, timestep = latents(config, 2, frames), torch.tensor([900, 100])
    theirs = unet(noisy.flatten(0, 1), timestep.repeat_interleave(frames), text(6)).sample
    ours = backbone(noisy, timestep, backbone.reference_conditions(features), temporal=False)
    assert not queue
    torch.testing.assert_close(ours.flatten(0, 1), theirs, rtol=0, atol=1e-5)


def test_audio_attention_follows_reference_attention_frame_by_frame(model: EmoModel) -> None:
    block = model.backbone.attention_layers()[0].block
    assert isinstance(block, BackboneBlock)
    hidden, reference, tokens = torch.randn(2, 3, 9, 16), torch.randn(2, 9, 16), torch.randn(2, 3, 5, 16)
    audio = block.attn_audio.to_k(tokens), block.attn_audio.to_v(tokens)
    ours = block(hidden, (block.attn2.to_k(reference), block.attn2.to_v(reference)), audio)
    for sample in range(2):
        for frame in range(3):
            expected = hidden[sample, frame][None]
            expected = expected + block.attn1(block.norm1(expected))
            expected = expected + block.attn2(block.norm2(expected), reference[sample][None])
            expected = expected + block.attn_audio(block.norm_audio(expected), tokens[sample, frame][None])
            expected = expected + block.ff(block.norm3(expected))
            torch.testing.assert_close(ours[sample, frame][None], expected, rtol=0, atol=1e-5)
