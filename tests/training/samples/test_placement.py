"""What belongs to a window of frames: its voice, its head speed, its reference and its face region."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import trainer

from training.samples.clip_folder import ClipFolder
from training.samples.regions import RegionWeights


@pytest.fixture
def numbered(clips: Path, tmp_path: Path) -> ClipFolder:
    """Clips in which the latents, the sound and the head speed of each frame are its number, counted from 1."""
    data = trainer("video", clips, tmp_path).clips
    tensors = data.tensors
    assert tensors.latents is not None
    number = torch.arange(1, len(tensors.latents) + 1)
    tensors.latents = number[:, None, None, None].half().expand(tensors.latents.shape)
    tensors.waveform = number[:, None].float().expand(tensors.waveform.shape)
    tensors.head_speed = number.float()
    tensors.gestures = number[:, None].float() * torch.tensor([1, 10, 100, 0.001])
    return data


def first_frames(latents: torch.Tensor) -> torch.Tensor:
    return latents[:, 0, 0, 0, 0].long()


def test_the_voice_is_that_of_the_window(numbered: ClipFolder) -> None:
    config, batch = numbered.config, numbered.videos(16, RegionWeights())
    assert batch.waveform is not None
    around = config.audio_margin + config.audio_context
    heard = batch.waveform.unflatten(1, (config.audio_window_frames, -1))
    assert (heard == heard[:, :, :1]).all()  # windows begin where frames do
    for first, sound in zip(first_frames(batch.latents).tolist(), heard[:, :, 0].long().tolist(), strict=True):
        assert sound[around : around + config.clip_frames] == list(range(first, first + config.clip_frames))


def test_the_head_speed_is_that_of_the_window(numbered: ClipFolder) -> None:
    config, batch = numbered.config, numbered.videos(16, RegionWeights())
    assert batch.head_speed is not None
    for first, speed in zip(first_frames(batch.latents).tolist(), batch.head_speed.long().tolist(), strict=True):
        inside = speed[config.audio_margin : config.audio_margin + config.clip_frames]
        assert inside == list(range(first, first + config.clip_frames))


def test_a_gesture_is_a_turn_away_from_the_reference(numbered: ClipFolder) -> None:
    for batch in (numbered.videos(16, RegionWeights()), numbered.images(16, RegionWeights())):
        frames, reference = batch.latents[:, :, 0, 0, 0], batch.reference_latents[:, None, 0, 0, 0]
        turned = (frames - reference)[..., None] * torch.tensor([1, 10, 100])
        torch.testing.assert_close(batch.gestures[..., :3], turned)
        torch.testing.assert_close(batch.gestures[..., 3], frames * 0.001)


def test_the_reference_is_any_frame_of_the_clip(numbered: ClipFolder) -> None:
    batch = numbered.videos(64, RegionWeights())
    distance = batch.reference_latents[:, 0, 0, 0].long() - first_frames(batch.latents)
    assert len(distance.unique()) > 8
    assert (distance < 0).any()
    images = numbered.images(64, RegionWeights())
    assert (images.reference_latents[:, 0, 0, 0] != images.latents[:, 0, 0, 0, 0]).float().mean() > 0.5


def test_the_face_region_holds_the_face_of_every_frame(numbered: ClipFolder) -> None:
    """Faces that move by a pixel a frame: the region reaches from the first to the last."""
    config, tensors = numbered.config, numbered.tensors
    within = torch.cat([torch.arange(int(count)) for count in tensors.length])
    side = config.resolution // 4
    tensors.face_box = torch.stack([within % (config.resolution // 2), *3 * [torch.full_like(within, side)]], 1).float()
    batch = numbered.videos(16, RegionWeights())
    for first, region in zip(first_frames(batch.latents).tolist(), batch.face_region[:, 0], strict=True):
        columns = region.amax(0)
        for box in tensors.face_box[first - 1 : first - 1 + config.clip_frames]:
            left, width = int(box[0]), int(box[2])
            assert columns[left : left + width].all()
        assert not region.all()
