"""The clip of one generated speaker: a voice that says something, and a drawn head that follows it.

Everything about a clip follows from its seed. A tenth of the seeds is held out, with portraits, voices, languages and
sentences of their own. Six in ten of the training clips have an imperfect sound
(`training.speakers.speech.augmentation`); the labels are those of the voice alone.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from training.clips.clip import TrainingClip
from training.clips.rates import FRAMES_PER_SECOND
from training.clips.rotation import head_speed
from training.speakers.drawn.people import sample_portraits
from training.speakers.drawn.render import render
from training.speakers.gestures import blink_curve, gaze, head_motion, smoothed, wander
from training.speakers.motion import Motion
from training.speakers.mouth import MouthCurves, mouth_curves
from training.speakers.speech.recording import record, speak
from training.speakers.speech.utterance import frame_classes
from training.speakers.speech.voices import SPLITS, voice_language

_AUGMENTED_SHARE = 0.6


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
    """The clip of a seed: one person with a voice, who speaks with pauses and moves as much as people of that kind do.

    Args:
        seed: number of the speaker, 0 or more.
        seconds: length of the clip.
        resolution: side of a frame in pixels.
        voices: split of `training.speakers.speech.voices` whose voices speak; None takes the seed's own.
        augmented_share: chance that the sound is imperfect; None takes 0.6 for training and 0 for held-out clips.

    Raises:
        ValueError: if there is no such split.
    """
    own = "held-out" if is_held_out_seed(seed) else "train"
    voices = voices or own
    if voices not in SPLITS:
        raise ValueError(f"no split is called {voices!r}: there are {', '.join(SPLITS)}")
    if augmented_share is None:
        augmented_share = _AUGMENTED_SHARE if own == "train" else 0.0
    frames = round(seconds * FRAMES_PER_SECOND)
    # Each part has a generator of its own, so that a change of one leaves the others as they are.
    utterance, style = speak(np.random.default_rng([seed, 0x5BEE]), voices, frames / FRAMES_PER_SECOND)
    heard, sound = record(np.random.default_rng([seed, 0x50D]), utterance.waveform, voices, augmented_share)
    mouth = mouth_curves(utterance, FRAMES_PER_SECOND, frames)
    motion = _motion(np.random.default_rng([seed, 0xC119]), utterance.waveform, mouth)
    rendering = render(sample_portraits([seed]), motion, resolution)
    pixels = (rendering.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return TrainingClip(
        frames=pixels.numpy(),
        waveform=heard,
        mouth_opening=mouth.opening,
        mouth_width=mouth.width,
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


def _motion(rng: np.random.Generator, waveform: np.ndarray, mouth: MouthCurves) -> Motion:
    """How the face of somebody moves who says `waveform` (frames * 640,) with this mouth."""
    frames = len(mouth.opening)
    rotation, translation = head_motion(rng, waveform, frames)
    curves = {
        "mouth_opening": mouth.opening,
        "mouth_width": mouth.width,
        "rotation": rotation,
        "translation": translation,
        "gaze": gaze(rng, frames),
        "blink": blink_curve(rng, waveform, frames),
        "brow": 0.5 * wander(rng, frames, 0.6) + 0.4 * (smoothed(mouth.opening, 9) - 0.3),
        "smile": np.zeros(frames),
        "squint": np.zeros(frames),
        "shoulders": np.zeros((frames, 2)),
    }
    return Motion(**{name: torch.tensor(np.asarray(curve, np.float32)) for name, curve in curves.items()})
