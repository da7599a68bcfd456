"""Training samples: windows, references, weights and the clips that they come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model
from tiny_runs import trainer

from training.model.config import EmoConfig
from training.samples.clip_folder import ClipFolder, WindowChoice
from training.samples.regions import MOUTH_MARGIN, RegionWeights, latent_shares
from training.speakers.speaker import make_clip


def test_the_frames_before_a_window_end_where_its_motion_frames_do(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(8, RegionWeights(), WindowChoice(before=3))
    for _ in range(3):
        assert batch.before is not None
        assert batch.motion_latents is not None
        assert torch.equal(batch.before.latents[:, -data.config.motion_frames :], batch.motion_latents)
        assert torch.equal(batch.before.reference_latents, batch.reference_latents)
        batch = batch.before
    assert batch.before is None


def test_the_reference_of_a_first_clip_is_the_frame_before(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(8, RegionWeights(), WindowChoice(first_clips=1))
    assert data.tensors.latents is not None
    known = data.tensors.latents.float()
    for reference, latents in zip(batch.reference_latents, batch.latents, strict=True):
        (index,) = (known == latents[0]).flatten(1).all(1).nonzero()[:, 0].tolist()
        assert torch.equal(reference, known[index - 1])


def test_known_frames_can_have_the_mouths_of_another_moment(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    tensors, count = data.tensors, data.config.motion_frames
    assert tensors.latents is not None
    # Each latent says which frame it is from.
    index = torch.arange(len(tensors.latents))
    tensors.latents = index[:, None, None, None].half().expand(tensors.latents.shape)
    batch = data.videos(16, RegionWeights(), WindowChoice(other_mouths=1))
    assert batch.motion_latents is not None
    clip_of = torch.zeros_like(index)
    for number, start in enumerate(tensors.start.tolist()):
        clip_of[start:] = number
    exchanged = 0
    for motion, latents in zip(batch.motion_latents[:, :, 0].long(), batch.latents[:, 0, 0, 0, 0].long(), strict=True):
        for frame, maps in zip(range(int(latents) - count, int(latents)), motion, strict=True):
            mouth = latent_shares(tensors.mouth_box[frame], data.config, MOUTH_MARGIN)[0] > 0
            assert mouth.any()
            assert (maps[~mouth] == frame).all()
            (other,) = maps[mouth].unique().tolist()
            assert clip_of[other] == clip_of[frame]
            exchanged += other != frame
    assert exchanged > 8 * count
    again = data.videos(16, RegionWeights()).motion_latents
    assert again is not None
    assert (again.flatten(2) == again[:, :, :1, :1, :1].flatten(2)).all()


def test_references_can_have_closed_mouths_and_their_heads_in_place(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    tensors = data.tensors
    assert tensors.latents is not None
    index = torch.arange(len(tensors.latents))
    tensors.latents = index[:, None, None, None].half().expand(tensors.latents.shape)
    tensors.face_box[:] = torch.tensor([8.0, 8.0, 16.0, 16.0])
    tensors.mouth[:, 0] = (index % 2).float()  # every second mouth is closed

    def references(share: float) -> torch.Tensor:
        torch.manual_seed(0)
        return data.videos(64, RegionWeights(), WindowChoice(closed_mouths=share)).reference_latents[:, 0, 0, 0].long()

    assert 16 < (references(0.0) % 2).sum() < 48
    assert (references(1.0) % 2).sum() <= 2  # eight random frames, all of them with open mouths, are rare
    assert 4 < (references(0.5) % 2).sum() < 28
    tensors.face_box[::2, 0] += 32  # heads with closed mouths are two faces away from half of the windows
    torch.manual_seed(0)
    batch = data.videos(64, RegionWeights(), WindowChoice(closed_mouths=1))
    first, reference = batch.latents[:, 0, 0, 0, 0].long(), batch.reference_latents[:, 0, 0, 0].long()
    assert (first % 2 == reference % 2).float().mean() > 0.9


def test_no_sample_reaches_into_another_clip(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    clip = torch.arange(len(data.tensors.start)).repeat_interleave(data.tensors.length)
    assert data.tensors.latents is not None
    shape = data.tensors.latents.shape[1:]
    data.tensors.latents = clip[:, None, None, None].half().expand(-1, *shape)
    data.tensors.waveform = clip[:, None] + torch.ones_like(data.tensors.waveform)
    batch = data.videos(64, RegionWeights(), WindowChoice(still=0.5, first_clips=0.5, before=3))
    assert batch.waveform is not None
    for sample, sound, reference in zip(batch.latents, batch.waveform, batch.reference_latents, strict=True):
        assert (sample == sample[0]).all()
        assert (reference == sample[0]).all()
        assert set(sound.tolist()) <= {0.0, float(sample[0, 0, 0, 0]) + 1}
    assert {float(sample[0, 0, 0, 0]) for sample in batch.latents} == {0.0, 1.0}


def test_pictures_that_latents_stand_for_are_not_kept(clips: Path, tmp_path: Path) -> None:
    assert trainer("video", clips, tmp_path).clips.tensors.pictures is None


def test_the_face_weighs_more_and_the_mouth_most(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    torch.manual_seed(0)
    (plain,) = data.videos(1, RegionWeights()).loss_weight
    assert torch.equal(plain, torch.ones_like(plain))

    def weight(weights: RegionWeights) -> torch.Tensor:
        torch.manual_seed(0)
        return data.videos(1, weights).loss_weight[0]

    face, mouth, both = weight(RegionWeights(face=3)), weight(RegionWeights(mouth=8)), weight(RegionWeights(3, 8))
    assert (face.min(), face.max()) == (1, 3)
    assert mouth.max() > 3
    assert torch.equal(both, torch.maximum(face, mouth))
    assert 0.02 < (mouth > 1).float().mean() < (face > 1).float().mean() < 0.8


def test_windows_with_a_still_head_can_be_asked_for(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    torch.manual_seed(0)
    moving, still = (data.videos(64, RegionWeights(), WindowChoice(still=share)).head_speed for share in (0.0, 1.0))
    assert moving is not None
    assert still is not None
    assert still.mean() < 0.8 * moving.mean()


def test_references_with_the_head_in_its_place_can_be_asked_for(clips: Path, tmp_path: Path) -> None:
    data = trainer("image", clips, tmp_path).clips
    frames = torch.arange(25.0).repeat(2)  # of two clips, in which the face moves by a pixel each frame
    assert data.tensors.latents is not None
    data.tensors.latents = frames[:, None, None, None].expand_as(data.tensors.latents)
    data.tensors.face_box = frames[:, None].expand(-1, 4)
    torch.manual_seed(0)
    distances = []
    for share in (0.0, 1.0):
        batch = data.images(64, RegionWeights(), still=share, voiced=True)
        distances.append((batch.latents[:, 0] - batch.reference_latents)[:, 0, 0, 0].abs().mean())
    assert distances[1] < 0.35 * distances[0]


def test_mouths_rest_beyond_the_end_of_a_video(clips: Path, tmp_path: Path) -> None:
    data = trainer("audio", clips, tmp_path).clips
    data.tensors.mouth = torch.tensor([0.7, 0.2]).expand(50, 2)
    torch.manual_seed(0)
    waveform, classes, mouths = data.voices(64)
    assert (len(waveform), len(classes), mouths.shape) == (64, 64, (64, data.config.clip_frames, 2))
    inside = mouths[..., 0] > 0.5
    assert inside[:, 0].all()
    assert not inside[:, -1].all()
    torch.testing.assert_close(mouths[inside], torch.tensor([0.7, 0.2]).expand(int(inside.sum()), 2))
    torch.testing.assert_close(mouths[~inside], torch.tensor([0.0, 0.5]).expand(int((~inside).sum()), 2))


def test_rare_head_speeds_can_be_asked_for_as_often_as_others(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    slow, fast = data.config.speed_centers[0], data.config.speed_centers[-1]
    data.tensors.start, data.tensors.length = torch.arange(0, 50, 25).repeat(5), torch.full((10,), 25)
    data.tensors.voiced = torch.arange(10)
    data.tensors.start[:9] = 0  # nine slow clips and a fast one
    data.tensors.head_speed = torch.tensor([slow, fast]).repeat_interleave(25)
    data._speeds = torch.tensor([slow, fast])
    torch.manual_seed(0)
    usual, every = (data.videos(200, RegionWeights(), WindowChoice(every_speed=share)).head_speed for share in (0, 1))
    assert usual is not None
    assert every is not None
    share = [float((speeds.mean(1) > (slow + fast) / 2).float().mean()) for speeds in (usual, every)]
    assert share[0] < 0.2
    assert 0.4 < share[1] < 0.6


def test_clips_of_another_resolution_are_refused(tmp_path: Path) -> None:
    make_clip(3, seconds=0.4, resolution=40).save(tmp_path / "3.npz")
    with pytest.raises(ValueError, match=r"3.npz has 40 pixels a side, emo-test 32"):
        trainer("vae", tmp_path, tmp_path / "out")


def test_voices_are_learned_from_clips_of_any_resolution(tmp_path: Path) -> None:
    make_clip(3, seconds=0.4, resolution=40).save(tmp_path / "3.npz")
    run = trainer("audio", tmp_path, tmp_path / "out")
    assert run.clips.tensors.pictures is None
    assert run.train_step() > 0


def test_compact_clips_train_like_the_others(config: EmoConfig, tmp_path: Path) -> None:
    for name in ("1.npz", "1.labels.npz", "2.labels.npz"):
        make_clip(int(name[0]), seconds=1.0, resolution=32).save(tmp_path / name)
    made = [make_clip(seed, seconds=1.0, resolution=32) for seed in (1, 2)]
    data = ClipFolder(tmp_path, config, emo_model(seed=7).vae)
    assert sorted(path.name for path in tmp_path.glob("latents-*/*")) == ["1.npy", "2.npy"]
    assert data.names == ["1", "2"]
    assert data.tensors.voiced.tolist() == [0, 1]
    original = np.concatenate([clip.mouth_opening for clip in made])
    np.testing.assert_allclose(data.tensors.mouth[:, 0], original, atol=1e-3)
    batch = data.videos(4, RegionWeights())
    assert batch.latents.isfinite().all()


def test_a_folder_without_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no clips"):
        trainer("vae", tmp_path, tmp_path / "out")


def test_processes_share_the_encoding_and_read_the_same_clips(clips: Path, config: EmoConfig) -> None:
    vae = emo_model(seed=7).vae
    first, second = (ClipFolder(clips, config, vae, processes=(process, 2)) for process in (0, 1))
    assert first.names == second.names
    assert len(first.names) == 2
    for one, other in zip(vars(first.tensors).values(), vars(second.tensors).values(), strict=True):
        if one is not None or other is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_reading_clips_loads_no_speech_synthesizer_and_no_reader_of_videos() -> None:
    found = "print([name for name in ('espeakng_loader', 'av', 'cv2') if name in sys.modules])"
    program = f"import sys, training.samples.clip_folder; {found}"
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
