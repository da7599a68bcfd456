"""Videos follow from their seed, and are kept until anything that they follow from changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.evaluated_video import generate_videos
from training.evaluation.generator import Generator
from training.evaluation.reader import FaceReader
from training.model.model import EmoModel

FRAMES = 6


def test_a_video_is_kept_until_anything_that_it_follows_from_changes(
    model: EmoModel, clips: dict[str, TrainingClip], tmp_path: Path
) -> None:
    clip = clips["4"]
    portrait, box = portrait_of(clip)
    arguments = (portrait, box, clip.waveform, FRAMES)
    kept = Generator(model, steps=1, directory=tmp_path)
    first = kept(*arguments, seed=0, speed=0.5)
    np.testing.assert_array_equal(first, kept(*arguments, seed=0, speed=0.5))
    np.testing.assert_array_equal(first, Generator(model, steps=1)(*arguments, seed=0, speed=0.5))
    assert len(list(tmp_path.iterdir())) == 1
    kept(*arguments, seed=1, speed=0.5)
    kept(*arguments, seed=0, speed=1.0)
    kept(portrait, replace(box, x=box.x + 1), clip.waveform, FRAMES, seed=0, speed=0.5)
    kept(portrait, box, clip.waveform / 2, FRAMES, seed=0, speed=0.5)
    Generator(model, steps=2, directory=tmp_path)(*arguments, seed=0, speed=0.5)
    other = EmoModel(model.config).eval()
    Generator(other, steps=1, directory=tmp_path)(*arguments, seed=0, speed=0.5)
    assert len(list(tmp_path.iterdir())) == 7


def test_a_seed_gives_the_same_videos(model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]) -> None:
    one = {"4": clips["4"]}
    first, again, other = (
        generate_videos(Generator(model, steps=1), reader, one, FRAMES, seed=seed, speed=0.5)[0].frames
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_clips_that_are_too_short_are_a_clear_error(
    model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> None:
    with pytest.raises(ValueError, match="has 10 frames, 11 are needed"):
        generate_videos(Generator(model), reader, clips, 11, speed=0.5)
