"""Whether a model listens, long before it speaks: what `python -m training.evaluate --quick` measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor
from tqdm import tqdm

from emo_rt.cascade.clips import clip_noise
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.evaluated_video import check_clips
from training.evaluation.metrics import correlation
from training.evaluation.reader import FaceReader
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.pipeline import voice_window
from training.model.schedule import noise_scheduler
from training.model.vae import decode_frames, encode_frames
from training.model.warp import composed
from training.samples.clip_folder import TrainingBatch
from training.samples.regions import MOUTH_MARGIN, latent_shares, region_around

#: Timesteps, of 1000, from almost pure noise, to which latents are noised.
NOISY_TIMESTEPS = (700, 800, 900, 980)


@dataclass(frozen=True)
class ByVoice:
    """A value for each voice that a window is denoised with.

    Attributes:
        right: value with the voice of the window.
        wrong: value with the voice of another clip.
        none: value without a voice.
    """

    right: float
    wrong: float
    none: float


@dataclass(frozen=True)
class SyncSignal:
    """How much the right voice helps to denoise the mouth. Gains are 0 for a model that does not listen.

    Attributes:
        windows: number of windows.
        mouth_loss: mean squared error of the predicted clean latents, weighted by the mouth's place.
        relative_gain: mean of what the right voice takes off the loss with a wrong one, over the mean of the latter.
        relative_standard_error: standard error of `relative_gain`; None for a single window.
        relative_gain_over_none: the same gain against no voice.
        share_right_is_better: share of the windows whose loss is lower with the right voice than with a wrong one.
        relative_gain_by_timestep: the gain for each timestep.
        opening_correlation: mean of Pearson's r of the mouth opening in the decoded predictions with the label. The
            noised latents hold a little of the truth, so only the distance between right and wrong counts.
    """

    windows: int
    mouth_loss: ByVoice
    relative_gain: float
    relative_standard_error: float | None
    relative_gain_over_none: float
    share_right_is_better: float
    relative_gain_by_timestep: dict[int, float]
    opening_correlation: ByVoice


@dataclass(frozen=True)
class _Window:
    """n + f frames of a clip, and a clip whose voice is wrong for them.

    Attributes:
        index: number of the window, from which its noise follows.
        clip: the clip.
        wrong: another clip.
        first: first of the f frames that are denoised.
        timestep: timestep to which they are noised.
    """

    index: int
    clip: TrainingClip
    wrong: TrainingClip
    first: int
    timestep: int


@torch.no_grad()
def sync_signal(
    model: EmoModel,
    clips: Mapping[str, TrainingClip],
    reader: FaceReader,
    *,
    windows: int = 48,
    timesteps: Sequence[int] = NOISY_TIMESTEPS,
    batch_size: int = 8,
    seed: int = 0,
) -> SyncSignal:
    """Whether the voice helps to denoise the mouth: the cheapest early sign of lip sync.

    Random windows are noised and denoised in one step, with the same noise, by the right voice, by that of another
    clip and by none.

    Args:
        model: the model to measure.
        clips: held-out clips by name, two or more.
        reader: reader of the decoded predictions.
        windows: number of windows.
        timesteps: timesteps to which windows are noised, the next one for each window.
        batch_size: number of windows at a time.
        seed: seed of the windows and of their noise.

    Raises:
        ValueError: if a clip has another resolution than the model or is too short, or if there is only one.
    """
    config = model.config
    check_clips(config, clips, config.motion_frames + config.clip_frames)
    if len(clips) < 2:
        raise ValueError("the wrong voice needs a second clip")
    drawn = _drawn_windows(config, list(clips.values()), windows, timesteps, seed)
    losses, openings = [], []
    for begin in tqdm(range(0, windows, batch_size), desc="denoising", unit="batch"):
        part = drawn[begin : begin + batch_size]
        predictions, loss = _denoised_once(model, part, seed)
        read = reader.read(decode_frames(model.vae, predictions.flatten(0, 2))).mouth_opening
        losses.append(loss)
        openings.append(read.reshape(*loss.shape, config.clip_frames))
    return _signal(drawn, np.concatenate(losses, 1), np.concatenate(openings, 1))


def denoised_latents(scheduler: DDIMScheduler, output: Tensor, timestep: Tensor, noisy: Tensor) -> Tensor:
    """The clean latents that outputs of the Backbone stand for, in the shape of the noisy latents.

    Args:
        scheduler: noise schedule with the type of the prediction; its own steps take one timestep at a time.
        output: outputs of the Backbone (b, f, c, h, w).
        timestep: timesteps (b,).
        noisy: noisy latents (b, f, c, h, w) that the Backbone got.
    """
    scheduler.set_timesteps(1)
    clean: list[Tensor] = []
    for prediction, step, latents in zip(output, timestep.tolist(), noisy, strict=True):
        clean.append(scheduler.step(prediction, step, latents).pred_original_sample)  # type: ignore
    return torch.stack(clean)


def _drawn_windows(
    config: EmoConfig, clips: Sequence[TrainingClip], count: int, timesteps: Sequence[int], seed: int
) -> list[_Window]:
    rng = np.random.default_rng(seed)
    windows = []
    for index in range(count):
        right = index % len(clips)
        wrong = (right + int(rng.integers(1, len(clips)))) % len(clips)
        first = int(rng.integers(config.motion_frames, len(clips[right].frames) - config.clip_frames + 1))
        timestep = timesteps[(index // len(clips) + index) % len(timesteps)]
        windows.append(_Window(index, clips[right], clips[wrong], first, timestep))
    return windows


def _batch(model: EmoModel, windows: Sequence[_Window]) -> TrainingBatch:
    """The windows with their portraits and right voices, and the mouth's place as the weight of the loss."""
    config, device = model.config, next(model.parameters()).device
    n, f = config.motion_frames, config.clip_frames
    portraits, frames, voices, speeds, gestures, regions, mouths = [], [], [], [], [], [], []
    for window in windows:
        clip, first = window.clip, window.first
        pictures = np.concatenate([portrait_of(clip)[0][None], clip.frames[first - n : first + f]])
        latents = encode_frames(model.vae, pictures, batch_size=len(pictures))
        portraits.append(latents[0])
        frames.append(latents[1:])
        voices.append(voice_window(config, clip.waveform, first))
        around = np.arange(first - config.audio_margin, first + f + config.audio_margin)
        speeds.append(torch.from_numpy(clip.head_speed[around.clip(0, len(clip.head_speed) - 1)]).float())
        turned = clip.rotation[first : first + f] - clip.rotation[int(clip.mouth_opening.argmin())]
        gestures.append(torch.from_numpy(np.column_stack([turned, clip.blink[first : first + f]])).float())
        faces, lips = (torch.from_numpy(boxes[first : first + f]) for boxes in (clip.face_box, clip.mouth_box))
        regions.append(region_around(faces, config.resolution, config.face_region_margin))
        mouths.append(latent_shares(lips, config, MOUTH_MARGIN))
    encoded = torch.stack(frames)  # [b, n + f, c, h, w]
    return TrainingBatch(
        latents=encoded[:, n:],
        reference_latents=torch.stack(portraits),
        motion_latents=encoded[:, :n],
        waveform=torch.stack(voices).to(device),
        head_speed=torch.stack(speeds).to(device),
        face_region=torch.stack(regions).to(device),
        gestures=torch.stack(gestures).to(device),
        loss_weight=torch.stack(mouths).to(device),
    )


def _denoised_once(model: EmoModel, windows: Sequence[_Window], seed: int) -> tuple[Tensor, np.ndarray]:
    """Predicted clean latents (voices, b, f, c, h, w) and their errors at the mouth (voices, b)."""
    batch, scheduler = _batch(model, windows), noise_scheduler(model.config)
    assert batch.waveform is not None
    assert batch.motion_latents is not None
    clean, mouth = batch.latents, batch.loss_weight
    timestep = torch.tensor([window.timestep for window in windows], device=clean.device)
    noise = np.stack([clip_noise(seed, window.index, clean.shape[1:]) for window in windows])
    noisy = scheduler.add_noise(clean, torch.from_numpy(noise).to(clean.device), timestep)  # type: ignore[arg-type]
    faces = model.portrait_and_motion(batch.reference_latents, batch.motion_latents)
    wrong_voices = [voice_window(model.config, window.wrong.waveform, window.first) for window in windows]
    voices = torch.cat([batch.waveform, torch.stack(wrong_voices).to(clean.device)])
    right, wrong = model.audio_encoder(voices).chunk(2)
    predictions, losses = [], []
    for features in (right, wrong, torch.zeros_like(right)):
        place = model.voice_and_place(features, batch.head_speed, batch.face_region, batch.gestures)
        conditions = Conditions.merged(place, faces)
        output = composed(model.backbone(noisy, timestep, conditions), conditions, model.vae)
        prediction = denoised_latents(scheduler, output, timestep, noisy)
        error = mouth * (prediction - clean).square()
        losses.append((error.flatten(1).sum(1) / (mouth.flatten(1).sum(1) * clean.shape[2])).cpu().numpy())
        predictions.append(prediction)
    return torch.stack(predictions), np.stack(losses)


def _signal(windows: Sequence[_Window], loss: np.ndarray, openings: np.ndarray) -> SyncSignal:
    """The signal of losses (voices, windows) and of mouth openings (voices, windows, f) that are read."""
    right, wrong, none = loss
    gains = wrong - right
    timesteps = np.array([window.timestep for window in windows])
    frames = openings.shape[2]
    labels = [window.clip.mouth_opening[window.first : window.first + frames] for window in windows]
    return SyncSignal(
        windows=len(windows),
        mouth_loss=ByVoice(*(float(value) for value in loss.mean(1))),
        relative_gain=float(gains.mean() / wrong.mean()),
        relative_standard_error=(
            float(gains.std(ddof=1) / len(windows) ** 0.5 / wrong.mean()) if len(windows) > 1 else None
        ),
        relative_gain_over_none=float((none - right).mean() / none.mean()),
        share_right_is_better=float((gains > 0).mean()),
        relative_gain_by_timestep={
            int(step): float(gains[timesteps == step].mean() / wrong[timesteps == step].mean())
            for step in np.unique(timesteps)
        },
        opening_correlation=ByVoice(
            *(float(np.mean([correlation(*pair) for pair in zip(curves, labels, strict=True)])) for curves in openings)
        ),
    )
