"""Experiments tell heads that follow what is asked from those that do not, and long videos that hold from others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from known_faces import GALLERY, NumberingGenerator, ScriptedReader, identity_of, still_reading

from training.clips.clip import TrainingClip
from training.evaluation.experiments import (
    REGION_SCALES,
    Endurance,
    SpeedResponse,
    endurance,
    region_response,
    speed_response,
)
from training.evaluation.metrics import wandering
from training.evaluation.reader import Reading
from training.model.model import EmoModel

FRAMES = 6


def test_heads_as_fast_as_asked_follow_the_speed_and_still_ones_do_not(
    model: EmoModel, clips: dict[str, TrainingClip]
) -> None:
    speeds = model.config.speed_centers
    people = {name: clips[name] for name in ("4", "17")}

    def response(answer: Callable[[int, int], Reading], generator: NumberingGenerator | None = None) -> SpeedResponse:
        generator = generator or NumberingGenerator(model)
        return speed_response(generator, ScriptedReader(answer), people, 10, seed=3)  # type: ignore[arg-type]

    def turning(call: int, frames: int) -> Reading:
        clip = clips[("4", "17")[call % 2]]
        yaw = np.outer(speeds[call // 2] * np.arange(frames), [1.0, 0.0, 0.0])
        opening = np.roll(clip.mouth_opening, 1)  # as well at all speeds
        still = still_reading(frames)
        return still if call < 0 else replace(still, rotation=yaw, mouth_opening=opening)

    generator = NumberingGenerator(model)
    follows = response(turning, generator)
    assert follows.rank_correlation == pytest.approx(1)
    assert follows.measured == pytest.approx(list(speeds), rel=1e-3, abs=1e-3)
    assert follows.sync_range == 0
    asked = [(call.seed, call.speed) for call in generator.calls[:4]]
    assert asked == [(3, speeds[0]), (4, speeds[0]), (3, speeds[1]), (4, speeds[1])]
    assert response(lambda call, frames: still_reading(frames)).rank_correlation == 0

    def hardly(call: int, frames: int) -> Reading:
        """Follows, but by less than people differ."""
        speed = (0.3, 0.9)[call % 2] + 0.001 * (call // 2)
        return replace(still_reading(frames), rotation=np.outer(speed * np.arange(frames), [1.0, 0.0, 0.0]))

    assert response(hardly).rank_correlation < 0.5

    def distracted(call: int, frames: int) -> Reading:
        return turning(call, frames) if call < 2 else replace(turning(call, frames), mouth_opening=np.zeros(frames))

    assert response(distracted).sync_range > 0.3


def test_a_face_that_uses_its_region_wanders_further_in_a_large_one(
    model: EmoModel, clips: dict[str, TrainingClip]
) -> None:
    places = np.random.default_rng(0).random((FRAMES, 2))
    generator = NumberingGenerator(model)

    def wandered(call: int, frames: int) -> Reading:
        return replace(still_reading(frames), face_centre=generator.calls[call].face_box.width / 32 * places)

    response = region_response(generator, ScriptedReader(wandered), clips, FRAMES, seed=0)  # type: ignore[arg-type]
    boxes = [call.face_box for call in generator.calls]
    small, large = boxes[0], boxes[len(clips)]
    assert large.width / small.width == pytest.approx(REGION_SCALES[1] / REGION_SCALES[0])
    assert large.x + large.width / 2 == pytest.approx(small.x + small.width / 2)
    assert large.y + large.height / 2 == pytest.approx(small.y + small.height / 2)
    assert 0 < response.small < response.large
    assert response.large == pytest.approx(np.mean([wandering(box.width / 32 * places) for box in boxes[len(clips) :]]))


def test_a_long_video_that_falls_apart_shows_it(model: EmoModel, clips: dict[str, TrainingClip]) -> None:
    generator, frames = NumberingGenerator(model), 60
    opening = np.concatenate([clip.mouth_opening for clip in clips.values()] * 2)
    opening[-10:] = opening[:10]

    def measured(generator: NumberingGenerator, identity: np.ndarray, last_sixth: float) -> Endurance:
        """Of a mouth that opens `last_sixth` times as far at the end."""
        says = opening.copy()
        says[-10:] *= last_sixth
        reader = ScriptedReader(
            lambda call, frames: replace(still_reading(frames), mouth_opening=says, identity=identity)
        )
        return endurance(generator, reader, clips, GALLERY, frames, people=1, speed=0.5, seed=0)  # type: ignore[arg-type]

    own = identity_of(0, frames)
    well = measured(generator, own, 1)
    assert well.identity_first == well.identity_last == 1
    assert well.sync_first == well.sync_last == pytest.approx(1)
    assert well.colour_drift == 0
    voice = generator.calls[0].waveform
    assert len(voice) == frames * 640
    np.testing.assert_array_equal(voice[: 10 * 640], voice[-10 * 640 :])
    np.testing.assert_array_equal(voice[: len(clips["4"].waveform)], clips["4"].waveform)
    badly = measured(NumberingGenerator(model), np.concatenate([own[:50], identity_of(1, 10)]), 0)
    assert (badly.identity_first, badly.identity_last, badly.sync_last) == (1, 0, 0)
