"""Generators and readers whose answers are known, for the tests of what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.evaluated_video import EvaluatedVideo
from training.evaluation.reader import FaceReader, Gallery, Reading
from training.model.model import EmoModel

#: The people of the fixture `clips`, who have nothing in common.
GALLERY = Gallery(("4", "17", "33"), np.eye(3, dtype=np.float32))


def identity_of(person: int, frames: int, people: int = 3) -> np.ndarray:
    """The identity (frames, people) of one among people who have nothing in common."""
    return np.tile(np.eye(people, dtype=np.float32)[person], (frames, 1))


def face_centre(clip: TrainingClip) -> np.ndarray:
    """The labels' middle of the face box (t, 2), in widths of the picture."""
    return (clip.face_box[:, :2] + clip.face_box[:, 2:] / 2) / clip.frames.shape[1]


def perfect_video(name: str, clip: TrainingClip) -> EvaluatedVideo:
    """The video of a model that repeats the truth, read by a reader that knows it."""
    identity = identity_of(GALLERY.names.index(name), len(clip.frames))
    reading = Reading(clip.mouth_opening, clip.mouth_width, clip.blink, clip.rotation, face_centre(clip), identity)
    portrait, box = portrait_of(clip)
    return EvaluatedVideo(name, portrait, box, clip, clip.frames, reading, reading)


def still_reading(frames: int) -> Reading:
    """The reading of a face that never moves, of the first person of the gallery."""
    zero = np.zeros(frames)
    return Reading(zero, zero, zero, np.zeros((frames, 3)), np.full((frames, 2), 0.5), identity_of(0, frames))


@dataclass(frozen=True)
class Call:
    """What a `NumberingGenerator` was called with."""

    face_box: Box
    waveform: np.ndarray
    seed: int
    speed: float


class NumberingGenerator:
    """Stands for a generator: its frames, of 32 x 32, hold the number of the call for a `ScriptedReader`."""

    def __init__(self, model: EmoModel) -> None:
        self.model = model
        self.calls: list[Call] = []

    def __call__(
        self, portrait: np.ndarray, face_box: Box, waveform: np.ndarray, frames: int, *, seed: int, speed: float
    ) -> np.ndarray:
        self.calls.append(Call(face_box, waveform, seed, speed))
        return np.full((frames, 32, 32, 3), len(self.calls) - 1, np.uint8)


class ScriptedReader(FaceReader):
    """Reads `answer(call, frames)` from frames of a `NumberingGenerator`; renders have the call -1."""

    def __init__(self, answer: Callable[[int, int], Reading]) -> None:
        super().__init__()
        self.answer = answer

    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        return self.answer(int(frames[0, 0, 0, 0]) if np.ptp(frames) == 0 else -1, len(frames))
