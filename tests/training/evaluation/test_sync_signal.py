"""The quick signal hears a difference between voices only where the model does."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
import torch

from training.clips.clip import TrainingClip
from training.evaluation.evaluated_video import generate_videos
from training.evaluation.generator import Generator
from training.evaluation.reader import FaceReader
from training.evaluation.sync_signal import denoised_latents, sync_signal
from training.model.model import EmoModel
from training.model.schedule import noise_scheduler, training_target
from training.speakers.speaker import make_clip


def test_a_model_that_cannot_hear_has_no_sync_signal(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    # Untrained audio layers give nothing: all voices denoise alike.
    signal = sync_signal(model, clips, reader, windows=6, batch_size=4)
    assert signal.relative_gain == pytest.approx(0, abs=1e-5)
    assert signal == sync_signal(model, clips, reader, windows=6, batch_size=4)


def test_a_model_that_hears_changes_the_losses(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    before = model.backbone.audio_embedding.weight.detach().clone()
    try:
        torch.manual_seed(0)
        torch.nn.init.normal_(model.backbone.audio_embedding.weight)
        losses = sync_signal(model, clips, reader, windows=3).mouth_loss
    finally:
        model.backbone.audio_embedding.weight.data.copy_(before)
    assert len({round(value, 6) for value in astuple(losses)}) == 3


@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
def test_an_output_that_is_right_stands_for_the_clean_latents(model: EmoModel, prediction_type: str) -> None:
    config = replace(model.config, prediction_type=prediction_type, rescale_betas_zero_snr=False)
    scheduler, timestep = noise_scheduler(config), torch.tensor([700, 980])
    clean, noise = torch.randn(2, 2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    noisy = scheduler.add_noise(clean, noise, timestep)  # type: ignore[arg-type]
    output = training_target(scheduler, clean, noise, timestep)
    torch.testing.assert_close(denoised_latents(scheduler, output, timestep, noisy), clean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quick", [True, False])
def test_clips_of_another_resolution_are_a_clear_error(quick: bool, model: EmoModel, reader: FaceReader) -> None:
    clips = {"large": make_clip(4, seconds=0.4, resolution=40)}
    call = (
        (lambda: sync_signal(model, clips, reader))
        if quick
        else (lambda: generate_videos(Generator(model), reader, clips, 6, speed=0.5))
    )
    with pytest.raises(ValueError, match="clip large has 40 pixels a side, emo-test 32"):
        call()


def test_a_wrong_voice_needs_another_clip(model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]) -> None:
    with pytest.raises(ValueError, match="second clip"):
        sync_signal(model, {"4": clips["4"]}, reader)
