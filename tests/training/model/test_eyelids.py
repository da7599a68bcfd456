"""How the eyes of a portrait shut."""

from __future__ import annotations

import pytest
import torch
from tiny_models import Inputs, emo_model
from torch.nn.functional import affine_grid

from training.model.controls import LID_GAIN, Eyelids, Lids
from training.model.warp import WARP_MAPS, composed, moved_portrait

RESOLUTION = 32


def unmoved(frames: int) -> torch.Tensor:
    return affine_grid(torch.eye(2, 3).expand(frames, 2, 3), [frames, 1, RESOLUTION, RESOLUTION], align_corners=False)


def test_a_new_network_moves_nothing_and_a_trained_one_reads_each_portrait() -> None:
    eyelids, portraits = Eyelids(), torch.rand(2, 3, RESOLUTION, RESOLUTION) * 2 - 1
    assert torch.equal(eyelids(portraits), torch.zeros(2, 2, RESOLUTION // 2, RESOLUTION // 2))
    torch.nn.init.normal_(eyelids.out.weight)
    first, second = eyelids(portraits)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(eyelids(portraits[1:])[0], second)


def test_each_frame_shuts_the_eyes_of_its_portrait_as_far_as_it_says() -> None:
    field = torch.zeros(2, 2, 16, 16)
    field[0, 1], field[1, 0] = -0.1, 0.05
    lids = Lids(field, torch.tensor([[0.0, 1.0], [0.5, 1.0]]))
    grid = unmoved(4)
    away = (lids.shut(grid) - grid)[:, 8, 8]  # of widths, which are 2
    torch.testing.assert_close(away, LID_GAIN * torch.tensor([[0.0, 0.0], [0.0, -0.2], [0.05, 0.0], [0.1, 0.0]]))


def test_lids_shut_where_they_are_seen_when_the_head_moves() -> None:
    """The field belongs to the portrait: what comes from a place shuts as that place does."""
    field = torch.zeros(1, 2, 16, 16)
    field[:, 1, :8] = 0.1  # the upper half moves
    grid = unmoved(1)
    grid[..., 1] -= 0.5  # everything is seen a quarter of the picture lower
    away = (Lids(field, torch.ones(1, 1)).shut(grid) - grid)[0, :, 16, 1]
    torch.testing.assert_close(away[:22], torch.full((22,), 0.2 * LID_GAIN))
    assert not away[26:].any()


def test_frames_show_the_portrait_with_its_eyes_shut() -> None:
    portrait = torch.rand(1, 3, RESOLUTION, RESOLUTION) * 2 - 1
    field = torch.zeros(1, 2, 16, 16)
    field[:, 1] = 4 / RESOLUTION / LID_GAIN
    maps = torch.zeros(1, 2, WARP_MAPS, 4, 4)
    moved, _ = moved_portrait(maps, portrait, Lids(field, torch.tensor([[0.0, 1.0]])))
    torch.testing.assert_close(moved[0], portrait[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1, :, :-4], portrait[0, :, 4:], atol=1e-4, rtol=0)


def test_a_model_with_eyelids_takes_what_its_frames_say() -> None:
    model = emo_model(portrait_warp=True, vae_shortcut=True, eyelids=True)
    torch.nn.init.normal_(model.eyelids.out.weight)
    inputs = Inputs(model.config)
    config = model.config
    shape = config.clip_frames, config.latent_channels + WARP_MAPS, config.latent_size, config.latent_size
    prediction = torch.randn(1, *shape)
    assert inputs.gestures is not None
    inputs.gestures[..., 3] = 0.0
    opened = composed(prediction, inputs.conditions(model), model.vae)
    inputs.gestures[:, 2, 3] = 1.0
    shut = composed(prediction, inputs.conditions(model), model.vae)
    differs = (opened - shut).abs().amax((0, 2, 3, 4)) > 1e-4
    assert differs.nonzero().flatten().tolist() == [2]
    inputs.gestures = None
    with pytest.raises(ValueError, match="takes the gestures of each frame"):
        inputs.conditions(model)


@pytest.mark.parametrize("changes", [{"portrait_warp": False}, {"resolution": 24}])
def test_what_eyelids_cannot_do_without_is_said(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="eyelids need portrait_warp, and a resolution that is a multiple of 16"):
        emo_model(**{"portrait_warp": True, "vae_shortcut": True, "eyelids": True, **changes})
