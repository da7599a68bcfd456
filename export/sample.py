"""What a bundle is validated and timed with: the bundled portrait and voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emo_rt.bundled import PORTRAIT, VOICE
from emo_rt.media.boxes import Box
from emo_rt.media.portrait import read_portrait
from emo_rt.media.sound import read_voice
from export.manifest import runtime_config
from training.model.config import EmoConfig


@dataclass(frozen=True)
class Sample:
    """A portrait and a voice to animate.

    Attributes:
        portrait: picture, (R, R, 3) uint8
        face_box: face in the picture, in pixels
        waveform: voice, (samples,) float32 at the model's sample rate
        frames: number of frames that the voice lasts
    """

    portrait: np.ndarray
    face_box: Box
    waveform: np.ndarray
    frames: int


def bundled_sample(config: EmoConfig, frames: int) -> Sample:
    """The bundled portrait at a model's resolution, and the bundled voice, repeated to last for `frames` frames."""
    portrait, face_box = read_portrait(PORTRAIT, runtime_config(config))
    voice = read_voice(VOICE, config.sample_rate)
    samples = frames * config.sample_rate // config.frames_per_second
    return Sample(portrait, face_box, np.resize(voice, samples), frames)
