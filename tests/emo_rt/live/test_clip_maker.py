from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.gestures import Gestures
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.live.clip_maker import ClipMaker
from emo_rt.live.frame import LiveFrame, Place
from emo_rt.live.voice_queue import VoiceQueue
from emo_rt.media.boxes import Box

SAMPLING = Sampling(2, 1.5, 1)
BOX = Box(8, 8, 16, 16)


@pytest.fixture(scope="module")
def cascade(bundle: Path) -> Cascade:
    return Cascade.load(Bundle.load(bundle))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)


def new_maker(cascade: Cascade, picture: np.ndarray) -> ClipMaker:
    maker = ClipMaker(cascade, picture, BOX, SAMPLING, seed=7, speed=None)
    maker.prepare()
    return maker


def test_clips_are_those_of_a_video_where_all_of_the_voice_is_known(cascade: Cascade, picture: np.ndarray) -> None:
    voice = np.random.default_rng(1).uniform(-0.5, 0.5, 640 * 12).astype(np.float32)  # 3 clips
    clips = cascade.generate(
        picture, BOX, [voice], seed=7, steps=2, guidance_scale=1.5, guided_steps=1, cache_interval=1
    )
    queue, maker = VoiceQueue(cascade.config, 16000), new_maker(cascade, picture)
    queue.push(voice)
    made: list[LiveFrame] = []
    for clip in clips:
        poses = maker.make(made, list(queue))
        np.testing.assert_array_equal(np.stack([pose.picture for pose in poses]), clip)
        made += [LiveFrame(pose, queue.next()) for pose in poses]


def test_clips_walk_to_and_fro_along_one_stretch_of_gestures(
    cascade: Cascade, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def at(_: Gestures, frames: np.ndarray) -> np.ndarray:
        asked.extend(frames.tolist())
        return np.zeros((len(frames), 4), np.float32)

    monkeypatch.setattr(Gestures, "at", at)
    queue, maker = VoiceQueue(cascade.config, 16000), new_maker(cascade, picture)
    queue.pad(200)
    asked.clear()
    maker.idle_frames = 10
    made: list[LiveFrame] = []
    for _ in range(4):
        made += [LiveFrame(pose, queue.next()) for pose in maker.make(made, list(queue))]
    assert asked == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3]
    assert made[12].pose.place == Place(6, heading=-1)


def test_what_is_not_known_of_the_voice_is_silence(cascade: Cascade, picture: np.ndarray) -> None:
    voice = np.random.default_rng(1).uniform(-0.5, 0.5, 640 * 12).astype(np.float32)
    short, padded = VoiceQueue(cascade.config, 16000), VoiceQueue(cascade.config, 16000)
    short.push(voice[: 640 * 3])
    padded.push(np.pad(voice[: 640 * 3], (0, 640 * 9)))
    one, other = (new_maker(cascade, picture).make([], list(queue)) for queue in (short, padded))
    for pose, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(pose.picture, same.picture)


def test_the_length_of_a_clip_is_that_of_the_last_ones_without_the_longest(
    cascade: Cascade, picture: np.ndarray
) -> None:
    maker = new_maker(cascade, picture)
    assert maker.length(1) == 0
    maker._seconds.extend([0.09, 0.09, 0.2, 5.0])
    assert maker.length(1) == 6  # 0.2 s are 5 frames; and a tenth more
    assert maker.length(4) == 10  # four that take 0.09 s each


def test_a_wrong_portrait_or_speed_is_refused(cascade: Cascade, picture: np.ndarray) -> None:
    with pytest.raises(InputError, match="portrait is an image of 16 x 16"):
        ClipMaker(cascade, picture[:16, :16], BOX, SAMPLING, 0, None)
    with pytest.raises(InputError, match="speed is -1"):
        ClipMaker(cascade, picture, BOX, SAMPLING, 0, -1)
