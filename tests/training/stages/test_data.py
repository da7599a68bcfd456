"""Training samples: windows, references, weights and the clips that they come from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model
from tiny_runs import trainer

from training.model.config import EmoConfig
from training.speakers.speaker import make_clip
from training.stages.data import ClipFolder
from training.stages.regions import RegionWeights


def test_the_frames_before_a_window_end_where_its_motion_frames_do(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(np.random.default_rng(0), 8, weights=RegionWeights(), before=True)
    assert batch.before is not None
    assert batch.motion_latents is not None
    assert torch.equal(batch.before.latents[:, -data.config.motion_frames :], batch.motion_latents)
    assert torch.equal(batch.before.reference_latents, batch.reference_latents)


def test_the_reference_of_a_first_clip_is_the_frame_before(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    batch = data.videos(np.random.default_rng(0), 8, weights=RegionWeights(), first_clips=1)
    for reference, latents in zip(batch.reference_latents, batch.latents, strict=True):
        (clip,) = (c for c in data.latents if (c.float() == latents[0]).flatten(1).all(1).any())
        index = int((clip.float() == latents[0]).flatten(1).all(1).nonzero()[0])
        assert torch.equal(reference, clip[index - 1].float())


def test_pictures_that_latents_stand_for_are_not_kept(clips: Path, tmp_path: Path) -> None:
    for clip in trainer("video", clips, tmp_path).clips.clips:
        assert clip.frames.size == 0
        assert clip.frames.base is None


def test_the_face_weighs_more_and_the_mouth_most(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    (plain,) = data.videos(np.random.default_rng(0), 1, weights=RegionWeights()).loss_weight
    assert torch.equal(plain, torch.ones_like(plain))
    face, mouth, both = (
        data.videos(np.random.default_rng(0), 1, weights=weights).loss_weight[0]
        for weights in (RegionWeights(face=3), RegionWeights(mouth=8), RegionWeights(3, 8))
    )
    assert (face.min(), face.max()) == (1, 3)
    assert mouth.max() > 3
    assert torch.equal(both, torch.maximum(face, mouth))
    assert 0.02 < (mouth > 1).float().mean() < (face > 1).float().mean() < 0.8


def test_windows_with_a_still_head_can_be_asked_for(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    rng = np.random.default_rng(0)
    moving, still = (data.videos(rng, 64, weights=RegionWeights(), still=share).head_speed for share in (0.0, 1.0))
    assert moving is not None
    assert still is not None
    assert still.mean() < 0.8 * moving.mean()


def test_references_with_the_head_in_its_place_can_be_asked_for(clips: Path, tmp_path: Path) -> None:
    data = trainer("image", clips, tmp_path).clips
    clip = data.clips[0]
    data.clips, data.latents = [clip], [torch.arange(25.0).view(25, 1, 1, 1).expand_as(data.latents[0])]
    data.clips[0] = replace(clip, face_box=np.arange(25, dtype=np.float32)[:, None] + np.zeros((25, 4), np.float32))
    data.voiced = [0]
    distances = []
    for share in (0.0, 1.0):
        batch = data.images(np.random.default_rng(0), 64, RegionWeights(), still=share, voiced=True)
        distances.append((batch.latents[:, 0] - batch.reference_latents)[:, 0, 0, 0].abs().mean())
    assert distances[1] < 0.35 * distances[0]


def test_mouths_rest_beyond_the_end_of_a_video(clips: Path, tmp_path: Path) -> None:
    data = trainer("audio", clips, tmp_path).clips
    data.clips = [replace(data.clips[0], mouth_opening=np.full(25, 0.7), mouth_width=np.full(25, 0.2))]
    waveform, classes, mouths = data.voices(np.random.default_rng(0), 64)
    assert (len(waveform), len(classes), mouths.shape) == (64, 64, (64, data.config.clip_frames, 2))
    inside = mouths[..., 0] > 0.5
    assert inside[:, 0].all()
    assert not inside[:, -1].all()
    torch.testing.assert_close(mouths[inside], torch.tensor([0.7, 0.2]).expand(int(inside.sum()), 2))
    torch.testing.assert_close(mouths[~inside], torch.tensor([0.0, 0.5]).expand(int((~inside).sum()), 2))


def test_rare_head_speeds_can_be_asked_for_as_often_as_others(clips: Path, tmp_path: Path) -> None:
    data = trainer("video", clips, tmp_path).clips
    slow, fast = data.config.speed_centers[0], data.config.speed_centers[-1]
    data.clips = [replace(data.clips[0], head_speed=np.full(25, speed)) for speed in 9 * [slow] + [fast]]
    data.latents, data.voiced = 10 * [data.latents[0]], list(range(10))
    data.config = replace(data.config, speed_centers=(slow, fast), speed_radii=(1.0, 1.0))
    rng = np.random.default_rng(0)
    usual, every = (
        data.videos(rng, 200, weights=RegionWeights(), every_speed=share).head_speed for share in (0.0, 1.0)
    )
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
    assert not run.clips.clips[0].frames.size
    assert run.train_step() > 0


def test_compact_clips_train_like_the_others(config: EmoConfig, tmp_path: Path) -> None:
    for name in ("1.npz", "1.labels.npz", "2.labels.npz"):
        make_clip(int(name[0]), seconds=1.0, resolution=32).save(tmp_path / name)
    made = [make_clip(seed, seconds=1.0, resolution=32) for seed in (1, 2)]
    data = ClipFolder(tmp_path, config, emo_model(seed=7).vae)
    assert sorted(path.name for path in tmp_path.glob("latents-*/*")) == ["1.npy", "2.npy"]
    assert [clip.text for clip in data.clips] == [clip.text for clip in made]
    assert data.voiced == [0, 1]
    for clip, original in zip(data.clips, made, strict=True):
        np.testing.assert_allclose(clip.mouth_opening, original.mouth_opening, atol=1e-3)
    batch = data.videos(np.random.default_rng(0), 4, weights=RegionWeights())
    assert batch.latents.isfinite().all()


def test_a_folder_without_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no clips"):
        trainer("vae", tmp_path, tmp_path / "out")


def test_processes_share_the_encoding_and_read_the_same_clips(clips: Path, config: EmoConfig) -> None:
    vae = emo_model(seed=7).vae
    first, second = (ClipFolder(clips, config, vae, processes=(process, 2)) for process in (0, 1))
    assert [len(folder.clips) for folder in (first, second)] == [2, 2]
    for one, other in zip(first.latents, second.latents, strict=True):
        assert torch.equal(one, other)
    assert [clip.text for clip in first.clips] == [clip.text for clip in second.clips]


def test_reading_clips_loads_no_speech_synthesizer_and_no_reader_of_videos() -> None:
    program = (
        "import sys, training.stages.data; print([n for n in ('espeakng_loader', 'av', 'cv2') if n in sys.modules])"
    )
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
