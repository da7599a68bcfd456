"""Portrait and voice to video in plain PyTorch: the reference that every exported bundle is compared with.

It is written for reading, not for speed. Guidance runs the Backbone twice, diffusers' scheduler makes the steps, and
sampling and the cascade of clips share no code with the runtime.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emo_rt.cascade.audio import clip_window, samples_per_frame, window
from emo_rt.cascade.gestures import Gestures
from emo_rt.media.boxes import Box, face_region
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.schedule import noise_scheduler
from training.model.vae import to_float, to_uint8
from training.model.warp import composed


class EmoPipeline:
    """Cascade of clips, each from the motion frames of the previous one (paper, section 3.2)."""

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
        """Animate a portrait.

        Args:
            portrait: RGB picture (resolution, resolution, 3) of uint8.
            face_box: box around the face, in pixels of the portrait.
            waveform: mono voice (samples,) of float32 at the config's sample rate.
            frames: number of frames to generate.
            seed: seed of the noise.
            steps: number of DDIM steps; None means the config's.
            guidance_scale: weight of the voice, 1 means no guidance; None means the config's.
            speed: head rotation speed in degrees per frame; None means the config's.

        Returns:
            RGB frames (frames, resolution, resolution, 3) of uint8.
        """
        config, model = self.config, self.model
        speed = config.speed if speed is None else speed
        device = next(model.parameters()).device
        reference = model.vae.encode(to_float(torch.from_numpy(portrait.copy()))[None].to(device))
        region = torch.from_numpy(face_region(face_box, config.resolution, config.face_region_margin)).to(device)
        motion = reference.new_zeros(1, config.motion_frames, *reference.shape[1:])
        head_speed = torch.full((1, config.clip_frames + 2 * config.audio_margin), speed, device=device)
        gestures = Gestures(seed, speed, config.frames_per_second)
        video: list[np.ndarray] = []
        for clip, first_frame in enumerate(range(0, frames, config.clip_frames)):
            features = model.audio_encoder(voice_window(config, waveform, first_frame)[None].to(device))
            faces = model.portrait_and_motion(reference, motion, config.portrait_pull)
            made = torch.from_numpy(gestures.at(first_frame + np.arange(config.clip_frames)))[None].to(device)
            voiced, unvoiced = (
                Conditions.merged(model.voice_and_place(heard, head_speed, region, made), faces)
                for heard in (features, torch.zeros_like(features))
            )
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
        voiced: Conditions,
        unvoiced: Conditions,
        steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Tensor:
        """Noise to clean latents, with classifier-free guidance of the voice.

        Args:
            latents: noise (1, f, c, h, w).
            voiced: conditions with the voice.
            unvoiced: conditions with no voice.
            steps: number of DDIM steps; None means the config's.
            guidance_scale: weight of the voice, 1 means no guidance; None means the config's.

        Returns:
            clean latents (1, f, c, h, w).
        """
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        self.scheduler.set_timesteps(self.config.steps if steps is None else steps)
        for timestep in self.scheduler.timesteps:
            batch_timestep = timestep.to(latents.device)[None]
            with_voice = self.model.backbone(latents, batch_timestep, voiced)
            without_voice = self.model.backbone(latents, batch_timestep, unvoiced)
            prediction = without_voice + scale * (with_voice - without_voice)
            prediction = composed(prediction, voiced, self.model.vae)
            latents = self.scheduler.step(prediction, timestep, latents).prev_sample  # type: ignore[union-attr]
        return latents


def voice_window(config: EmoConfig, waveform: np.ndarray, first_frame: int) -> Tensor:
    """Window of a voice that the audio encoder hears for one clip.

    Args:
        config: configuration of the model.
        waveform: mono voice (samples,) of float32 at the config's sample rate.
        first_frame: number of the clip's first frame in the video.

    Returns:
        samples (window,), with zeros where the voice has none.
    """
    start, stop = clip_window(
        first_frame,
        clip_frames=config.clip_frames,
        audio_margin=config.audio_margin,
        audio_context=config.audio_context,
        samples_per_frame=samples_per_frame(config.sample_rate, config.frames_per_second),
    )
    return torch.from_numpy(window(waveform, start, stop))
