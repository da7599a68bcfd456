"""What somebody says and how the face moves meanwhile, whatever kind of head shows it.

Everything about a performance follows from its seed. A tenth of the seeds is held out, with voices, languages and
sentences of their own. Six in ten of the training clips have an imperfect sound
(`training.speakers.speech.augmentation`); the labels are those of the voice alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from training.clips.clip import TrainingClip
from training.clips.held_out import is_held_out_seed
from training.clips.rates import FRAMES_PER_SECOND
from training.clips.rotation import head_speed
from training.speakers.acting import SMILE_WIDTH, puppet_motion
from training.speakers.gestures import blink_curve, gaze, head_motion, smoothed, wander
from training.speakers.motion import Motion
from training.speakers.mouth import MouthCurves, mouth_curves
from training.speakers.rendering import Rendering
from training.speakers.speech.recording import record, record_silence, speak
from training.speakers.speech.utterance import frame_classes
from training.speakers.speech.voices import SPLITS, voice_language

_AUGMENTED_SHARE = 0.6


@dataclass(frozen=True)
class Performance:
    """What somebody says in t frames, and how the face moves.

    Attributes:
        waveform: float32 (t * 640,) what is heard at 16 kHz, in [-1, 1].
        phoneme_class: int64 indices into `training.clips.phonemes.PHONEME_CLASSES` (2 * t,) at 50 Hz.
        motion: t frames.
        text: what is said.
        voice: espeak-ng's name of the voice, such as "en-us+f3".
        style: "speech", "whisper" or "singing".
        sound: "clean", or the effects of `training.speakers.speech.augmentation` joined by "+".
    """

    waveform: np.ndarray
    phoneme_class: np.ndarray
    motion: Motion
    text: str
    voice: str
    style: str
    sound: str

    def clip(self, rendering: Rendering) -> TrainingClip:
        """The training clip of this performance, by the pictures of a head that shows its motion."""
        pixels = (rendering.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        motion = self.motion
        return TrainingClip(
            frames=pixels.cpu().numpy(),
            waveform=self.waveform,
            mouth_opening=motion.mouth_opening.numpy(),
            mouth_width=(motion.mouth_width + SMILE_WIDTH * motion.smile).numpy(),
            rotation=motion.rotation.numpy(),
            head_speed=head_speed(motion.rotation.numpy()),
            face_box=rendering.face_box.cpu().numpy(),
            mouth_box=rendering.mouth_box.cpu().numpy(),
            landmarks=np.zeros(0, np.float32) if rendering.landmarks is None else rendering.landmarks.cpu().numpy(),
            phoneme_class=self.phoneme_class,
            blink=motion.blink.numpy(),
            gaze=motion.gaze.numpy(),
            text=self.text,
            voice=self.voice,
            language=voice_language(self.voice),
            style=self.style,
            sound=self.sound,
        )


def perform(
    seed: int,
    seconds: float,
    *,
    puppet: bool = False,
    voices: str | None = None,
    augmented_share: float | None = None,
) -> Performance:
    """The performance of a seed: speech with pauses, and as much motion as people of that kind have.

    Args:
        seed: number of the speaker, 0 or more.
        seconds: length.
        puppet: whether a photo puppet shows it. Puppets also fall silent for seconds, smile and breathe, and turn less.
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
    silences = np.random.default_rng([seed, 0x1D1E]) if puppet else None
    utterance, style = speak(np.random.default_rng([seed, 0x5BEE]), voices, frames / FRAMES_PER_SECOND, silences)
    recording = np.random.default_rng([seed, 0x50D])
    if puppet and not utterance.waveform.any():
        heard, sound = record_silence(recording, len(utterance.waveform), augmented_share)
    else:
        heard, sound = record(recording, utterance.waveform, voices, augmented_share)
    mouth = mouth_curves(utterance, FRAMES_PER_SECOND, frames)
    if puppet:
        motion = puppet_motion(seed, utterance.waveform, mouth)
    else:
        motion = _drawn_motion(np.random.default_rng([seed, 0xC119]), utterance.waveform, mouth)
    classes = frame_classes(utterance, 2 * FRAMES_PER_SECOND, 2 * frames)
    return Performance(heard, classes, motion, utterance.text, utterance.voice, style, sound)


def _drawn_motion(rng: np.random.Generator, waveform: np.ndarray, mouth: MouthCurves) -> Motion:
    """How the face of a drawn head moves that says `waveform` (frames * 640,) with this mouth."""
    frames = len(mouth.opening)
    rotation, translation = head_motion(rng, waveform, frames)
    return Motion.of(
        mouth_opening=mouth.opening,
        mouth_width=mouth.width,
        rotation=rotation,
        translation=translation,
        gaze=gaze(rng, frames),
        blink=blink_curve(rng, waveform, frames),
        brow=0.5 * wander(rng, frames, 0.6) + 0.4 * (smoothed(mouth.opening, 9) - 0.3),
    )
