"""What the losses give to the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import trainer

from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.schedule import loss_weights, noise_scheduler
from training.samples.clip_folder import TrainingBatch, WindowChoice
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


def test_what_the_recipe_asks_for_reaches_the_samples(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = WindowChoice(still=0.3, every_speed=0.2, first_clips=0.4, before=0, other_mouths=0.6, closed_mouths=0.7)
    recipe = replace(Recipe.load("emo-test", "video"), face_weight=2.0, mouth_weight=7.0, own_motion=0.0)
    recipe = replace(recipe, still=0.3, every_speed=0.2, first_clips=0.4, other_mouths=0.6, closed_mouths=0.7)
    run = trainer("video", clips, tmp_path, recipe)
    videos, seen = run.clips.videos, []

    def listen(size: int, weights: RegionWeights, choice: WindowChoice) -> TrainingBatch:
        seen.append((size, weights, choice))
        return videos(size, weights, choice)

    monkeypatch.setattr(run.clips, "videos", listen)
    run.loss(np.random.default_rng(0))
    assert seen == [(recipe.batch_size, RegionWeights(2.0, 7.0), wanted)]


def test_errors_count_by_their_region(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of one frame alone give the error of that frame."""
    run = trainer("video", clips, tmp_path, replace(Recipe.load("emo-test", "video"), own_motion=0.0))
    videos = run.clips.videos

    def loss(frames: slice) -> float:
        def weighted(*arguments: Any) -> TrainingBatch:
            batch = videos(*arguments)
            kept = torch.zeros_like(batch.loss_weight)
            kept[:, frames] = 1
            batch.loss_weight = kept
            return batch

        monkeypatch.setattr(run.clips, "videos", weighted)
        return run.loss(np.random.default_rng(0)).item()

    first, second, both = loss(slice(0, 1)), loss(slice(1, 2)), loss(slice(0, 2))
    assert first != pytest.approx(second, rel=1e-3)
    assert both == pytest.approx((first + second) / 2, rel=1e-4)


@pytest.mark.parametrize(("high", "pure"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (0.0, 1.0), (0.0, 0.5)])
def test_noise_is_as_high_as_the_recipe_says(high: float, pure: float, clips: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe.load("emo-test", "video"), high_noise=high, pure_noise=pure)
    loss = trainer("video", clips, tmp_path, recipe).loss
    torch.manual_seed(0)
    steps = int(loss.scheduler.config["num_train_timesteps"])
    timesteps = loss._timesteps(20_000).double()
    # Without a share each fifth is as likely as another; all of `high` lies in the last two.
    certain = high + pure  # one of them is 0
    assert (timesteps >= 0.6 * steps).double().mean() == pytest.approx(certain + (1 - certain) * 0.4, abs=0.02)
    assert (timesteps == steps - 1).double().mean() == pytest.approx(pure, abs=0.01)
    assert timesteps.max() == steps - 1
    assert (timesteps.min() < 0.01 * steps) == (high < 1 and pure < 1)


def test_motion_frames_get_as_much_noise_as_the_recipe_says(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(Recipe.load("emo-test", "video"), batch_size=64, motion_noise=0.5, own_motion=0.0)
    run = trainer("video", clips, tmp_path, recipe)
    conditions, seen = run.loss.video_conditions, []

    def listen(batch: TrainingBatch, heard: torch.Tensor, motion_noise: torch.Tensor) -> Conditions:
        seen.append((heard, motion_noise))
        return conditions(batch, heard, motion_noise)

    monkeypatch.setattr(run.loss, "video_conditions", listen)
    run.loss(np.random.default_rng(0))
    ((heard, noise),) = seen
    assert 0 <= noise.min() < 0.1
    assert 0.4 < noise.max() <= 0.5
    assert heard.all() == (recipe.audio_dropout == 0)


def test_steps_with_little_noise_do_not_count_more_than_min_snr_allows() -> None:
    config = replace(EmoConfig.from_name("emo-test"), prediction_type="epsilon", rescale_betas_zero_snr=False)
    scheduler = noise_scheduler(config)
    timesteps = torch.arange(0, 1000, 50)
    alphas = scheduler.alphas_cumprod[timesteps]
    ratio = alphas / (1 - alphas)
    assert ratio.max() > 100  # also where the two differ
    torch.testing.assert_close(loss_weights(scheduler, timesteps), ratio.clamp(max=5) / ratio)
