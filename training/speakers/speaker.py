"""The clip of one generated speaker: a voice that says something, and a drawn head that follows it.

Everything about a clip follows from its seed. A tenth of the seeds is held out, with portraits, voices, languages and
sentences of their own. Six in ten of the training clips have an imperfect sound
(`training.speakers.speech.augmentation`); the labels are those of the voice alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import wave
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.clips.clip import TrainingClip
from training.clips.rates import FRAMES_PER_SECOND, SAMPLE_RATE
from training.clips.rotation import head_speed
from training.speakers.drawn.heads import Motion, sample_portraits
from training.speakers.drawn.render import render
from training.speakers.gestures import blink_curve, gaze, head_motion, smoothed, wander
from training.speakers.mouth import mouth_curves
from training.speakers.speech.augmentation import augment
from training.speakers.speech.delivery import random_delivery
from training.speakers.speech.synthesizer import Utterance, frame_classes, join, random_sentence, synthesize
from training.speakers.speech.voices import SPLITS, random_voice, voice_language

_SAMPLES_PER_FRAME = SAMPLE_RATE // FRAMES_PER_SECOND


_LOUDEST = 0.9


_AUGMENTED_SHARE = 0.6


_SAMPLE_SEED = 348  # held out


_SAMPLE_VOICE = "en-us+f4"  # held out


_SAMPLE_TEXTS = ("Good morning! May I show you the view above the bay?", "We were hoping you would stay for supper.")


def is_held_out_seed(seed: int) -> bool:
    """Whether the speaker of this seed is kept from training (a tenth of them)."""
    return hashlib.sha256(str(seed).encode()).digest()[0] < 26


def make_clip(
    seed: int,
    seconds: float = 4.0,
    resolution: int = 128,
    *,
    voices: str | None = None,
    augmented_share: float | None = None,
) -> TrainingClip:
    """The clip of a seed: one person, one voice, `seconds` of speech with pauses, and motion of its own liveliness.

    Args:
        voices: whose voices speak, one of `speech.voices.SPLITS`; by default those of the seed's own split.
        augmented_share: chance that the sound is made imperfect; by default 0.6 in training and 0 in held-out clips.

    Raises:
        ValueError: there is no such split.
    """
    own = "held-out" if is_held_out_seed(seed) else "train"
    voices = voices or own
    if voices not in SPLITS:
        raise ValueError(f"no split is called {voices!r}: there are {', '.join(SPLITS)}")
    if augmented_share is None:
        augmented_share = _AUGMENTED_SHARE if own == "train" else 0.0
    frames = round(seconds * FRAMES_PER_SECOND)
    # Each with a generator of its own, so that a change of one leaves the others.
    utterance, style = _speech(np.random.default_rng([seed, 0x5BEE]), voices, frames / FRAMES_PER_SECOND)
    waveform, sound = _heard(np.random.default_rng([seed, 0x50D]), utterance.waveform, voices, augmented_share)
    rng = np.random.default_rng([seed, 0xC119])
    curves = mouth_curves(utterance, FRAMES_PER_SECOND, frames)
    rotation, translation = head_motion(rng, utterance.waveform, frames)
    eyes = gaze(rng, frames)
    columns = {
        "mouth_opening": curves.opening,
        "mouth_width": curves.width,
        "blink": blink_curve(rng, utterance.waveform, frames),
        "brow": 0.5 * wander(rng, frames, 0.6) + 0.4 * (smoothed(curves.opening, 9) - 0.3),
        "gaze": eyes,
        "rotation": rotation,
        "translation": translation,
    }
    motion = Motion(**{name: torch.tensor(np.asarray(value, np.float32)) for name, value in columns.items()})
    rendering = render(sample_portraits([seed]), motion, resolution)
    pixels = (rendering.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return TrainingClip(
        frames=pixels.numpy(),
        waveform=waveform,
        mouth_opening=curves.opening,
        mouth_width=curves.width,
        rotation=motion.rotation.numpy(),
        head_speed=head_speed(motion.rotation.numpy()),
        face_box=rendering.face_box.numpy(),
        mouth_box=rendering.mouth_box.numpy(),
        phoneme_class=frame_classes(utterance, 2 * FRAMES_PER_SECOND, 2 * frames),
        blink=motion.blink.numpy(),
        text=utterance.text,
        voice=utterance.voice,
        language=voice_language(utterance.voice),
        style=style,
        sound=sound,
    )


def _speech(rng: np.random.Generator, voices: str, seconds: float) -> tuple[Utterance, str]:
    """Sentences with pauses, cut to exactly `seconds`, and the style in which they are said."""
    delivery = random_delivery(rng, voices)
    language = voice_language(delivery.voice)
    utterances, pauses, total = [], [], 0.0
    while total < seconds:
        sentence = random_sentence(rng, language, held_out=voices != "train")
        said = delivery.say(sentence, rng)
        emphasis = np.float32(10 ** (rng.uniform(-6, 0) / 20))
        utterances.append(dataclasses.replace(said, waveform=emphasis * said.waveform))
        pauses.append(float(rng.uniform(0.0, 0.4) if rng.random() < 0.75 else rng.uniform(0.4, 1.2)))
        total += pauses[-1] + said.seconds
    whole = join(utterances, pauses)
    loudness = np.exp(rng.uniform(np.log(0.15), 0)) * _LOUDEST / np.abs(whole.waveform).max()
    # The phonemes beyond the end stay: the mouth prepares for them.
    waveform = whole.waveform[: round(seconds * SAMPLE_RATE)] * np.float32(loudness)
    return dataclasses.replace(whole, waveform=waveform), delivery.style


def _heard(rng: np.random.Generator, waveform: np.ndarray, voices: str, share: float) -> tuple[np.ndarray, str]:
    """The waveform as it is heard, imperfect in a `share` of the cases, and what has happened to it."""
    if rng.random() >= share:
        return waveform, "clean"

    def babble() -> np.ndarray:
        length = len(waveform)
        speakers = [random_voice(rng, voices) for _ in range(3)]
        sentences = [
            synthesize(random_sentence(rng, voice_language(voice), voices != "train"), voice) for voice in speakers
        ]
        return np.sum([np.roll(np.resize(said.waveform, length), int(rng.integers(length))) for said in sentences], 0)

    heard, effects = augment(waveform, rng, babble)
    return heard, "+".join(effects)


def write_sample(directory: Path) -> None:
    """Writes `portrait.png` (512 x 512, frontal, mouth closed) and `voice.wav` (16 kHz) of a held-out speaker."""
    directory.mkdir(parents=True, exist_ok=True)
    frame = render(sample_portraits([_SAMPLE_SEED]), Motion.rest(1), 512).frames[0]
    pixels = (frame * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(directory / "portrait.png", optimize=True)
    speech = join([synthesize(text, _SAMPLE_VOICE, rate=150) for text in _SAMPLE_TEXTS], [0.2, 0.1])
    peak = np.abs(speech.waveform).max()
    with wave.open(str(directory / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((speech.waveform * (_LOUDEST / peak * 32767)).astype("<i2").tobytes())
