"""From a portrait and a voice to frames: the graphs of a bundle, clip after clip."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from emo_rt.bundle import GRAPH_NAMES, Bundle, NoiseSchedule, RuntimeConfig
from emo_rt.cascade.audio import clip_audio
from emo_rt.cascade.clips import Clip, clip_noise
from emo_rt.cascade.sampling import Sampling
from emo_rt.cascade.schedule import ddim_coefficients
from emo_rt.engines.engine import Engine, Tensor, to_numpy
from emo_rt.engines.registry import load_engine
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box, face_region


@dataclass(frozen=True)
class DenoisedClip:
    """A clip before it is decoded.

    Attributes:
        latents: (f, c, s, s), also of frames that are not kept.
        motion_latents: that the next clip goes on from, (n, c, s, s).
        started: when its denoising did, on `time.perf_counter`'s clock.
    """

    clip: Clip
    latents: Tensor
    motion_latents: np.ndarray
    started: float


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
            backend: a key of `emo_rt.engines.registry.BACKENDS`.
            threads: CPU threads, or None for one per core.

        Raises:
            BundleError: if a graph does not load.
            InputError: if there is no such backend, or it is not installed.
        """
        engine = functools.cache(lambda name: load_engine(bundle, name, backend, threads))
        for name in GRAPH_NAMES:
            if "backbone" not in name:
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
        guided_steps: int | None = None,
        cache_interval: int | None = None,
        speed: float | None = None,
        max_frames: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the video clip by clip: RGB uint8 (k, R, R, 3), k = f but for the last clip.

        Args:
            steps, guidance_scale, guided_steps, cache_interval: see `Sampling`; None for the bundle's own.

        For the others, and what is raised, see `denoise`.
        """
        sampling = Sampling.of(self.config, steps, guidance_scale, guided_steps, cache_interval)
        for clip in self.denoise(portrait, face_box, voice, sampling, seed=seed, speed=speed, max_frames=max_frames):
            yield self.decode(clip)

    def denoise(
        self,
        portrait: np.ndarray,
        face_box: Box,
        voice: Iterable[np.ndarray],
        sampling: Sampling | Callable[[], Sampling],
        *,
        seed: int = 0,
        speed: float | None = None,
        max_frames: int | None = None,
        after: tuple[int, np.ndarray] | None = None,
    ) -> Iterator[DenoisedClip]:
        """Yields the video's latents clip by clip, each as soon as the voice it hears is there, at constant memory.

        A clip depends on the voice near it and on the clips before it, never on how many follow.

        Args:
            portrait: RGB uint8 (R, R, 3).
            face_box: the face in the portrait's pixels.
            voice: mono float32 chunks (samples,) of any length at the bundle's sample rate.
            sampling: how clips are denoised, or what says it before each one.
            seed: 0 .. 2**64 - 1.
            speed: of the head, degrees per frame; None for the bundle's own.
            max_frames: stop after that many.
            after: the number of clips that are there already, and the last one's `motion_latents`, to go on from.

        Raises:
            InputError: for a value out of its range, or from reading the voice.
        """
        config = self.config
        speed = config.speed if speed is None else speed
        if not (math.isfinite(speed) and speed >= 0):
            raise InputError(f"speed is {speed}: choose a number from 0 up")
        if max_frames is not None and max_frames < 1:
            raise InputError(f"max frames is {max_frames}: choose 1 or more")
        latents_shape = (config.clip_frames, config.latent_channels, config.latent_size, config.latent_size)
        first_clip, motion_latents = after or (0, np.zeros((config.motion_frames, *latents_shape[1:]), np.float32))
        reference_latents = self.engine("vae_encoder").run({"image": portrait[None]})["latents"]
        once: dict[str, Tensor] = {
            "head_speed": np.full(config.feature_frames, speed, np.float32),
            "face_region": face_region(face_box, config.resolution, config.face_region_margin),
        }
        schedule = functools.cache(self._schedule)
        for piece in clip_audio(voice, config, first_clip):
            started = time.perf_counter()
            clip = piece.clip
            if max_frames is not None:
                clip = replace(clip, frames=min(clip.frames, max_frames - clip.first_frame))
            if clip.frames < 1:
                return
            features = self.engine("audio_encoder").run({"waveform": piece.waveform[None]})
            conditions = {
                **self.engine("conditioning").run({**once, **features}),
                **self.engine("reference_net").run(
                    {"reference_latents": reference_latents, "motion_latents": motion_latents}
                ),
            }
            state: dict[str, Tensor] = {"latents": clip_noise(seed, clip.index, latents_shape)}
            for graph, step in schedule(sampling() if callable(sampling) else sampling):
                state |= self.engine(graph).run({**conditions, **step, **state})
                state["latents"] = state["next_latents"]
            motion_latents = to_numpy(state["latents"])[-config.motion_frames :]
            yield DenoisedClip(clip, state["latents"], motion_latents, started)

    def prepare(self, sampling: Sampling) -> None:
        """Loads now what the first clip would wait for."""
        for graph, _ in self._schedule(sampling):
            self.engine(graph)

    def warm_up(self, sampling: Sampling) -> None:
        """Makes a clip of nothing: engines are slow at first, and whoever listens live notices."""
        side = self.config.resolution
        silence = np.zeros(self.config.samples_per_frame, np.float32)
        for clip in self.denoise(np.zeros((side, side, 3), np.uint8), Box(0, 0, side, side), [silence], sampling):
            self.decode(clip)

    def decode(self, clip: DenoisedClip) -> np.ndarray:
        """A clip's frames: RGB uint8 (k, R, R, 3)."""
        return to_numpy(self.engine("vae_decoder").run({"latents": clip.latents})["frames"])[: clip.clip.frames]

    def _schedule(self, sampling: Sampling) -> list[tuple[str, dict[str, Tensor]]]:
        """The graph of each step, and what it takes beside the latents and the conditions."""
        coefficients = ddim_coefficients(self.noise_schedule, sampling.steps)
        return [
            (
                graph,
                {
                    **self.engine("time_embedding").run({"timestep": _scalar(timestep)}),
                    "guidance_scale": _scalar(sampling.guidance_scale),
                    "latents_coefficient": _scalar(latents_coefficient),
                    "prediction_coefficient": _scalar(prediction_coefficient),
                },
            )
            for graph, (timestep, latents_coefficient, prediction_coefficient) in zip(
                sampling.graphs, coefficients, strict=True
            )
        ]


def _scalar(value: float) -> np.ndarray:
    return np.array([value], np.float32)
