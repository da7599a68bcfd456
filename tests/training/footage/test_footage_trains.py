"""The stages that footage can train take its clips, and the others say what is missing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from footage_videos import LENGTH, TheSameFace, one_video, write_video

from training import train
from training.clips.clip import TrainingClip
from training.clips.folder import load_clips
from training.clips.rotation import head_speed
from training.evaluation.reader import FaceReader
from training.footage import preparation
from training.footage.face_models import FaceModels
from training.model.config import EmoConfig
from training.model.vae import VAE
from training.samples.clip_folder import ClipFolder, WindowChoice
from training.samples.regions import RegionWeights
from training.speakers.speaker import make_clip
from training.stages.stage import REQUIRED_FIELDS


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(EmoConfig.from_name("emo-test")).eval()


def test_videos_are_drawn_from_clips_with_sound_alone(prepared: Path, vae: VAE, tmp_path: Path) -> None:
    """Of ben with sound and cleo without."""
    folder = shutil.copytree(prepared / "train", tmp_path / "train")
    clips = ClipFolder(folder, vae_config(), vae)
    assert clips.tensors.voiced.tolist() == [1]
    assert clips.tensors.latents is not None
    parts = clips.tensors.latents.split(clips.tensors.length.tolist())
    first, second = (set(map(hash_of, latents)) for latents in parts)
    images = clips.images(32, RegionWeights(mouth=2))
    drawn = {hash_of(image[0]) for image in images.latents.half()}
    assert drawn & first
    assert drawn & second
    videos = clips.videos(32, RegionWeights(mouth=2), WindowChoice(still=0.5, first_clips=0.5, before=1))
    assert {hash_of(image) for image in videos.latents.half().flatten(0, 1)} <= second
    assert videos.waveform is not None
    assert videos.head_speed is None


def vae_config() -> EmoConfig:
    return EmoConfig.from_name("emo-test")


def hash_of(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.contiguous().numpy().tobytes()).hexdigest()


def train_one_step(stage: str, data: Path, out: Path) -> int:
    options = ["--config", "emo-test", "--steps", "1", "--device", "cpu", "--threads", "1"]
    return train.main(["--stage", stage, "--data", str(data), "--out", str(out), *options])


@pytest.mark.parametrize("stage", ["vae", "image", "video"])
def test_footage_trains(stage: str, prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared / "train", tmp_path / "train")
    assert train_one_step(stage, folder, tmp_path / "out") == 0
    assert (tmp_path / "out" / "state.pt").exists()


@pytest.mark.parametrize(("stage", "hint"), [("speed", "--landmarker or --reader"), ("audio", "training.corpus")])
def test_stages_that_footage_cannot_train_say_so(
    stage: str, hint: str, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(prepared / "held-out", tmp_path / "held-out")
    assert train_one_step(stage, folder, tmp_path / "out") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "talk-7442d415-000000.npz has no" in line
    assert hint in line


def test_footage_without_sound_trains_no_video(prepared: Path, tmp_path: Path, vae: VAE) -> None:
    (silent,) = (prepared / "train").glob("cleo*.npz")
    shutil.copy(silent, tmp_path)
    with pytest.raises(ValueError, match=r"cleo_0.*npz has no waveform: only the image stage"):
        ClipFolder(tmp_path, vae_config(), vae, needs=REQUIRED_FIELDS["video"])
    with pytest.raises(ValueError, match="no clip has a voice"):
        ClipFolder(tmp_path, vae_config(), vae).videos(1, RegionWeights())


def test_generated_and_real_clips_mix(prepared: Path, tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    folder = shutil.copytree(prepared / "train", tmp_path / "train")
    make_clip(9, 1.0, 32).save(folder / "generated.npz")
    needs = {
        stage: len(ClipFolder(folder, vae_config(), needs=names).names)
        for stage, names in REQUIRED_FIELDS.items()
        if stage != "eyelids"  # it learns from photo puppets alone
    }
    assert needs == {"audio": 1, "video": 2, "speed": 1}


def test_a_reader_turns_pictures_into_rotation(
    tmp_path: Path, speakers: dict[str, TrainingClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    reader = FaceReader().eval()
    monkeypatch.setattr(preparation, "load_face_models", lambda _: FaceModels(TheSameFace(), reader))
    write_video(tmp_path / "in" / "anna.mp4", speakers["anna"].frames, waveform=speakers["anna"].waveform)
    line, (clip,) = one_video(tmp_path / "in", tmp_path / "out")
    read = reader.read(clip.frames).rotation
    np.testing.assert_allclose(clip.rotation[10], read[8:13].mean(0), rtol=1e-4)  # smoothed
    np.testing.assert_allclose(clip.head_speed, head_speed(clip.rotation), rtol=1e-3, atol=1e-4)
    assert clip.rotation.shape == (LENGTH, 3)
    assert clip.head_speed.shape == (LENGTH,)
    assert line["seconds_with_rotation"] == 1.0
    assert train_one_step("speed", tmp_path / "out" / str(line["split"]), tmp_path / "speed") == 0


def test_measuring_lip_sync_needs_labels(prepared: Path) -> None:
    with pytest.raises(ValueError, match=r"talk-7442d415-000000.npz has no mouth_opening: footage has no such labels"):
        load_clips(prepared / "held-out")
