"""The sound of a clip: somebody says sentences with pauses, and a microphone hears them well or badly."""

from __future__ import annotations

import dataclasses

import numpy as np

from training.clips.rates import SAMPLE_RATE
from training.speakers.speech.augmentation import augment, coloured_noise
from training.speakers.speech.delivery import random_delivery
from training.speakers.speech.sentences import random_sentence
from training.speakers.speech.synthesizer import synthesize
from training.speakers.speech.utterance import Utterance, join
from training.speakers.speech.voices import random_voice, voice_language

_LOUDEST = 0.9  # of 1
_SILENT_SHARE, _LONG_PAUSE_SHARE, _LONG_PAUSE = 0.05, 0.3, (1.0, 4.0)  # of sounds; of pauses; seconds
_ROOM_NOISE = (-60.0, -35.0)  # decibels of the loudest sound


def speak(
    rng: np.random.Generator, split: str, seconds: float, silences: np.random.Generator | None = None
) -> tuple[Utterance, str]:
    """Sentences with pauses, in one voice.

    Args:
        rng: chooses voice, style, sentences, pauses and loudness.
        split: split of `training.speakers.speech.voices`, of voices and of sentences.
        seconds: length of the sound.
        silences: makes some pauses 1 to 4 s long, but not two thirds of the sound, and a twentieth of the sounds
            silent; None does nothing of this.

    Returns:
        the utterance, whose waveform has exactly this length; and its style: "speech", "whisper" or "singing". The
        phonemes beyond the end stay, because the mouth prepares for them.
    """
    delivery = random_delivery(rng, split)
    language = voice_language(delivery.voice)
    utterances, pauses, total = [], [], 0.0
    nothing_said = silences is not None and silences.random() < _SILENT_SHARE
    while total < seconds:
        sentence = random_sentence(rng, language, held_out=split != "train")
        said = delivery.say(sentence, rng)
        emphasis = np.float32(10 ** (rng.uniform(-6, 0) / 20))
        utterances.append(dataclasses.replace(said, waveform=emphasis * said.waveform))
        pauses.append(float(rng.uniform(0.0, 0.4) if rng.random() < 0.75 else rng.uniform(0.4, 1.2)))
        if silences and silences.random() < _LONG_PAUSE_SHARE:
            pauses[-1] = min(float(silences.uniform(*_LONG_PAUSE)), 2 / 3 * seconds)
        if nothing_said:
            pauses[-1] = seconds + _LONG_PAUSE[0]  # nor does the mouth prepare for anything
        total += pauses[-1] + said.seconds
    whole = join(utterances, pauses)
    loudness = np.exp(rng.uniform(np.log(0.15), 0)) * _LOUDEST / np.abs(whole.waveform).max()
    waveform = whole.waveform[: round(seconds * SAMPLE_RATE)] * np.float32(loudness)
    text = "" if silences and not waveform.any() else whole.text
    return dataclasses.replace(whole, waveform=waveform, text=text), delivery.style


def record(
    rng: np.random.Generator, waveform: np.ndarray, split: str, augmented_share: float
) -> tuple[np.ndarray, str]:
    """What is heard of a voice.

    Args:
        rng: chooses what happens to the sound.
        waveform: float32 (samples,) at 16 kHz.
        split: split of the voices that may babble in the background.
        augmented_share: chance from 0 to 1 that the sound is imperfect.

    Returns:
        the sound, float32 (samples,), and its description: "clean", or the names of the effects joined by "+".
    """
    if rng.random() >= augmented_share:
        return waveform, "clean"

    def babble() -> np.ndarray:
        length = len(waveform)
        speakers = [random_voice(rng, split) for _ in range(3)]
        sentences = [
            synthesize(random_sentence(rng, voice_language(voice), split != "train"), voice) for voice in speakers
        ]
        return np.sum([np.roll(np.resize(said.waveform, length), int(rng.integers(length))) for said in sentences], 0)

    heard, effects = augment(waveform, rng, babble)
    return heard, "+".join(effects)


def record_silence(rng: np.random.Generator, samples: int, noisy_share: float) -> tuple[np.ndarray, str]:
    """What is heard while nobody speaks: nothing, or with a chance of `noisy_share` a room's noise.

    Returns:
        the sound, float32 (samples,), and its description as `record` gives it.
    """
    if rng.random() >= noisy_share:
        return np.zeros(samples, np.float32), "clean"
    loudness = 10 ** (rng.uniform(*_ROOM_NOISE) / 20)
    return (loudness * coloured_noise(samples, rng)).astype(np.float32), "noise"
