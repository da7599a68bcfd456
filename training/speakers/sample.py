"""The sample voice: one that is held out from training."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from emo_rt.atomic import atomic_write
from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.utterance import join

_VOICE = "en-us+f4"  # held out
_TEXTS = ("Good morning! May I show you the view above the bay?", "We were hoping you would stay for supper.")
_LOUDEST = 0.9  # of 1


def write_sample(directory: Path) -> None:
    """Writes `voice.wav` (16 kHz, mono).

    Args:
        directory: folder for the file; it is made if it does not exist.

    Raises:
        OSError: if the folder or the file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    speech = join([synthesize(text, _VOICE, rate=150) for text in _TEXTS], [0.2, 0.1])
    peak = np.abs(speech.waveform).max()
    with atomic_write(directory / "voice.wav") as sound, wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((speech.waveform * (_LOUDEST / peak * 32767)).astype("<i2").tobytes())
