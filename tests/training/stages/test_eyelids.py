"""What the eyelids' network learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model
from tiny_runs import trainer

from training.clips.clip import TrainingClip
from training.clips.face_mesh import EYES, FACE_POINTS
from training.speakers.puppets.expressions import shutting
from training.speakers.puppets.face_tables import face_tables
from training.stages.movement import UNIT, eyelid_error, varied
from training.stages.recipe import Recipe
from training.stages.stage import trained_parameters

LID = EYES[0][0][3], EYES[0][1][3]  # the middles of an upper and a lower lid


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Two faces (2, 468, 2) with open eyes, in widths of the picture."""
    points = torch.from_numpy(face_tables().points[:FACE_POINTS, :2]).float() * torch.tensor([1.0, -1.0])
    points = (points - points.mean(0)) / (points.amax(0) - points.amin(0)).max()
    return torch.stack([0.5 + 0.6 * points, 0.45 + 0.5 * points])


def shut_faces(faces: torch.Tensor) -> torch.Tensor:
    return faces + torch.from_numpy(np.stack([shutting(face.double().numpy()) for face in faces])).float()


def test_it_is_least_where_upper_lids_come_from_above(faces: torch.Tensor) -> None:
    """A field that follows the landmarks is found by descent, and beats one that moves nothing by far."""
    shut, field = shut_faces(faces), torch.zeros(2, 2, 128, 128, requires_grad=True)
    before = eyelid_error(field, faces, shut)
    optimizer = torch.optim.Adam([field], lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        error = eyelid_error(field, faces, shut)
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert error < 0.2 * before
    upper, lower = LID
    opening = faces[0, lower, 1] - faces[0, upper, 1]
    x, y = ((128 * shut[0, upper]).long()).tolist()
    assert field[0, 1, y, x].item() == pytest.approx(-0.92 * opening.item(), rel=0.4)
    assert field[0, :, 120].abs().max() < UNIT  # the chin keeps still


def test_unknown_landmarks_do_not_count(faces: torch.Tensor) -> None:
    shut, field = shut_faces(faces), torch.zeros(2, 2, 64, 64)
    both = eyelid_error(field[:1], faces[:1], shut[:1])
    unknown = faces.clone()
    unknown[1] = torch.nan
    torch.testing.assert_close(eyelid_error(field, unknown, shut), both)
    assert eyelid_error(field, torch.full_like(faces, torch.nan), shut) == 0


def test_landmarks_go_where_their_places_in_the_picture_go(faces: torch.Tensor) -> None:
    """A white dot at a landmark is found at that landmark afterwards."""
    torch.manual_seed(2)
    side, point = 256, EYES[0][2][0]
    portraits = torch.full((2, 3, side, side), -1.0)
    for picture, face in zip(portraits, faces, strict=True):
        x, y = (face[point] * side).long().tolist()
        picture[:, y - 2 : y + 3, x - 2 : x + 3] = 1
    seen, opened, shut = varied(portraits, faces)
    assert not torch.allclose(opened, faces, atol=0.01)
    for picture, face in zip(seen, opened, strict=True):
        rows, columns = (picture.mean(0) > picture.max() - 0.5).nonzero(as_tuple=True)
        middle = torch.stack([columns.float().mean(), rows.float().mean()]) / side
        torch.testing.assert_close(middle, face[point], atol=0.012, rtol=0)
    upper, lower = LID
    assert (
        (shut[:, upper] - opened[:, lower]).norm(dim=-1) < 0.2 * (opened[:, upper] - opened[:, lower]).norm(dim=-1)
    ).all()


@pytest.fixture
def known(clips: Path, tmp_path: Path, faces: torch.Tensor) -> Path:
    """Clips that know the landmarks."""
    folder = tmp_path / "known"
    folder.mkdir()
    clip = TrainingClip.load(clips / "1.npz")
    landmarks = (faces[:1] * clip.frames.shape[1]).repeat(len(clip.frames), 1, 1).numpy()
    replace(clip, landmarks=landmarks).save(folder / "1.npz")
    return folder


def test_the_stage_trains_the_eyelids_alone_and_shows_them(known: Path, tmp_path: Path) -> None:
    model = emo_model(portrait_warp=True, vae_shortcut=True, eyelids=True)
    recipe = Recipe(steps=30, batch_size=4, learning_rate=1e-2)
    run = trainer("eyelids", known, tmp_path / "out", recipe, model)
    assert {name.split(".")[0] for name in trained_parameters(model, "eyelids")} == {"eyelids"}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    losses = [run.train_step().item() for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith("eyelids."), name
    picture = run.sample_grid()
    assert picture is not None
    assert picture.shape == (3 * 32, 4 * 32, 3)


def test_what_the_stage_needs_is_said(clips: Path, known: Path, tmp_path: Path) -> None:
    recipe = Recipe(steps=2, batch_size=2, learning_rate=1e-3)
    with pytest.raises(ValueError, match="emo-test has no eyelids to train: set `eyelids` in its config"):
        trainer("eyelids", known, tmp_path, recipe)
    with pytest.raises(ValueError, match="has no landmarks"):
        trainer("eyelids", clips, tmp_path, recipe, emo_model(portrait_warp=True, vae_shortcut=True, eyelids=True))
