"""From a portrait and a voice to frames: the graphs of a bundle, clip after clip."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from emo_rt.audio import clip_audio
from emo_rt.bundle import GRAPH_NAMES, Bundle, NoiseSchedule, RuntimeConfig
from emo_rt.engine import Engine, Tensor, to_numpy
from emo_rt.engines import load_engine
from emo_rt.errors import InputError
from emo_rt.face import Box, face_region
from emo_rt.plan import clip_noise
from emo_rt.schedule import ddim_coefficients

#: Graphs of a denoising step: without guidance, and with.
BACKBONES = ("backbone", "guided_backbone")


class Cascade:
    """The engines of a bundle. It keeps no state between videos: use one for as many as you like.

    Args:
        config: what the runtime must know of the model.
        noise_schedule: that the steps are taken from.
        engine: gives a graph's engine, by its name.
    """

    def __init__(self, config: RuntimeConfig, noise_schedule: NoiseSchedule, engine: Callable[[str], Engine]) -> None:
        self.config, self.noise_schedule, self.engine = config, noise_schedule, engine

    @classmethod
    def load(cls, bundle: Bundle, backend: str = "onnxruntime", threads: int | None = None) -> Cascade:
        """Loads a verified bundle; a backbone loads when the first video needs it.

        Args:
            backend: a key of `emo_rt.engines.BACKENDS`.
            threads: CPU threads, or None for one per core.

        Raises:
            BundleError: if a graph does not load.
            InputError: if there is no such backend, or it is not installed.
        """
        engine = functools.cache(lambda name: load_engine(bundle, name, backend, threads))
        for name in GRAPH_NAMES:
            if name not in BACKBONES:
                engine(name)
        return cls(bundle.config, bundle.noise_schedule, engine)

    def generate(
        self,
        portrait: np.ndarray,
        face_box: Box,
        voice: Iterable[np.ndarray],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        speed: float | None = None,
        max_frames: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the video clip by clip, at constant memory: RGB uint8 (k, R, R, 3), k = f but for the last clip.

        A clip depends on the voice near it and on the clips before it, never on how many follow.

        Args:
            portrait: RGB uint8 (R, R, 3).
            face_box: the face in the portrait's pixels.
            voice: mono float32 chunks (samples,) of any length at the bundle's sample rate.
            seed: 0 .. 2**64 - 1.
            steps: DDIM steps per clip; None for the bundle's own, as for the next two.
            guidance_scale: of classifier-free guidance; 1 is none.
            speed: of the head, degrees per frame.
            max_frames: stop after that many.

        Raises:
            InputError: for a value out of its range, or from reading the voice.
        """
        config = self.config
        guidance_scale = config.guidance_scale if guidance_scale is None else guidance_scale
        speed = config.speed if speed is None else speed
        for name, value in (("guidance scale", guidance_scale), ("speed", speed)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}: choose a number from 0 up")
        if max_frames is not None and max_frames < 1:
            raise InputError(f"max frames is {max_frames}: choose 1 or more")
        coefficients = ddim_coefficients(self.noise_schedule, config.steps if steps is None else steps)
        latents_shape = (config.clip_frames, config.latent_channels, config.latent_size, config.latent_size)

        reference_latents = self.engine("vae_encoder").run({"image": portrait[None]})["latents"]
        motion_latents = np.zeros((config.motion_frames, *latents_shape[1:]), np.float32)
        once: dict[str, Tensor] = {
            "head_speed": np.full(config.feature_frames, speed, np.float32),
            "face_region": face_region(face_box, config.resolution, config.face_region_margin),
            "guidance_scale": _scalar(guidance_scale),
        }
        schedule: list[dict[str, Tensor]] = [
            {
                **self.engine("time_embedding").run({"timestep": _scalar(timestep)}),
                "latents_coefficient": _scalar(latents_coefficient),
                "prediction_coefficient": _scalar(prediction_coefficient),
            }
            for timestep, latents_coefficient, prediction_coefficient in coefficients
        ]
        denoise = self.engine(BACKBONES[guidance_scale != 1])
        for piece in clip_audio(voice, config):
            clip = piece.clip
            frames = clip.frames if max_frames is None else min(clip.frames, max_frames - clip.first_frame)
            if frames < 1:
                return
            features = self.engine("audio_encoder").run({"waveform": piece.waveform[None]})
            conditions = {
                **once,
                **self.engine("conditioning").run({**once, **features}),
                **self.engine("reference_net").run(
                    {"reference_latents": reference_latents, "motion_latents": motion_latents}
                ),
            }
            latents: Tensor = clip_noise(seed, clip.index, latents_shape)
            for step in schedule:
                latents = denoise.run({**conditions, **step, "latents": latents})["next_latents"]
            motion_latents = to_numpy(latents)[-config.motion_frames :]
            yield to_numpy(self.engine("vae_decoder").run({"latents": latents})["frames"])[:frames]


def _scalar(value: float) -> np.ndarray:
    return np.array([value], np.float32)
