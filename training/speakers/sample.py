"""The sample portrait and voice: a generated speaker who is held out."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from emo_rt.atomic import atomic_write
from training.clips.rates import SAMPLE_RATE
from training.speakers.drawn.people import sample_portraits
from training.speakers.drawn.render import render
from training.speakers.motion import Motion
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.utterance import join

_SEED = 348  # held out
_VOICE = "en-us+f4"  # held out
_TEXTS = ("Good morning! May I show you the view above the bay?", "We were hoping you would stay for supper.")
_LOUDEST = 0.9  # of 1


def write_sample(directory: Path) -> None:
    """Writes `portrait.png` (512 x 512, frontal, mouth closed) and `voice.wav` (16 kHz, mono).

    Args:
        directory: folder for both files; it is made if it does not exist.

    Raises:
        OSError: if the folder or a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    frame = render(sample_portraits([_SEED]), Motion.rest(1), 512).frames[0]
    pixels = (frame * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    with atomic_write(directory / "portrait.png") as image:
        Image.fromarray(pixels).save(image, format="PNG", optimize=True)
    speech = join([synthesize(text, _VOICE, rate=150) for text in _TEXTS], [0.2, 0.1])
    peak = np.abs(speech.waveform).max()
    with atomic_write(directory / "voice.wav") as sound, wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((speech.waveform * (_LOUDEST / peak * 32767)).astype("<i2").tobytes())
