"""Portrait and voice to video in plain PyTorch: the reference that every exported bundle is compared with.

Written for reading, not for speed: guidance runs the Backbone twice, diffusers' scheduler makes the steps, and nothing
here is shared with the runtime's own sampling and cascade.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emo_rt.cascade.audio import clip_window, samples_per_frame, window
from emo_rt.media.boxes import Box, face_region
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.schedule import noise_scheduler
from training.model.vae import to_float, to_uint8


class EmoPipeline:
    """The cascade of clips, one PyTorch call after another (paper, section 3.2)."""

    def __init__(self, model: EmoModel) -> None:
        self.model = model.eval()
        self.config = model.config
        self.scheduler = noise_scheduler(model.config)

    @torch.no_grad()
    def __call__(
        self,
        portrait: np.ndarray,
        face_box: Box,
        waveform: np.ndarray,
        frames: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        speed: float | None = None,
    ) -> np.ndarray:
        """
        Args:
            portrait: RGB uint8 (resolution, resolution, 3).
            face_box: the face in the portrait's pixels.
            waveform: mono float32 (samples,) at the config's sample rate.
            frames: how many to generate.
            seed, steps, guidance_scale, speed: as for sampling in ``EmoConfig``, whose values are the defaults.

        Returns:
            RGB uint8 (frames, resolution, resolution, 3)
        """
        config, model = self.config, self.model
        speed = config.speed if speed is None else speed
        device = next(model.parameters()).device
        reference = model.vae.encode(to_float(torch.from_numpy(portrait.copy()))[None].to(device))
        region = torch.from_numpy(face_region(face_box, config.resolution, config.face_region_margin)).to(device)
        motion = reference.new_zeros(1, config.motion_frames, *reference.shape[1:])
        head_speed = torch.full((1, config.clip_frames + 2 * config.audio_margin), speed, device=device)
        video: list[np.ndarray] = []
        for clip, first_frame in enumerate(range(0, frames, config.clip_frames)):
            features = model.audio_encoder(voice_window(config, waveform, first_frame)[None].to(device))
            faces = model.portrait_and_motion(reference, motion, config.portrait_pull)
            voiced = model.voice_and_place(features, head_speed, region) | faces
            unvoiced = model.voice_and_place(torch.zeros_like(features), head_speed, region) | faces
            philox = np.random.Philox(key=np.array([seed, clip], np.uint64))
            shape = (1, config.clip_frames, *reference.shape[1:])
            noise = torch.from_numpy(np.random.Generator(philox).standard_normal(shape, np.float32)).to(device)
            latents = self.denoise(noise, voiced, unvoiced, steps, guidance_scale)
            motion = latents[:, -config.motion_frames :]
            video.extend(to_uint8(model.vae.decode(latents[0])).cpu().numpy())
        return np.stack(video[:frames])

    def denoise(
        self,
        latents: Tensor,
        voiced: dict[str, Tensor],
        unvoiced: dict[str, Tensor],
        steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Tensor:
        """Noise (1, f, c, h, w) to clean latents, guided from the conditions without voice to those with it."""
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        self.scheduler.set_timesteps(self.config.steps if steps is None else steps)
        for timestep in self.scheduler.timesteps:
            batch_timestep = timestep.to(latents.device)[None]
            with_voice = self.model.backbone(latents, batch_timestep, voiced)
            without_voice = self.model.backbone(latents, batch_timestep, unvoiced)
            prediction = without_voice + scale * (with_voice - without_voice)
            latents = self.scheduler.step(prediction, timestep, latents).prev_sample  # type: ignore[union-attr]
        return latents


def voice_window(config: EmoConfig, waveform: np.ndarray, first_frame: int) -> Tensor:
    """The audio encoder's window (samples,) of ``waveform`` for the clip of f frames that begins at ``first_frame``."""
    start, stop = clip_window(
        first_frame,
        clip_frames=config.clip_frames,
        audio_margin=config.audio_margin,
        audio_context=config.audio_context,
        samples_per_frame=samples_per_frame(config.sample_rate, config.frames_per_second),
    )
    return torch.from_numpy(window(waveform, start, stop))
