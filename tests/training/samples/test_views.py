"""Views of a clip: what they show, and where they say that the face is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model

from training.clips.clip import TrainingClip
from training.samples.clip_folder import ClipFolder
from training.samples.views import random_view, seen, view_names
from training.speakers.speaker import make_clip


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    """One speaker, ten frames."""
    return make_clip(3, seconds=0.4, resolution=64)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_boxes_move_with_the_pictures(clip: TrainingClip, number: int) -> None:
    """A green patch in the face box stays in the face box."""
    frames = np.zeros_like(clip.frames)
    boxes = clip.face_box.round().astype(int)
    for frame, (x, y, width, height) in zip(frames, boxes, strict=True):
        frame[y : y + height, x : x + width, 1] = 200
    corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).astype(np.float32)
    marked = TrainingClip(**vars(clip) | {"frames": frames, "landmarks": corners})
    view = seen(marked, random_view(marked, number, 64), torch.device("cpu"))
    for frame, (x, y, width, height), landmarks in zip(view.frames, view.face_box, view.landmarks, strict=True):
        rows, columns = (frame[..., 1] > 60).nonzero()
        found = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
        np.testing.assert_allclose(found, (x, y, width, height), atol=2)
        np.testing.assert_allclose(landmarks.min(0), (x, y), atol=1)
        np.testing.assert_allclose(landmarks.max(0), (x + width, y + height), atol=1)


def test_every_second_view_is_mirrored_and_each_is_the_same_each_time(clip: TrainingClip) -> None:
    brighter_to_the_right = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None] * 3, clip.frames.shape).copy()
    marked = TrainingClip(**vars(clip) | {"frames": brighter_to_the_right})
    first, again, second = (
        seen(marked, random_view(marked, number, 64), torch.device("cpu")).frames for number in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == second.shape == clip.frames.shape
    assert first[0, 0, 0, 0] > first[0, 0, -1, 0]
    assert second[0, 0, 0, 0] < second[0, 0, -1, 0]


def test_in_a_mirrored_view_heads_turn_and_look_to_the_other_side(clip: TrainingClip) -> None:
    mirrored, other = (seen(clip, random_view(clip, number, 64), torch.device("cpu")) for number in (1, 2))
    np.testing.assert_array_equal(mirrored.rotation, clip.rotation * [-1, 1, -1])
    np.testing.assert_array_equal(mirrored.gaze, clip.gaze * [-1, 1])
    np.testing.assert_array_equal(other.rotation, clip.rotation)
    np.testing.assert_array_equal(other.gaze, clip.gaze)


def test_a_folder_has_as_many_views_as_asked_for_and_keeps_their_latents(tmp_path: Path) -> None:
    model = emo_model()
    make_clip(1, seconds=0.4, resolution=32).save(tmp_path / "a.npz")
    folder, again = (ClipFolder(tmp_path, model.config, model.vae, views=3) for _ in range(2))
    assert folder.names == view_names("a", 3)
    assert {path.stem for path in tmp_path.glob("latents-*/*")} == set(folder.names)
    assert folder.tensors.latents is not None
    assert again.tensors.latents is not None
    assert torch.equal(folder.tensors.latents, again.tensors.latents)
    assert torch.equal(folder.tensors.face_box, again.tensors.face_box)
    assert not torch.equal(folder.tensors.face_box[:10], folder.tensors.face_box[10:20])
