"""Makes single clips of a live face, each from the frames before it and the voice that is known."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from emo_rt.cascade.cascade import Cascade, VideoConditions
from emo_rt.cascade.clips import Clip
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.engine import to_numpy
from emo_rt.errors import InputError
from emo_rt.limits import MAX_SPEED
from emo_rt.live.frame import BEFORE_ALL, LiveFrame, LivePose
from emo_rt.live.voice_queue import VoiceFrame
from emo_rt.media.boxes import Box, check_box
from emo_rt.media.inputs import check_portrait

#: Factor by which a clip may take longer than the last ones did.
SAFETY = 1.1
#: Seconds of gestures, and of generated silence, that are walked to and fro.
IDLE_SECONDS = 8.0


class ClipMaker:
    """The engines, and what holds for all clips of one face.

    Args:
        cascade: loaded engines
        portrait: portrait, RGB uint8 (R, R, 3)
        face_box: face in the portrait, pixels
        sampling: how clips are denoised
        seed: seed of the noise, 0 to 2**64 - 1
        speed: speed of the head, degrees per frame; None for the bundle's default

    Attributes:
        around: frames of voice on each side of a clip that are heard
        idle_frames: length of the stretch of gestures that is walked to and fro

    Raises:
        InputError: for a portrait, a face box or a speed that cannot be used.
    """

    def __init__(
        self,
        cascade: Cascade,
        portrait: np.ndarray,
        face_box: Box,
        sampling: Sampling,
        seed: int,
        speed: float | None,
    ) -> None:
        config = cascade.config
        check_portrait(portrait, config.resolution)
        check_box(face_box)
        self.cascade, self.config, self.sampling, self.seed = cascade, config, sampling, seed
        self.speed = config.speed if speed is None else speed
        if not 0 <= self.speed <= MAX_SPEED:
            raise InputError(f"speed is {speed}: choose 0 to {MAX_SPEED:g}")
        self.idle_frames = round(IDLE_SECONDS * config.frames_per_second)
        self.around = config.audio_margin + config.audio_context
        self._portrait, self._face_box = portrait, face_box
        self._conditions: VideoConditions | None = None
        self._clips = 0
        self._seconds: deque[float] = deque(maxlen=8)  # of the last clips

    def prepare(self) -> None:
        """Encodes the portrait, and lets the engines run once."""
        self._conditions = self.cascade.condition(self._portrait, self._face_box, self.speed, self.seed)
        self.cascade.warm_up(self.sampling)

    def make(self, before: Sequence[LiveFrame], voice: Sequence[VoiceFrame]) -> list[LivePose]:
        """Makes a clip.

        Args:
            before: frames that it goes on from, `around` or more where there are so many
            voice: voice of its frames and of those after it, as far as it is known

        Returns:
            its f poses

        Raises:
            BundleError: if a graph gives latents that are no finite numbers.
        """
        assert self._conditions is not None, "prepare it first"
        started, config = time.perf_counter(), self.config
        motion = np.zeros((config.motion_frames, *config.latents_shape[1:]), np.float32)  # (n, c, s, s)
        for index, frame in enumerate(reversed(before[-config.motion_frames :])):
            motion[-1 - index] = frame.pose.latents
        clip = Clip(self._clips, self._clips * config.clip_frames, config.clip_frames)
        self._clips += 1
        waveform = self._window(before, voice)
        places = [before[-1].pose.place if before else BEFORE_ALL]
        for _ in range(config.clip_frames):
            places.append(places[-1].next(self.idle_frames))
        shown = np.array([place.frame for place in places[1:]])
        denoised = self.cascade.denoise_one(
            clip, self._conditions, waveform, motion, self.sampling, self.seed, started, shown
        )
        pictures, latents = self.cascade.decode(denoised), to_numpy(denoised.latents)
        self._seconds.append(time.perf_counter() - started)
        return [LivePose(*parts) for parts in zip(pictures, latents, places[1:], strict=True)]

    def _window(self, before: Sequence[LiveFrame], voice: Sequence[VoiceFrame]) -> np.ndarray:
        """The voice around a clip, float32 (window_samples,), with silence where there is none or it is not known."""
        known = [frame.voice.voice for frame in before[-self.around :]]
        missing = self.around - len(known)
        known += [frame.voice for frame in voice[: self.config.clip_frames + self.around]]
        start = missing * self.config.samples_per_frame
        waveform = np.zeros(self.config.window_samples, np.float32)
        waveform[start : start + len(known) * self.config.samples_per_frame] = np.concatenate([*known, waveform[:0]])
        return waveform

    def length(self, sharing: int) -> int:
        """The number of frames that are shown while a clip is made, by the last clips.

        Args:
            sharing: number of faces that may need the engines at the same time
        """
        last = sorted(self._seconds)
        if not last:
            return 0
        seconds = max(last[-2:][0], sharing * last[0])  # the longest one may be an accident
        return math.ceil(SAFETY * seconds * self.config.frames_per_second)
