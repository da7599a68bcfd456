"""Whether a model listens, long before it speaks: what ``python -m training.evaluate --quick`` measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from emo_rt.media.boxes import Box, face_region, union
from training.clips.clip import TrainingClip
from training.evaluation.metrics import correlation
from training.evaluation.reader import FaceReader
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.pipeline import voice_window
from training.model.schedule import noise_scheduler
from training.model.vae import to_float, to_uint8

TIMESTEPS = (700, 800, 900, 980)

_VOICES = ("right", "wrong", "none")
_MOUTH_MARGIN = 0.15  # of the mouth box, on each side: as in training


@torch.no_grad()
def sync_signal(
    model: EmoModel,
    clips: Mapping[str, TrainingClip],
    reader: FaceReader,
    *,
    windows: int = 48,
    timesteps: Sequence[int] = TIMESTEPS,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Whether the voice helps to denoise the mouth: the cheapest early sign of lip sync.

    Random windows of n + f frames are noised to ``timesteps`` and denoised in one step, with the same noise, by the
    right voice, by that of another clip (wrong) and by none. The squared error of the predicted clean latents is
    weighted by the mouth's place. A model that does not listen has a gain of 0.

    Args:
        reader: reads the mouth in the decoded predictions too. The noised latents hold a little of the truth, so that
            only the distance between right and wrong counts there.

    Raises:
        ValueError: if a clip has another resolution than the model or is too short, or if there is only one.
    """
    config = model.config
    needed = config.motion_frames + config.clip_frames
    check_clips(config, clips, needed)
    if len(clips) < 2:
        raise ValueError("the wrong voice needs a second clip")
    rng = np.random.default_rng(seed)
    all_clips = list(clips.values())
    places = []
    for index in range(windows):
        which = index % len(all_clips)
        wrong = (which + int(rng.integers(1, len(all_clips)))) % len(all_clips)
        first = int(rng.integers(config.motion_frames, len(all_clips[which].frames) - config.clip_frames + 1))
        places.append((all_clips[which], all_clips[wrong], first))
    noised_to = [timesteps[(index // len(all_clips) + index) % len(timesteps)] for index in range(windows)]
    losses, readings, labels = [], [], []
    for begin in tqdm(range(0, windows, batch_size), desc="denoising", unit="batch"):
        part = places[begin : begin + batch_size]
        predictions, loss = _denoised_once(model, part, noised_to[begin : begin + batch_size], seed, begin)
        losses.append(loss)
        labels += [clip.mouth_opening[first : first + config.clip_frames] for clip, _, first in part]
        openings = reader.read(decoded(model, predictions.flatten(0, 2))).mouth_opening
        readings.append(openings.reshape(len(_VOICES), len(part), config.clip_frames))
    loss = np.concatenate(losses, 1)  # [voices, windows]
    gains = loss[1] - loss[0]
    steps = np.array(noised_to)
    read = np.concatenate(readings, 1)  # [voices, windows, f]
    return {
        "windows": windows,
        "mouth_loss": {voice: float(value) for voice, value in zip(_VOICES, loss.mean(1), strict=True)},
        "relative_gain": float(gains.mean() / loss[1].mean()),
        "relative_standard_error": float(gains.std(ddof=1) / windows**0.5 / loss[1].mean()) if windows > 1 else None,
        "relative_gain_over_none": float((loss[2] - loss[0]).mean() / loss[2].mean()),
        "share_right_is_better": float((gains > 0).mean()),
        "relative_gain_by_timestep": {
            str(step): float(gains[steps == step].mean() / loss[1][steps == step].mean())
            for step in timesteps
            if (steps == step).any()
        },
        "opening_correlation": {
            voice: float(np.mean([correlation(*pair) for pair in zip(curves, labels, strict=True)]))
            for voice, curves in zip(_VOICES, read, strict=True)
        },
    }


def _denoised_once(
    model: EmoModel,
    places: Sequence[tuple[TrainingClip, TrainingClip, int]],
    timesteps: Sequence[int],
    seed: int,
    index: int,
) -> tuple[Tensor, np.ndarray]:
    """Predicted clean latents (voices, b, f, c, h, w) and their error at the mouth (voices, b)."""
    config, device = model.config, next(model.parameters()).device
    n, f, m = config.motion_frames, config.clip_frames, config.audio_margin
    encoded, references, regions, speeds, mouths, noises = [], [], [], [], [], []
    for number, (clip, _, first) in enumerate(places):
        pictures = np.concatenate([clip.frames[[clip.mouth_opening.argmin()]], clip.frames[first - n : first + f]])
        latents = model.vae.encode(to_float(torch.from_numpy(pictures)).to(device))
        references.append(latents[0])
        encoded.append(latents[1:])
        boxes = [Box(*map(float, box)) for box in clip.face_box[first : first + f]]
        regions.append(torch.from_numpy(face_region(union(boxes), config.resolution, config.face_region_margin))[0])
        around = np.arange(first - m, first + f + m).clip(0, len(clip.head_speed) - 1)
        speeds.append(torch.from_numpy(clip.head_speed[around]))
        masks = [
            face_region(Box(*map(float, box)), config.resolution, _MOUTH_MARGIN)[0]
            for box in clip.mouth_box[first : first + f]
        ]
        mouths.append(functional.adaptive_avg_pool2d(torch.from_numpy(np.stack(masks)), config.latent_size))
        philox = np.random.Philox(key=np.array([seed, index + number], np.uint64))
        noises.append(np.random.Generator(philox).standard_normal((f, *latents.shape[1:]), np.float32))
    latents, timestep = torch.stack(encoded), torch.tensor(timesteps, device=device)
    clean, mouth = latents[:, n:], torch.stack(mouths).to(device)
    scheduler = noise_scheduler(config)
    noise = torch.from_numpy(np.stack(noises)).to(device)
    noisy = scheduler.add_noise(clean, noise, timestep)  # type: ignore[arg-type]
    faces = model.portrait_and_motion(torch.stack(references), latents[:, :n])
    alpha = scheduler.alphas_cumprod.to(device)[timestep][:, None, None, None, None]
    voices = [voice_window(config, clip.waveform, first) for clip, _, first in places]
    voices += [voice_window(config, clip.waveform, first) for _, clip, first in places]
    right, wrong = model.audio_encoder(torch.stack(voices).to(device)).chunk(2)
    predictions, losses = [], []
    for features in (right, wrong, torch.zeros_like(right)):
        place = model.voice_and_place(features, torch.stack(speeds).to(device), torch.stack(regions).to(device))
        output = model.backbone(noisy, timestep, Conditions.merged(place, faces))
        if config.prediction_type == "sample":
            prediction = output
        elif config.prediction_type == "epsilon":
            prediction = (noisy - (1 - alpha).sqrt() * output) / alpha.sqrt()
        else:
            prediction = alpha.sqrt() * noisy - (1 - alpha).sqrt() * output
        error = mouth * (prediction - clean).square()
        losses.append((error.flatten(1).sum(1) / (mouth.flatten(1).sum(1) * clean.shape[2])).cpu().numpy())
        predictions.append(prediction)
    return torch.stack(predictions), np.stack(losses)


def check_clips(config: EmoConfig, clips: Mapping[str, TrainingClip], frames: int) -> None:
    """Raises ``ValueError`` if a clip has another resolution than the model, or is shorter than ``frames``."""
    if frames < 1:
        raise ValueError("a video has at least one frame")
    for name, clip in clips.items():
        if clip.frames.shape[1] != config.resolution:
            raise ValueError(
                f"clip {name} has {clip.frames.shape[1]} pixels a side, {config.name} {config.resolution}: "
                f"make clips with `python -m training.corpus --resolution {config.resolution}`"
            )
        if len(clip.frames) < frames:
            raise ValueError(f"clip {name} has {len(clip.frames)} frames, {frames} are needed")


def decoded(model: EmoModel, latents: Tensor) -> np.ndarray:
    """Pictures uint8 (t, h, w, 3) of latents (t, c, h, w), a few at a time: large batches are slow on a CPU."""
    pictures: np.ndarray = torch.cat([to_uint8(model.vae.decode(part)).cpu() for part in latents.split(16)]).numpy()
    return pictures
