"""The cascade: from a portrait and a voice to frames, through the graphs of a bundle, clip after clip.

Each function runs the graphs of one rhythm: `condition_video` once per video, `condition_clip` and `denoise_clip` once
per clip, the steps of `Cascade.schedule` N times per clip.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np

from emo_rt.bundle import GRAPH_NAMES, HINT, STEP_GRAPHS, Bundle, NoiseSchedule, RuntimeConfig
from emo_rt.cascade.audio import clip_audio
from emo_rt.cascade.clips import Clip, clip_noise
from emo_rt.cascade.gestures import Gestures
from emo_rt.cascade.sampling import Sampling
from emo_rt.cascade.schedule import ddim_coefficients
from emo_rt.engines.engine import Engine, Tensor, to_numpy
from emo_rt.engines.registry import load_engine
from emo_rt.errors import BundleError, InputError
from emo_rt.limits import MAX_SPEED
from emo_rt.media.boxes import Box, check_box, face_region
from emo_rt.media.inputs import check_portrait, check_voice

EngineByName = Callable[[str], Engine]
Turn = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class VideoConditions:
    """The conditions that hold for a whole video.

    Attributes:
        reference_latents: latents of the portrait, (1, c, s, s)
        head_speed: speed of the head in each frame of audio features, float32 (f + 2m,), degrees per frame
        face_region: mask of where the face may be, float32 (1, 1, R, R)
        gestures: how the head is turned and the eyes are shut in each frame
        steps: the steps of each sampling that was needed until now
    """

    reference_latents: Tensor
    head_speed: np.ndarray
    face_region: np.ndarray
    gestures: Gestures
    steps: dict[Sampling, list[Step]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Step:
    """A denoising step.

    Attributes:
        graph: name of the graph that runs it
        inputs: its time embedding, guidance scale and DDIM coefficients; the same for every clip
    """

    graph: str
    inputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class DenoisedClip:
    """A clip before it is decoded.

    Attributes:
        clip: place of the clip in the video
        latents: latents of all f frames, (f, c, s, s), also of those that the video does not keep
        motion_latents: latents of the last n frames, (n, c, s, s), from which the next clip goes on
        started: time at which its denoising started, seconds on the clock of `time.perf_counter`
    """

    clip: Clip
    latents: Tensor
    motion_latents: np.ndarray
    started: float


def condition_video(
    engine: EngineByName, config: RuntimeConfig, portrait: np.ndarray, face_box: Box, speed: float, seed: int
) -> VideoConditions:
    """Encodes the portrait (section 3.1) and fills in what the user chose for the whole video.

    Args:
        engine: function that gives a graph's engine by the graph's name
        config: facts of the model
        portrait: portrait, RGB uint8 (R, R, 3)
        face_box: face in the portrait, pixels
        speed: speed of the head, degrees per frame
        seed: seed of the video, from which the gestures follow
    """
    return VideoConditions(
        reference_latents=engine("vae_encoder").run({"image": portrait[None]})["latents"],  # (1, c, s, s)
        head_speed=np.full(config.feature_frames, speed, np.float32),  # (f + 2m,)
        face_region=face_region(face_box, config.resolution, config.face_region_margin),  # (1, 1, R, R)
        gestures=Gestures(seed, speed, config.frames_per_second),
    )


def condition_clip(
    engine: EngineByName,
    video: VideoConditions,
    waveform: np.ndarray,
    motion_latents: np.ndarray,
    gestures: np.ndarray,
) -> dict[str, Tensor]:
    """Everything that the steps of a clip are conditioned on: it does not change between them.

    Args:
        engine: function that gives a graph's engine by the graph's name
        video: conditions of the video
        waveform: voice around the clip, float32 (window_samples,)
        motion_latents: latents of the last n frames before the clip, (n, c, s, s)
        gestures: gestures of its frames, float32 (f, 4), which not every model takes

    Returns:
        keys and values of the attention layers and the face's latents, by the names that the backbone graphs use
    """
    features = engine("audio_encoder").run({"waveform": waveform[None]})  # (f + 2m, d)
    place = {"head_speed": video.head_speed, "face_region": video.face_region, "gestures": gestures}
    reference = {"reference_latents": video.reference_latents, "motion_latents": motion_latents}
    return {**engine("conditioning").run({**features, **place}), **engine("reference_net").run(reference)}


def denoise_clip(
    engine: EngineByName, steps: Sequence[Step], conditions: Mapping[str, Tensor], noise: np.ndarray
) -> Tensor:
    """Denoises a clip. A full step leaves its deep features for the cached steps after it.

    Args:
        engine: function that gives a graph's engine by the graph's name
        steps: steps in their order
        conditions: conditions of the clip
        noise: noise that the clip starts from, float32 (f, c, s, s)

    Returns:
        latents of the clip, (f, c, s, s)
    """
    latents: Tensor = noise
    deep_features: dict[str, Tensor] = {}
    for step in steps:
        outputs = engine(step.graph).run({**conditions, **step.inputs, **deep_features, "latents": latents})
        latents = outputs.pop("next_latents")  # (f, c, s, s)
        deep_features = outputs or deep_features
    return latents


class Cascade:
    """The engines of a bundle. It keeps no state between videos: one cascade makes any number of them.

    Args:
        config: facts of the model
        noise_schedule: noise schedule that the steps are taken from
        engine: function that gives a graph's engine by the graph's name
        directory: directory of the bundle, for messages
    """

    def __init__(
        self, config: RuntimeConfig, noise_schedule: NoiseSchedule, engine: EngineByName, directory: str = ""
    ) -> None:
        self.config, self.noise_schedule, self.engine, self.directory = config, noise_schedule, engine, directory

    @classmethod
    def load(cls, bundle: Bundle, backend: str = "onnxruntime", threads: int | None = None) -> Cascade:
        """Loads the engines of a bundle; a backbone loads when the first video needs it.

        Args:
            bundle: verified bundle
            backend: name of the backend, a key of `emo_rt.engines.registry.BACKENDS`
            threads: number of CPU threads; None for one per core

        Raises:
            BundleError: if a graph does not load.
            InputError: if there is no such backend or it is not installed.
        """
        engine = functools.cache(lambda name: load_engine(bundle, name, backend, threads))
        for name in GRAPH_NAMES:
            if name not in STEP_GRAPHS:
                engine(name)
        return cls(bundle.config, bundle.noise_schedule, engine, str(bundle.directory))

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
        """Generates a video clip by clip.

        `steps`, `guidance_scale`, `guided_steps` and `cache_interval` are those of `Sampling`; None takes the bundle's
        default. The other arguments, and the errors, are those of `denoise`.

        Yields:
            the frames of each clip, RGB uint8 (k, R, R, 3); k = f for all but the last clip
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
        """Generates the latents of a video clip by clip, each as soon as its voice is there, at constant memory.

        A clip depends on the voice around it and on the clips before it, never on the clips that follow.

        Args:
            portrait: portrait, RGB uint8 (R, R, 3)
            face_box: face in the portrait, pixels
            voice: mono chunks of any length at the bundle's sample rate, float32 (samples,)
            sampling: how clips are denoised, or a function that is asked for it before each clip
            seed: seed of the noise, 0 to 2**64 - 1
            speed: speed of the head, degrees per frame; None for the bundle's default
            max_frames: number of frames after which the video ends; None for the length of the voice
            after: number of clips that exist already and the last one's `motion_latents`; None to begin anew

        Raises:
            InputError: if a value is out of its range or of a wrong kind, or the voice cannot be read.
            BundleError: if a graph gives latents that are no finite numbers.
        """
        config = self.config
        check_portrait(portrait, config.resolution)
        check_box(face_box)
        if isinstance(voice, np.ndarray):
            raise InputError("voice is a single array: give its chunks, or [voice] for all of it at once")
        speed = config.speed if speed is None else speed
        if not 0 <= speed <= MAX_SPEED:
            raise InputError(f"speed is {speed}: choose 0 to {MAX_SPEED:g}")
        if max_frames is not None and max_frames < 1:
            raise InputError(f"max frames is {max_frames}: choose 1 or more")
        no_motion = np.zeros((config.motion_frames, *config.latents_shape[1:]), np.float32)  # (n, c, s, s)
        first_clip, motion_latents = after or (0, no_motion)
        video = self.condition(portrait, face_box, speed, seed)
        for piece in clip_audio(_checked(voice), config, first_clip):
            started = time.perf_counter()
            clip = piece.clip if max_frames is None else _trimmed(piece.clip, max_frames)
            if clip.frames < 1:
                return
            now = sampling() if callable(sampling) else sampling
            denoised = self.denoise_one(clip, video, piece.waveform, motion_latents, now, seed, started)
            motion_latents = denoised.motion_latents
            yield denoised

    def condition(self, portrait: np.ndarray, face_box: Box, speed: float, seed: int) -> VideoConditions:
        """The conditions of a video; see `condition_video`."""
        return condition_video(self.engine, self.config, portrait, face_box, speed, seed)

    def denoise_one(
        self,
        clip: Clip,
        video: VideoConditions,
        waveform: np.ndarray,
        motion_latents: np.ndarray,
        sampling: Sampling,
        seed: int,
        started: float,
        gesture_frames: np.ndarray | None = None,
    ) -> DenoisedClip:
        """Generates the latents of one clip: a pure function of what it is given.

        Args:
            clip: place of the clip in the video
            video: conditions of the video, from `condition`
            waveform: voice around the clip, float32 (window_samples,)
            motion_latents: latents of the last n frames before the clip, (n, c, s, s); zeros where there are none
            sampling: how it is denoised
            seed: seed of the noise, 0 to 2**64 - 1
            started: time to note as the start, seconds on the clock of `time.perf_counter`
            gesture_frames: numbers of the frames whose gestures the clip's frames have (f,); None for their own

        Raises:
            BundleError: if a graph gives latents that are no finite numbers.
        """
        if gesture_frames is None:
            gesture_frames = clip.first_frame + np.arange(self.config.clip_frames)
        gestures = video.gestures.at(gesture_frames)  # (f, 4)
        if sampling not in video.steps:
            video.steps[sampling] = self.schedule(sampling)
        steps = video.steps[sampling]
        conditions = condition_clip(self.engine, video, waveform, motion_latents, gestures)
        noise = clip_noise(seed, clip.index, self.config.latents_shape)
        latents = denoise_clip(self.engine, steps, conditions, noise)
        values = to_numpy(latents)  # (f, c, s, s)
        if not np.isfinite(values).all():
            raise self._not_finite(video, conditions, steps)
        return DenoisedClip(clip, latents, values[-self.config.motion_frames :], started)

    def _not_finite(
        self, video: VideoConditions, conditions: Mapping[str, Tensor], steps: Sequence[Step]
    ) -> BundleError:
        """The error of latents that are no finite numbers; it names the first graph whose outputs are none."""
        if not np.isfinite(to_numpy(video.reference_latents)).all():
            graph = "vae_encoder"
        elif wrong := [name for name, tensor in conditions.items() if not np.isfinite(to_numpy(tensor)).all()]:
            graph = f"the graph that gives {wrong[0]}"
        else:
            graph = " or ".join(dict.fromkeys(step.graph for step in steps))
        name = f"bundle {self.directory}" if self.directory else "bundle"
        return BundleError(f"{name}: {graph} computes no finite numbers (NaN); {HINT}")

    def schedule(self, sampling: Sampling) -> list[Step]:
        """The steps of a clip, with their time embeddings computed.

        Raises:
            InputError: if the noise schedule has fewer timesteps than there are steps.
        """
        steps = []
        coefficients = ddim_coefficients(self.noise_schedule, sampling.steps)
        for graph, (timestep, of_latents, of_prediction) in zip(sampling.graphs, coefficients, strict=True):
            scalars = {
                "guidance_scale": _scalar(sampling.guidance_scale),
                "latents_coefficient": _scalar(of_latents),
                "prediction_coefficient": _scalar(of_prediction),
            }
            embedding = self.engine("time_embedding").run({"timestep": _scalar(timestep)})
            steps.append(Step(graph, {**embedding, **scalars}))
        return steps

    def prepare(self, sampling: Sampling) -> None:
        """Loads the engines that the first clip would wait for."""
        for step in self.schedule(sampling):
            self.engine(step.graph)

    def warm_up(self, sampling: Sampling) -> None:
        """Generates a clip of silence: the first run of an engine is slow, and a live listener would notice."""
        side = self.config.resolution
        silence = np.zeros(self.config.samples_per_frame, np.float32)
        for clip in self.denoise(np.zeros((side, side, 3), np.uint8), Box(0, 0, side, side), [silence], sampling):
            self.decode(clip)

    def decode(self, clip: DenoisedClip) -> np.ndarray:
        """The frames of a clip that the video keeps, RGB uint8 (k, R, R, 3)."""
        return to_numpy(self.engine("vae_decoder").run({"latents": clip.latents})["frames"])[: clip.clip.frames]

    def in_turns(self, turn: Turn) -> Cascade:
        """A cascade with the same engines, each run of which is in a block of `turn`."""
        engine = functools.cache(lambda name: _InTurn(self.engine(name), turn))
        return Cascade(self.config, self.noise_schedule, engine, self.directory)


class _InTurn:
    """An engine that waits for its turn."""

    def __init__(self, engine: Engine, turn: Turn) -> None:
        self.name, self._engine, self._turn = engine.name, engine, turn

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`."""
        with self._turn():
            return self._engine.run(inputs)


def _checked(voice: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The chunks of a voice, each checked when its turn comes."""
    for chunk in voice:
        check_voice(chunk)
        yield chunk


def _trimmed(clip: Clip, max_frames: int) -> Clip:
    """The clip without its frames from number `max_frames` of the video on."""
    return replace(clip, frames=min(clip.frames, max_frames - clip.first_frame))


def _scalar(value: float) -> np.ndarray:
    """A number as graphs take it, float32 (1,)."""
    return np.array([value], np.float32)
