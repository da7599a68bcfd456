"""The clip of one drawn speaker: a performance, and a drawn head that shows it. All of it follows from the seed."""

from __future__ import annotations

from training.clips.clip import TrainingClip
from training.speakers.drawn.people import sample_portraits
from training.speakers.drawn.render import render
from training.speakers.performance import perform


def make_clip(
    seed: int,
    seconds: float = 4.0,
    resolution: int = 128,
    *,
    voices: str | None = None,
    augmented_share: float | None = None,
) -> TrainingClip:
    """The clip of a seed: one drawn person with a voice.

    Args:
        seed: number of the speaker, 0 or more.
        seconds: length of the clip.
        resolution: side of a frame in pixels.
        voices: split of `training.speakers.speech.voices` whose voices speak; None takes the seed's own.
        augmented_share: chance that the sound is imperfect; None takes 0.6 for training and 0 for held-out clips.

    Raises:
        ValueError: if there is no such split.
    """
    performance = perform(seed, seconds, voices=voices, augmented_share=augmented_share)
    return performance.clip(render(sample_portraits([seed]), performance.motion, resolution))
