"""A drawn face moves where its motion says, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from training.speakers.drawn.people import sample_portraits
from training.speakers.drawn.render import render
from training.speakers.motion import Motion


def test_opening_the_mouth_changes_only_the_lower_face() -> None:
    portraits = sample_portraits(range(6))
    closed = render(portraits, Motion.rest(6), 128)
    opened = render(portraits, dataclasses.replace(Motion.rest(6), mouth_opening=torch.ones(6)), 128)
    changed = (opened.frames - closed.frames).abs().amax(1) > 0.02  # [B, H, W]
    for index in range(6):
        x, y, width, height = opened.mouth_box[index].tolist()
        rows, columns = torch.nonzero(changed[index], as_tuple=True)
        assert (rows > y - 4).float().mean() > 0.8
        assert rows.min() > y - 24  # the nose and the cheeks beside it, a little; eyes and hair not at all
        inside = (columns > x - 3) & (columns < x + width + 3) & (rows < y + height + 3)
        assert inside.float().mean() > 0.5  # the rest: the chin falls
        assert 8 < opened.mouth_box[index, 3] - closed.mouth_box[index, 3] < 20


def test_an_open_mouth_is_dark_and_looks_the_more_different_the_wider_it_is() -> None:
    openings = torch.linspace(0, 1, 9)
    for seed in range(8):
        portrait = sample_portraits([seed])
        rendering = render(portrait, dataclasses.replace(Motion.rest(9), mouth_opening=openings), 128)
        x, y, width, height = (int(value) for value in rendering.mouth_box[-1])
        mouths = rendering.frames[:, :, y : y + height, x : x + width]
        change = (mouths - mouths[:1]).abs().mean((1, 2, 3))
        assert np.corrcoef(openings.numpy(), change.numpy())[0, 1] > 0.9
        if portrait.skin.mean() > 0.7:  # in dark skin teeth and tongue are the brightest part
            assert np.corrcoef(openings.numpy(), mouths.mean((1, 2, 3)).numpy())[0, 1] < -0.6


def test_a_turning_head_moves_its_features_more_than_its_outline() -> None:
    turned = dataclasses.replace(Motion.rest(1), rotation=torch.tensor([[15.0, 0.0, 0.0]]))
    portrait = sample_portraits([1])
    shift = render(portrait, turned, 128).mouth_box - render(portrait, Motion.rest(1), 128).mouth_box
    assert 4 < shift[0, 0] + shift[0, 2] / 2 < 16
