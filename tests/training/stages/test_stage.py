"""The stages: what trains, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model
from tiny_runs import TEST_STAGES, trainer

from training.clips.clip import TrainingClip
from training.model.model import EmoModel
from training.stages.recipe import Recipe
from training.stages.stage import trained_parameters


def parts(stage: str) -> set[str]:
    return {name.split(".")[0] for name in trained_parameters(emo_model(), stage)}


def test_each_stage_trains_the_parts_that_the_paper_says() -> None:
    assert parts("vae") == parts("decoder") == {"vae"}
    assert parts("audio") == {"audio_encoder", "audio_projection"}
    assert parts("image") == {"backbone", "reference_net", "face_locator"}
    assert parts("video") == {"backbone", "reference_net", "face_locator", "audio_projection"}
    assert parts("speed") == {"backbone", "speed_encoder"}


def test_the_image_stage_knows_neither_time_nor_voice() -> None:
    image, video = (set(trained_parameters(emo_model(), stage)) for stage in ("image", "video"))
    added = {name for name in video - image if name.startswith("backbone.")}
    assert image < video
    backbone = {name for name, _ in emo_model().named_parameters() if name.startswith("backbone.")}
    assert {name for name in backbone if "_speed" not in name} == video & backbone
    assert all("motion_modules" in name or "_audio" in name or "audio_embedding" in name for name in added)


def test_an_image_stage_that_hears_trains_the_audio_layers_too() -> None:
    image, hearing = (set(trained_parameters(emo_model(), "image", hears)) for hears in (False, True))
    video = set(trained_parameters(emo_model(), "video"))
    assert image < hearing < video
    assert {name for name in video - hearing if "motion_modules" not in name} == set()


def test_a_step_of_an_image_stage_that_hears_changes_all_that_trains(clips: Path, tmp_path: Path) -> None:
    run = trainer("image", clips, tmp_path, replace(Recipe.load("emo-test", "image"), hears=True, audio_dropout=0))
    run.train_step()
    for name, parameter in run.model.named_parameters():
        if parameter.requires_grad and not idle("image", name):
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_the_speed_stage_trains_temporal_modules_and_speed_layers_only() -> None:
    """The audio layers stay as they are, on purpose (paper, section 3.3)."""
    names = trained_parameters(emo_model(), "speed")
    assert all(name.startswith("speed_encoder.") or ".motion_modules." in name for name in names)
    everywhere = {name for name, _ in emo_model().named_parameters() if "motion_modules" in name or "speed" in name}
    assert set(names) == everywhere


def idle(stage: str, name: str) -> bool:
    """Parameters that a stage trains, but that its loss does not reach."""
    if stage == "image":  # nothing reads the ReferenceNet behind its last features
        last = "reference_net.up_blocks.1.attentions.1."
        tail = (f"{last}proj_out", f"{last}transformer_blocks.0.norm3", f"{last}transformer_blocks.0.ff")
        return name.startswith(tail)
    # wav2vec 2.0's own pretraining alone masks; a softmax does not see what is added to all its keys
    return stage == "audio" and name.endswith(("masked_spec_embed", "k_proj.bias"))


@pytest.mark.parametrize("stage", TEST_STAGES)
def test_a_step_changes_all_that_trains_and_nothing_else(stage: str, clips: Path, tmp_path: Path) -> None:
    run = trainer(stage, clips, tmp_path, replace(Recipe.load("emo-test", stage), audio_dropout=0, first_clips=0))
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    run.train_step()
    trained = set(trained_parameters(run.model, stage))
    for name, parameter in run.model.named_parameters():
        changed = not torch.equal(parameter, before[name])
        if name not in trained:
            assert not changed, name
            assert parameter.grad is None, name
        elif not idle(stage, name):
            assert changed, name
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_the_decoder_stage_leaves_the_latents_as_they_are(clips: Path, tmp_path: Path) -> None:
    run = trainer("decoder", clips, tmp_path / "decoder", Recipe.load("emo-test", "decoder"))
    images, _ = run.clips.frames(4)
    latents, pictures = run.model.vae.encode(images), run.model.vae.decode(run.model.vae.encode(images))
    run.run()
    assert torch.equal(run.model.vae.encode(images), latents)
    assert not torch.equal(run.model.vae.decode(latents), pictures)


def test_the_vae_stage_scales_latents_to_unit_deviation(clips: Path, tmp_path: Path) -> None:
    run = trainer("vae", clips, tmp_path / "vae", Recipe.load("emo-test", "vae"))
    run.run()
    model = EmoModel.load(tmp_path / "vae")
    images, _ = run.clips.frames(64)
    assert model.vae.encode(images).std().item() == pytest.approx(1, abs=0.1)


def test_a_model_of_gestures_learns_them_from_clips_whose_heads_are_known(clips: Path, tmp_path: Path) -> None:
    model = emo_model(gestures=True)
    for stage in ("image", "video"):
        assert any(name.startswith("gesture_encoder") for name in trained_parameters(model, stage))
        run = trainer(stage, clips, tmp_path / stage, Recipe.load("emo-test", stage), model=emo_model(gestures=True))
        before = [parameter.clone() for parameter in run.model.gesture_encoder.parameters()]
        run.train_step()
        assert any(not torch.equal(*pair) for pair in zip(before, run.model.gesture_encoder.parameters(), strict=True))
    footage = replace(TrainingClip.load(clips / "1.npz"), rotation=np.zeros(0, np.float32))
    (tmp_path / "footage").mkdir()
    footage.save(tmp_path / "footage" / "1.npz")
    with pytest.raises(ValueError, match="has no rotation"):
        trainer("image", tmp_path / "footage", tmp_path, Recipe.load("emo-test", "image"), model=model)


def test_the_video_stage_may_know_the_head_speed(clips: Path, tmp_path: Path) -> None:
    video, knowing = (set(trained_parameters(emo_model(), "video", knows_speed=knows)) for knows in (False, True))
    assert video < knowing
    assert knowing - video == {name for name, _ in emo_model().named_parameters() if "speed" in name}
    run = trainer("video", clips, tmp_path, replace(Recipe.load("emo-test", "video"), knows_speed=True))
    before = [parameter.clone() for parameter in run.model.speed_encoder.parameters()]
    run.train_step()
    assert any(not torch.equal(*pair) for pair in zip(before, run.model.speed_encoder.parameters(), strict=True))
    footage = replace(TrainingClip.load(clips / "1.npz"), head_speed=np.zeros(0, np.float32))
    (tmp_path / "footage").mkdir()
    footage.save(tmp_path / "footage" / "1.npz")
    with pytest.raises(ValueError, match="has no head_speed"):
        trainer("video", tmp_path / "footage", tmp_path, replace(Recipe.load("emo-test", "video"), knows_speed=True))
