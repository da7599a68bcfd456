"""Clips with known labels, and what a judge with known faults reads from them."""

from __future__ import annotations

import numpy as np

from training.clips.clip import TrainingClip
from training.evaluation.judges.readings import IdentityReading, MeshReading


def talking_clip(seed: int = 0, frames: int = 60, person: str = "", yaw: float = 4.0) -> TrainingClip:
    """A clip without pictures whose last 20 frames are idle; it blinks once."""
    rng, time = np.random.default_rng(seed), np.arange(frames) / 25
    speaks = np.arange(frames) < frames - 20
    blink = np.exp(-((time - 1.0) ** 2) / 0.005)
    rotation = np.stack([yaw * np.sin(3 * time + seed), np.sin(2 * time), np.cos(time)], 1)
    return TrainingClip(
        frames=np.zeros((frames, 2, 2, 3), np.uint8),
        waveform=np.zeros(640 * frames, np.float32),
        mouth_opening=(speaks * (0.3 + rng.random(frames))).clip(0, 1).astype(np.float32),
        mouth_width=rng.random(frames).astype(np.float32),
        rotation=rotation.astype(np.float32),
        head_speed=np.zeros(frames, np.float32),
        face_box=np.zeros((frames, 4), np.float32),
        mouth_box=np.zeros((frames, 4), np.float32),
        phoneme_class=np.repeat(speaks.astype(np.int64) * 3, 2),
        blink=blink.astype(np.float32),
        person=person,
        photograph=f"{person}-1" if person else "",
    )


def perfect_mesh(clip: TrainingClip) -> MeshReading:
    """What a judge without faults reads."""
    rotation = clip.rotation.astype(np.float64)
    return MeshReading(0.15 * clip.mouth_opening, 0.5 + 0.2 * clip.mouth_width, 0.3 - 0.25 * clip.blink, rotation)


def person_points(name: str, looks: int = 4, spread: float = 0.1, face: int | None = None) -> IdentityReading:
    """Points around that of a face, which is about 0.85 from any other and `spread` from the photograph.

    Args:
        name: name of the person, a letter.
        looks: number of frames.
        spread: distance of the points from the photograph's.
        face: number of the face; None takes one that belongs to the name.
    """
    rng = np.random.default_rng(ord(name))
    centre = np.zeros(128)
    centre[ord(name) - ord("a") if face is None else face] = 0.6
    noise = rng.standard_normal((looks, 128))
    frames = centre + spread * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return IdentityReading(name, frames, centre)
