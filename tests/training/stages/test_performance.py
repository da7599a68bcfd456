"""Less memory and less precision: the same gradients, about."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from tiny_runs import trainer

from training.model import attention
from training.stages.losses import StageLoss
from training.stages.performance import RoundedModel, short_attention_by_products
from training.stages.recipe import Recipe


@pytest.mark.parametrize("stage", ["image", "video", "speed"])
def test_checkpointed_activations_give_the_same_gradients_from_less_memory(
    stage: str, clips: Path, tmp_path: Path
) -> None:
    kept, gradients = [], []
    for less in (False, True):
        run = trainer(stage, clips, tmp_path, gradient_checkpointing=less)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = run.loss(np.random.Generator(np.random.Philox(key=[0, 0])))
            kept.append(sum(sizes))
        gradients.append(torch.autograd.grad(loss, run.trained, allow_unused=True))
    for full, again in zip(*gradients, strict=True):
        assert (full is None) == (again is None)
        if full is not None:
            torch.testing.assert_close(again, full)
    assert kept[1] < kept[0] / 2
    grid = run.sample_grid()
    for parameter in run.model.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(run.sample_grid(), grid)  # the averaged model has blocks of its own


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(clips: Path, tmp_path: Path) -> None:
    AcceleratorState._reset_state()  # a process has one precision
    run = trainer("video", clips, tmp_path, mixed_precision="bf16")
    dtypes = {}
    for name, layer in [("conv", run.model.backbone.conv_in), ("norm", run.model.backbone.conv_norm_out)]:
        layer.register_forward_hook(lambda *arguments, name=name: dtypes.update({name: arguments[2].dtype}))
    loss = run.train_step()
    AcceleratorState._reset_state()
    assert dtypes == {"conv": torch.bfloat16, "norm": torch.float32}
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}
    assert loss == pytest.approx(float(trainer("video", clips, tmp_path).train_step()), rel=0.02)


def test_bfloat16_and_checkpointed_activations_go_together(clips: Path, tmp_path: Path) -> None:
    losses, gradients = [], []
    for less in (False, True):
        AcceleratorState._reset_state()
        run = trainer("video", clips, tmp_path, mixed_precision="bf16", gradient_checkpointing=less)
        losses.append(run.train_step())
        gradients.append([parameter.grad for parameter in run.trained if parameter.grad is not None])
    AcceleratorState._reset_state()
    assert losses[0] == losses[1]
    for full, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, full)


@pytest.mark.parametrize("stage", ["image", "video", "speed"])
def test_a_rounded_copy_computes_losses_and_gradients_for_the_model(stage: str, clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", stage), batch_size=8)
    run = trainer(stage, clips, tmp_path, recipe)
    rounded = RoundedModel(run.model)
    losses = []
    for model in (run.model, rounded.copy):
        loss = StageLoss(model, stage, recipe, run.clips, run.voice_heads)(np.random.default_rng(0))
        loss.backward()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]
    exact = torch.cat([own.grad.flatten() for own in run.trained if own.grad is not None])
    rounded.return_gradients()
    near = torch.cat([own.grad.flatten() for own in run.trained if own.grad is not None])
    assert torch.nn.functional.cosine_similarity(near, exact, dim=0) > 0.98
    run.optimizer.step()
    rounded.round()
    for own, other in zip(run.model.parameters(), rounded.copy.parameters(), strict=True):
        assert torch.equal(own.bfloat16(), other)


def test_products_give_what_fused_attention_gives(clips: Path, tmp_path: Path) -> None:
    run = trainer("video", clips, tmp_path)
    fused, found = attention.scaled_dot_product_attention, []
    for context in (nullcontext, short_attention_by_products):
        with context():
            loss = run.loss(np.random.default_rng(0))
            found.append(torch.autograd.grad(loss, run.trained, allow_unused=True))
            assert (attention.scaled_dot_product_attention is fused) == (context is nullcontext)
    assert attention.scaled_dot_product_attention is fused
    assert any(not torch.equal(one, other) for one, other in zip(*found, strict=True) if one is not None)
    for one, other in zip(*found, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)
