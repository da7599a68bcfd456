"""How the face of a photo puppet moves: less than a drawn head, but it smiles and breathes too.

A puppet that says nothing is idle, not still: it breathes, blinks and moves its head a little, with its lips closed.
"""

from __future__ import annotations

import numpy as np

from training.clips.rates import FRAMES_PER_SECOND
from training.speakers.gestures import head_motion, pauses, smoothed, stress, wander
from training.speakers.motion import Motion
from training.speakers.mouth import MouthCurves

#: Degrees of yaw, pitch and roll, because nothing behind the head is known.
ROTATION_LIMIT = 14.0

#: What a broad smile adds to the width that is seen of a mouth.
SMILE_WIDTH = 0.6

_LIVELINESS = (0.4, 0.8, 1.2)  # of the motion of drawn heads
_SMILING_SHARE, _BROAD_SHARE = 0.6, 0.25  # of people; of those who smile
_CLOSING_SHARE, _CLOSED = 0.12, (0.6, 3.0)  # of clips with eyes closed for longer; seconds
_BLINKS = ([0.6, 1.0, 0.8, 0.3], [0.5, 1.0, 1.0, 0.6, 0.2], [0.3, 0.8, 1.0, 1.0, 0.8, 0.5, 0.2])
_LIDS = [0.3, 0.7]  # how eyes begin to close for longer
_AT_REST = 0.02  # an opening, or a difference of the width, that is none


def puppet_motion(seed: int, waveform: np.ndarray, mouth: MouthCurves) -> Motion:
    """How the face of a puppet moves.

    Args:
        seed: number of the speaker; each part has a generator of its own.
        waveform: (frames * 640,) what the speaker says, at 16 kHz.
        mouth: shape of the mouth that says it, without smiles.
    """

    def part(key: int) -> np.random.Generator:
        return np.random.default_rng([seed, key])

    frames = len(mouth.opening)
    stressed = stress(waveform, frames).clip(0)
    smiling = smile(part(0x5317E), mouth)
    breath = breathing(part(0xB2EA7), frames)
    rotation, sway = _head(part(0x4EAD), waveform, breath)
    brows, cheeks = part(0xB20), part(0xC4EE)
    mouth = resting(mouth)
    return Motion.of(
        mouth_opening=mouth.opening,
        mouth_width=np.minimum(mouth.width, 1 - SMILE_WIDTH * smiling),  # a smile leaves less to spread
        blink=eyelids(part(0xB11E), waveform, frames),
        brow=(
            brows.normal(0, 0.12) + 0.2 * wander(brows, frames, 0.3) + brows.uniform(0, 4) * smoothed(stressed, 3)
        ).clip(-1, 1),
        rotation=rotation,
        translation=sway + [0, 1] * breath[:, None],
        smile=smiling,
        squint=(0.6 * smiling**1.5 + cheeks.uniform(0, 1.5) * stressed + 0.25 * (cheeks.random() < 0.1)).clip(0, 1),
        shoulders=0.4 * np.stack([smoothed(sway[:, axis], 9) for axis in (0, 1)], 1) + [0, 0.8] * breath[:, None],
    )


def resting(mouth: MouthCurves) -> MouthCurves:
    """The same mouth, but at rest where it is nearly so: what is left of a sound long after it is no motion."""
    closed = mouth.opening < _AT_REST
    neutral = np.abs(mouth.width - 0.5) < _AT_REST
    return MouthCurves(np.where(closed, 0, mouth.opening), np.where(neutral, 0.5, mouth.width).astype(np.float32))


def smile(rng: np.random.Generator, mouth: MouthCurves) -> np.ndarray:
    """How broadly somebody smiles, (frames,) from 0 to 0.8: six in ten do, slowly, and less on rounded sounds."""
    frames = len(mouth.width)
    if rng.random() > _SMILING_SHARE:
        return np.zeros(frames)
    size = rng.uniform(0.45, 0.8) if rng.random() < _BROAD_SHARE else rng.uniform(0.15, 0.45)
    ease = (0.55 + 0.6 * wander(rng, frames, rng.uniform(0.05, 0.2))).clip(0, 1)
    rounding = smoothed((1 - 2 * mouth.width).clip(0), 5)
    return size * ease**2 * (3 - 2 * ease) * (1 - 0.7 * rounding)


def eyelids(rng: np.random.Generator, waveform: np.ndarray, frames: int) -> np.ndarray:
    """How far the eyes are shut in each frame (frames,), from 0, open, to 1, shut.

    They blink where the voice pauses, and otherwise every 3 to 6 s. Every eighth clip has them closed for longer.

    Args:
        rng: chooses times and shapes.
        waveform: (frames * 640,) what the speaker says, at 16 kHz.
        frames: number of frames.
    """
    closing = np.zeros(frames)

    def close(start: float, shape: list[float]) -> None:
        place = closing[int(start) : int(start) + len(shape)]
        place[:] = np.maximum(place, shape[: len(place)])

    latest = -rng.uniform(0, 4) * FRAMES_PER_SECOND
    for pause in [*pauses(waveform, frames), frames]:
        while (due := latest + rng.uniform(3, 6) * FRAMES_PER_SECOND) < pause:
            if due >= 0:
                close(due, _BLINKS[rng.integers(len(_BLINKS))])
            latest = due
        if pause - latest > FRAMES_PER_SECOND:
            close(latest := pause, _BLINKS[rng.integers(len(_BLINKS))])
    if rng.random() < _CLOSING_SHARE:
        length = int(rng.uniform(*_CLOSED) * FRAMES_PER_SECOND)
        close(int(rng.integers(frames)), [*_LIDS, *[1.0] * length, *_LIDS[::-1]])
    return closing


def breathing(rng: np.random.Generator, frames: int) -> np.ndarray:
    """How far breath lifts the shoulders, (frames,) in fractions of the frame, negative because y points down."""
    frequency, phase = rng.uniform(0.2, 0.35), rng.uniform(0, 2 * np.pi)  # Hz
    cycles = 2 * np.pi * frequency * np.arange(frames) / FRAMES_PER_SECOND + 0.4 * wander(rng, frames, 0.1)
    return -rng.uniform(0.001, 0.006) * (0.5 - 0.5 * np.cos(cycles + phase))


def _head(rng: np.random.Generator, waveform: np.ndarray, breath: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (frames, 3) in degrees, which never rests, and sway (frames, 2) in fractions of the frame."""
    frames = len(breath)
    rotation, sway = head_motion(rng, waveform, frames)
    drift = 0.3 * np.stack([wander(rng, frames, 0.2) for _ in range(3)], 1)
    nod = [0, 100, 0] * breath[:, None]  # a breath lifts the chin
    wanted = rng.choice(_LIVELINESS) * rotation + drift + nod
    return ROTATION_LIMIT * np.tanh(wanted / ROTATION_LIMIT), 0.6 * sway
