"""What a model with a warp learns about movement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from training.clips.face_mesh import FACE_POINTS, LIP_CORNERS, LOWER_LIP, UPPER_LIP
from training.model.config import EmoConfig
from training.model.controls import LID_GAIN, Lids
from training.model.model import EmoModel
from training.model.warp import REACH, WARP_MAPS, WARP_POINTS
from training.stages.movement import between_lips, landmark_error, movement_error
from training.stages.recipe import Recipe
from training.stages.trainer import Trainer, TrainingOptions

SIDE = 4  # latents
FRAMES = 2
CLOSED = 0.5  # y of the lips
ALIKE = torch.ones(FRAMES, 1, SIDE, SIDE)  # weights


@pytest.fixture
def maps() -> Tensor:
    """A warp that moves nothing and shows all of the portrait."""
    maps = torch.zeros(1, FRAMES, WARP_MAPS, SIDE, SIDE)
    maps[:, :, 2 * WARP_POINTS**2 :] = 30
    return maps


@pytest.fixture
def face() -> Tensor:
    """A face (1, 468, 2) with closed lips, in the middle of the picture."""
    face = 0.3 + 0.4 * torch.rand(1, FACE_POINTS, 2, generator=torch.Generator().manual_seed(0))
    for lip in (UPPER_LIP, LOWER_LIP):
        face[0, list(lip)] = torch.stack([torch.linspace(0.4, 0.6, len(lip)), torch.full((len(lip),), CLOSED)], 1)
    face[0, list(LIP_CORNERS)] = torch.tensor([[0.4, CLOSED], [0.6, CLOSED]])
    return face


def in_frames(face: Tensor) -> Tensor:
    """The face (1, f, 468, 2) in each frame."""
    return face[:, None].repeat(1, FRAMES, 1, 1)


def test_a_movement_is_wrong_by_what_it_leaves_between_portrait_and_frames() -> None:
    """A bright bar moves right by a point: pixels of the frame come from the left."""
    side, pixels = 4 * WARP_POINTS, 2
    portrait = torch.full((1, 3, side * pixels, side * pixels), -1.0)
    portrait[..., 12:16] = 1
    frames = portrait.roll(pixels, -1)
    weight = torch.ones(1, 1, 4, 4)
    maps = torch.zeros(1, 1, WARP_MAPS, 4, 4, requires_grad=True)
    unmoved = movement_error(maps, portrait, frames, weight)
    assert unmoved.item() == pytest.approx(2 * 2 / side)  # two of 16 columns differ, by 2
    unmoved.backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    right, down = maps.grad[0, 0, : WARP_POINTS**2].sum(), maps.grad[0, 0, WARP_POINTS**2 : 2 * WARP_POINTS**2].sum()
    assert right > 0
    assert abs(down) < 1e-6 * right
    moving = torch.zeros(1, 1, WARP_MAPS, 4, 4)
    moving[:, :, : WARP_POINTS**2] = -1 / side / REACH
    assert movement_error(moving, portrait, frames, weight) < 1e-5
    moving[:, :, 2 * WARP_POINTS**2 :] = -30  # what is seen of it does not matter
    assert movement_error(moving, portrait, frames, weight) < 1e-5
    weight[..., :2] = 0  # the bar's left edge lies there
    assert movement_error(maps, portrait, frames, weight).item() == pytest.approx(2 / (side / 2))


def test_landmarks_are_wrong_by_how_far_they_are_from_where_they_come_from(maps: Tensor, face: Tensor) -> None:
    """A face that moves right and down: its pixels come from the left and from above."""
    right, down = 0.04, 0.02
    moved = in_frames(face + torch.tensor([right, down]))
    assert landmark_error(maps, in_frames(face), face, ALIKE) < 1e-5
    assert landmark_error(maps, moved, face, ALIKE).item() == pytest.approx((right + down) / REACH, rel=1e-3)
    maps[:, :, : WARP_POINTS**2] -= right / REACH
    assert landmark_error(maps, moved, face, ALIKE).item() == pytest.approx(down / REACH, rel=1e-3)
    maps[:, :, WARP_POINTS**2 : 2 * WARP_POINTS**2] -= down / REACH
    assert landmark_error(maps, moved, face, ALIKE) < 1e-5


def test_a_landmark_counts_as_much_as_the_latent_that_it_is_in(maps: Tensor, face: Tensor) -> None:
    """The left half of the face moves, and the right half weighs nothing, or all."""
    face[0, :, 0] = torch.where(face[0, :, 0] < 0.5, 0.3, 0.7)
    moved = in_frames(face - torch.tensor([0.04, 0.0]) * (face[..., :1] < 0.5))
    left, right = ALIKE.clone(), ALIKE.clone()
    left[..., 2:] = 0
    right[..., :2] = 0
    assert landmark_error(maps, moved, face, left).item() == pytest.approx(0.04 / REACH, rel=1e-3)
    assert landmark_error(maps, moved, face, right) < 1e-5


def test_the_portrait_is_seen_everywhere_but_between_the_lips(maps: Tensor, face: Tensor) -> None:
    seen = slice(2 * WARP_POINTS**2, None)
    hidden = maps.clone()
    hidden[:, :, seen] = -30
    assert landmark_error(maps, in_frames(face), face, ALIKE) < 1e-5  # closed lips: there is no inside
    assert landmark_error(hidden, in_frames(face), face, ALIKE) > 1
    parted = face.clone()
    parted[0, list(LOWER_LIP), 1] += 0.3
    holed = maps.clone()
    shown = 1 - 2 * between_lips(parted, SIDE * WARP_POINTS).round()
    holed[:, :, seen] = pixel_unshuffle(30 * shown[None], WARP_POINTS)
    with_hole, without = (landmark_error(each, in_frames(parted), parted, ALIKE) for each in (holed, maps))
    assert with_hole < 0.5 * without


def test_what_lies_between_the_lips(face: Tensor) -> None:
    """Lips from 0.4 to 0.6 across, parted by 0.25: as many points as their area has."""
    side = 40
    assert between_lips(face, side).sum() == 0
    face[0, list(LIP_CORNERS), 1] = 0.6
    face[0, list(LOWER_LIP), 1] += 0.25
    between = between_lips(face, side)[0]
    assert between.sum() / side**2 == pytest.approx(0.2 * 0.25, rel=0.05)
    rows, columns = between.nonzero(as_tuple=True)
    assert (int(rows.min()), int(rows.max())) == (20, 29)
    assert (int(columns.min()), int(columns.max())) == (16, 23)


def test_what_the_lids_do_is_no_error_of_the_warp(maps: Tensor, face: Tensor) -> None:
    """Eyes shut in the second frame by what the portrait's own lids do; the head moves as well."""
    field = torch.zeros(1, 2, 32, 32)
    field[:, 1] = -0.03 / LID_GAIN  # whatever is seen was above before
    lids = Lids(field, torch.tensor([[0.0, 1.0]]))
    frames = in_frames(face + torch.tensor([0.02, 0.0]))
    frames[:, 1, :, 1] += 0.03
    maps[:, :, : WARP_POINTS**2] -= 0.02 / REACH
    assert landmark_error(maps, frames, face, ALIKE, lids) < 1e-5
    assert landmark_error(maps, frames, face, ALIKE).item() == pytest.approx(0.03 / REACH / 2, rel=1e-3)


def test_unknown_landmarks_do_not_count(maps: Tensor, face: Tensor) -> None:
    frames, portrait = in_frames(face + 0.1), face.clone()
    whole = landmark_error(maps, frames, portrait, ALIKE)
    frames[:, 0] = torch.nan
    portrait[0, :100] = torch.nan
    maps.requires_grad_()
    some = landmark_error(maps, frames, portrait, ALIKE)
    torch.testing.assert_close(some, whole)
    some.backward()  # type: ignore[no-untyped-call]
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
    assert landmark_error(maps, torch.full_like(frames, torch.nan), portrait, ALIKE) == 0


@pytest.mark.parametrize("stage", ["image", "video"])
@pytest.mark.parametrize("setting", ["movement_weight", "landmark_weight"])
def test_movements_count_as_much_as_the_recipe_says(setting: str, stage: str, clips: Path, tmp_path: Path) -> None:
    warping = replace(EmoConfig.from_name("emo-test"), portrait_warp=True, vae_shortcut=True)
    recipe = replace(Recipe.load("emo-test", stage), own_motion=0)
    losses = []
    for weight in (0.0, 1.0, 2.0):
        torch.manual_seed(0)
        options = TrainingOptions(data=clips, out=tmp_path)
        run = Trainer(EmoModel(warping), stage, replace(recipe, **{setting: weight}), options)  # type: ignore[arg-type]
        places = torch.rand(
            len(run.clips.tensors.length), 1, FACE_POINTS, 2, generator=torch.Generator().manual_seed(0)
        )
        run.clips.tensors.landmarks = (32 * places).repeat_interleave(run.clips.tensors.length, 0).half()
        run.clips.tensors.landmarks = run.clips.tensors.landmarks.flatten(0, 1)
        losses.append(run.loss(np.random.default_rng(0)).item())
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)
