"""Head rotation speed as soft buckets."""

from __future__ import annotations

import math

import torch
from tiny_models import emo_model

from training.model.model import EmoModel


def test_a_speed_falls_into_buckets_as_the_paper_says() -> None:
    """s_d = tanh((w - c_d) / r_d * 3), by hand."""
    encoder = emo_model(speed_centers=(0.0, 0.5, 2.0), speed_radii=(0.25, 0.5, 1.0)).speed_encoder
    expected = {
        0.0: (0.0, math.tanh(-3), math.tanh(-6)),
        0.25: (math.tanh(3), math.tanh(-1.5), math.tanh(-5.25)),
        2.0: (math.tanh(24), math.tanh(9), 0.0),
        3.0: (math.tanh(36), math.tanh(15), math.tanh(3)),
    }
    buckets = encoder.buckets(torch.tensor([list(expected)]))
    assert buckets.shape == (1, 4, 3)
    torch.testing.assert_close(buckets[0], torch.tensor(list(expected.values())))


def test_a_token_knows_the_speeds_within_its_margin_in_their_order(model: EmoModel) -> None:
    config, encoder = model.config, model.speed_encoder
    margin, frames = config.audio_margin, 7
    speed = torch.rand(1, frames + 2 * margin) * 2
    tokens = encoder(speed)
    assert tokens.shape == (1, frames, config.speed_channels)
    for position in range(frames + 2 * margin):
        other = speed.clone()
        other[0, position] += 0.4
        changed = (encoder(other) - tokens)[0].abs().amax(1) > 1e-6
        near = [frame for frame in range(frames) if abs(frame - (position - margin)) <= margin]
        assert torch.nonzero(changed).flatten().tolist() == near
    window = encoder.buckets(speed[:, 1 : 2 + 2 * margin]).flatten(1)  # oldest first, all buckets of a frame together
    torch.testing.assert_close(tokens[:, 1], encoder.mlp(window) + encoder.positions[:, 1])
