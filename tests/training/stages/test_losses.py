"""What the losses give to the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tiny_runs import trainer

from training.model.conditions import Conditions
from training.samples.clip_folder import WindowChoice
from training.samples.regions import RegionWeights
from training.stages.recipe import Recipe


def test_an_image_hears_what_its_frame_of_a_clip_would_hear(clips: Path, tmp_path: Path) -> None:
    run = trainer("image", clips, tmp_path, replace(Recipe.load("emo-test", "image"), hears=True))
    batch = run.clips.images(3, RegionWeights(), voiced=True)
    assert batch.waveform is not None
    assert batch.position is not None
    batch.position = torch.tensor([0, 1, run.model.config.clip_frames - 1])
    conditions = run.loss.image_conditions(batch)
    features = run.model.audio_encoder(batch.waveform)
    clip = run.model.voice_and_place(features, None, batch.face_region)
    for number, (key, value) in conditions.audio.items():
        assert key.shape[:2] == (3, 1)
        torch.testing.assert_close(key[:, 0], clip.audio[number][0][range(3), batch.position])
        torch.testing.assert_close(value[:, 0], clip.audio[number][1][range(3), batch.position])
    deaf = run.loss.image_conditions(batch, torch.zeros(3, dtype=torch.bool)).audio[0][0]
    silence = run.model.voice_and_place(torch.zeros_like(features), None, batch.face_region).audio[0][0]
    torch.testing.assert_close(deaf, silence[:, :1])


def test_dropped_voices_and_motion_frames_are_zeros(clips: Path, tmp_path: Path) -> None:
    run = trainer(
        "video",
        clips,
        tmp_path,
        replace(Recipe.load("emo-test", "video"), audio_dropout=1, first_clips=1, own_motion=0),
    )
    seen = []
    voice_and_place, portrait_and_motion = run.model.voice_and_place, run.model.portrait_and_motion

    def note_voice(*arguments: torch.Tensor) -> Conditions:
        seen.append(arguments[0])
        return voice_and_place(*arguments)

    def note_motion(*arguments: torch.Tensor) -> Conditions:
        seen.append(arguments[1])
        return portrait_and_motion(*arguments)

    run.model.voice_and_place, run.model.portrait_and_motion = note_voice, note_motion  # type: ignore[method-assign]
    run.train_step()
    assert len(seen) == 2
    assert not any(tensor.any() for tensor in seen)


def test_generated_motion_frames_replace_recorded_ones_but_not_those_of_a_first_clip(
    clips: Path, tmp_path: Path
) -> None:
    run = trainer("video", clips, tmp_path)
    torch.manual_seed(0)
    batch = run.clips.videos(32, RegionWeights(), WindowChoice(first_clips=0.5, before=2))
    assert batch.motion_latents is not None
    recorded = batch.motion_latents.clone()
    run.loss.generate_motion(batch)
    assert batch.motion_latents.shape == recorded.shape
    first = recorded.flatten(1).abs().amax(1) == 0
    assert 0 < first.sum() < 32
    assert torch.equal(batch.motion_latents[first], recorded[first])
    assert all(not torch.equal(*pair) for pair in zip(batch.motion_latents[~first], recorded[~first], strict=True))


def test_coarse_losses_weigh_light_and_shape_more(clips: Path, tmp_path: Path) -> None:
    """The mean of the weights stays, so that only their shares change."""
    shares = []
    for coarse in (0.0, 1.0, 2.0):
        recipe = replace(Recipe.load("emo-test", "video"), coarse=coarse, own_motion=0)
        run = trainer("video", clips, tmp_path, recipe)
        weights = run.model.vae.channel_weights()
        largest = int(weights.argmax())
        run.loss.seed(np.random.default_rng(0))
        output = run.model.backbone.conv_out.bias
        (gradient,) = torch.autograd.grad(run.loss.compute(0), [output])
        shares.append(float(gradient[largest].abs() / gradient.abs().sum()))
    assert shares[0] < shares[1] < shares[2]
