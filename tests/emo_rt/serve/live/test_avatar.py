from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from emo_rt.errors import InputError
from emo_rt.live.face import LiveFace
from emo_rt.serve.live.avatar import Avatar, AvatarFrame, load_face

RATE = 16000
FRAME = RATE // 25


def pcm(samples: int) -> bytes:
    return (3000 + np.arange(samples) % 1999).astype(np.int16).tobytes()


def said(frames: list[AvatarFrame]) -> bytes:
    return b"".join(frame.sound.tobytes() for frame in frames)


async def taken(avatar: Avatar, until: Callable[[list[AvatarFrame]], object]) -> list[AvatarFrame]:
    frames: list[AvatarFrame] = []
    async with asyncio.timeout(20):
        async for frame in avatar.frames():
            frames.append(frame)
            if until(frames):
                break
    return frames


@pytest.fixture(scope="module")
def loaded(bundle: Path, portrait: Path) -> LiveFace:
    return load_face(portrait, bundle=bundle, sound_rate=RATE)


@pytest.fixture
def face(loaded: LiveFace) -> LiveFace:
    """Another face with the same engines."""
    maker = loaded._maker
    return LiveFace(maker.cascade, maker._portrait, maker._face_box, maker.sampling, sound_rate=RATE)


def talk(face: LiveFace, talking: Callable[[Avatar], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Avatar(face) as avatar:
            await talking(avatar)

    asyncio.run(run())


def test_what_is_heard_is_said_whole_and_its_end_is_told_with_its_last_frame(face: LiveFace) -> None:
    async def talking(avatar: Avatar) -> None:
        avatar.hear(pcm(10 * FRAME + 200), RATE)
        name = avatar.end()
        frames = await taken(avatar, lambda frames: frames[-1].said)
        assert frames[-1].said == (name,)
        sound = said(frames)
        assert sound[: len(pcm(10 * FRAME + 200))] == pcm(10 * FRAME + 200)
        assert len(sound) // 2 == 10 * FRAME + 2 * RATE // 100  # the last 10 ms are filled up
        assert avatar.end() is None  # nothing was heard since

    talk(face, talking)


def test_frames_with_sound_are_early_and_idle_ones_are_not(face: LiveFace) -> None:
    async def talking(avatar: Avatar) -> None:
        times, sounds = [], []
        async for frame in avatar.frames():
            times.append(time.monotonic())
            sounds.append(bool(len(frame.sound)))
            if len(times) == 20:
                avatar.hear(pcm(30 * FRAME), RATE)
                avatar.end()
            if len(times) == 90:
                break
        start = min(
            at - 0.04 * number for number, (at, sound) in enumerate(zip(times, sounds, strict=True)) if not sound
        )
        early = [start + 0.04 * number - at for number, at in enumerate(times)]
        first = sounds.index(True)
        assert max(early[:first]) <= 0.001
        assert max(early[first + 3 : first + 30]) == pytest.approx(0.08, abs=0.03)
        assert max(early[first + 30 :]) <= 0.001

    talk(face, talking)


def test_what_is_cleared_is_not_said_nor_told(face: LiveFace) -> None:
    async def talking(avatar: Avatar) -> None:
        avatar.hear(pcm(50 * FRAME), RATE)
        avatar.end()
        await taken(avatar, lambda frames: len(frames[-1].sound))
        assert avatar.busy
        avatar.clear()
        frames = await taken(avatar, lambda frames: len(frames) == 20)
        assert not any(len(frame.sound) or frame.said for frame in frames)
        assert not avatar.busy

    talk(face, talking)


def test_an_opening_that_is_cancelled_leaves_no_thread(face: LiveFace) -> None:
    async def run() -> None:
        avatar = Avatar(face)
        opening = asyncio.create_task(avatar.__aenter__())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert not avatar.face._thread.is_alive()

    asyncio.run(run())


def test_a_wrong_value_is_refused(bundle: Path, portrait: Path) -> None:
    with pytest.raises(InputError, match="speed is 11"):
        load_face(portrait, bundle=bundle, speed=11)
