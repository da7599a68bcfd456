"""Temporal modules: AnimateDiff's, with motion frames in front and cross-attention to speed inside."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from tiny_models import emo_model, motion_adapter
from torch import Tensor

from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.temporal import TemporalModule
from training.stages.published import inherit_motion_adapter

Pair = tuple[TemporalModule, AnimateDiffTransformer3D]


@pytest.fixture(scope="module")
def pairs(config: EmoConfig) -> list[Pair]:
    """Each temporal module beside the module of AnimateDiff whose weights it has."""
    model, adapter = emo_model(seed=4), motion_adapter(config)
    inherit_motion_adapter(model, adapter.state_dict())
    levels = [*adapter.down_blocks, adapter.mid_block, *adapter.up_blocks]
    theirs = [module for level in levels for module in level.motion_modules]
    return list(zip(model.backbone.temporal_modules(), theirs, strict=True))


def maps(module: TemporalModule, batch: int, frames: int) -> Tensor:
    return torch.randn(batch, frames, module.proj_in.in_features, 3, 2)


def test_without_motion_frames_and_speed_a_module_is_animatediffs(pairs: list[Pair]) -> None:
    for ours, theirs in pairs:
        noisy = maps(ours, 2, 5)
        expected = theirs(noisy.flatten(0, 1), num_frames=5).unflatten(0, (2, 5))
        torch.testing.assert_close(ours(noisy, None, None), expected, rtol=0, atol=1e-5)


def test_motion_frames_are_frames_in_front_that_see_only_each_other(pairs: list[Pair]) -> None:
    """AnimateDiff's own block over n + f frames, its attention masked."""
    n, f = 2, 4
    mask = torch.zeros(1, n + f, n + f)
    mask[:, :n, n:] = -torch.inf
    for ours, theirs in pairs:
        motion, noisy = maps(ours, 2, n), maps(ours, 2, f)
        entered = []
        for frames in (motion, noisy):  # the norm's statistics are those of each, so that motion keys stay the same
            normed = theirs.norm(frames.transpose(1, 2)).permute(0, 3, 4, 2, 1).flatten(0, 2)
            entered.append(theirs.proj_in(normed))
        tokens = torch.cat(entered, 1)
        block = theirs.transformer_blocks[0]
        masks = mask.expand(len(tokens), -1, -1)
        attended = block(tokens, attention_mask=masks, encoder_attention_mask=masks)
        left = theirs.proj_out(attended[:, n:]).unflatten(0, (2, 3, 2)).permute(0, 3, 4, 1, 2)
        result = ours(noisy, ours.motion_keys(motion), None)
        torch.testing.assert_close(result, noisy + left, rtol=0, atol=1e-5)
        assert (result - ours(noisy, None, None)).abs().max() > 1e-3


def test_speed_attention_is_cross_attention_of_each_pixel_to_the_speed_of_all_frames(pairs: list[Pair]) -> None:
    for ours, _ in pairs:
        block = ours.block
        hidden, tokens = torch.randn(2 * 6, 4, ours.proj_in.in_features), torch.randn(2, 4, 8)
        speed = block.attn_speed.to_k(tokens), block.attn_speed.to_v(tokens)
        position = block.pos_embed.pe[:, :4]
        expected = hidden
        for norm, layer in ((block.norm1, block.attn1), (block.norm2, block.attn2)):
            expected = expected + layer(norm(expected) + position)
        query = block.norm_speed(expected) + position
        expected = expected + block.attn_speed(query, tokens.repeat_interleave(6, 0))
        expected = expected + block.ff(block.norm3(expected))
        torch.testing.assert_close(block(hidden, None, speed), expected, rtol=0, atol=1e-5)


def test_only_the_levels_that_the_config_names_have_temporal_modules() -> None:
    """Motion frames still reach the prediction, through the levels that are left."""
    everywhere, low = emo_model(), emo_model(temporal_levels=(False, True))
    assert low.backbone.temporal_places == [False, True, True, True, True, False, False]
    assert len(everywhere.backbone.temporal_modules()) == 7
    channels = [module.proj_in.in_features for module in low.backbone.temporal_modules()]
    assert channels == [32] * 4
    config = low.config
    frame = (config.latent_channels, config.latent_size, config.latent_size)
    torch.manual_seed(0)
    portrait, noisy = torch.randn(1, *frame), torch.randn(1, config.clip_frames, *frame)
    motion = torch.randn(1, config.motion_frames, *frame)
    features = low.reference_net(motion[0])[1]
    assert [maps.shape[1] for maps in features] == channels
    predictions = []
    for frames in (motion, motion + 0.5):
        conditions = Conditions.merged(
            low.backbone.motion_conditions([maps[None] for maps in low.reference_net(frames[0])[1]]),
            low.backbone.reference_conditions(low.reference_net(portrait)[0]),
        )
        predictions.append(low.backbone(noisy, torch.tensor([500]), conditions))
    assert not torch.allclose(*predictions)


def test_temporal_levels_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="temporal_levels must have one entry per level"):
        emo_model(temporal_levels=(True, False, True))
