"""What a model with a warp learns about movement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training.clips.face_mesh import FACE_POINTS, LOWER_LIP, UPPER_LIP
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.warp import REACH, WARP_MAPS, WARP_POINTS
from training.stages.movement import landmark_error, movement_error
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


def test_a_landmark_is_seen_and_the_inside_of_the_mouth_is_not(maps: Tensor, face: Tensor) -> None:
    half = WARP_POINTS**2 * 2
    shown, hidden = maps.clone(), maps.clone()
    hidden[:, :, half:] = -30
    assert landmark_error(shown, in_frames(face), face, ALIKE) < 1e-5  # closed lips: there is no inside
    assert landmark_error(hidden, in_frames(face), face, ALIKE) > 0.2
    parted = face.clone()
    parted[0, list(LOWER_LIP), 1] += 0.3
    shown_inside, hidden_inside = (
        landmark_error(maps, in_frames(parted), parted, ALIKE).item() for maps in (shown, _with_a_hole(shown))
    )
    assert hidden_inside < 0.7 * shown_inside


def _with_a_hole(maps: Tensor) -> Tensor:
    """The portrait is not seen between lips that are parted by 0.3: points 9 to 11 down, 6 to 9 across."""
    points = torch.full((1, 1, SIDE * WARP_POINTS, SIDE * WARP_POINTS), 30.0)
    points[..., 9:12, 6:10] = -30
    holed = maps.clone()
    holed[:, :, 2 * WARP_POINTS**2 :] = torch.nn.functional.pixel_unshuffle(points, WARP_POINTS)
    return holed


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
