"""The clip of one generated speaker: a performance, and a drawn head or a photo puppet that shows it.

Everything about a clip follows from its seed, but for the face of a puppet, which is that of a photograph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.clips.clip import TrainingClip
from training.speakers.drawn.people import sample_portraits
from training.speakers.drawn.render import render
from training.speakers.performance import perform
from training.speakers.puppets.look import sample_look
from training.speakers.puppets.photographs import Photograph
from training.speakers.puppets.puppet import Puppet
from training.speakers.puppets.render import render_puppet


def make_clip(
    seed: int,
    seconds: float = 4.0,
    resolution: int = 128,
    *,
    voices: str | None = None,
    augmented_share: float | None = None,
) -> TrainingClip:
    """The clip of a seed with a drawn head.

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


def make_puppet_clip(
    seed: int,
    photograph: Photograph,
    seconds: float = 4.0,
    resolution: int = 128,
    *,
    voices: str | None = None,
    augmented_share: float | None = None,
    still: bool = False,
) -> TrainingClip:
    """The clip of a seed with the face of a photograph. Where its eyes look is unknown.

    Args:
        seed: number of the speaker, 0 or more.
        photograph: who is seen.
        seconds: length of the clip.
        resolution: side of a frame in pixels, even.
        voices: as for `make_clip`.
        augmented_share: as for `make_clip`.
        still: whether the head keeps still, and only the face moves.

    Raises:
        ValueError: if there is no such split.
    """
    performance = perform(seed, seconds, puppet=True, voices=voices, augmented_share=augmented_share)
    if still:
        performance = replace(performance, motion=performance.motion.with_still_head())
    puppet, look = Puppet.of(photograph), sample_look(np.random.default_rng([seed, 0x100C]))
    rendering = render_puppet(puppet, performance.motion, look, resolution)
    # A head that is turned in the photograph is turned further.
    seen = replace(performance.motion, rotation=puppet.seen_rotation(performance.motion.rotation))
    clip = replace(performance, motion=seen).clip(rendering)
    return replace(clip, gaze=clip.gaze[:0], photograph=photograph.name, person=photograph.identity)
