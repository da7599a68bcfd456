"""LiveKit's own runner, synchronizer and data streams show a face; only the room is a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
from livekit import rtc
from livekit.agents.voice.avatar import (
    AudioSegmentEnd,
    AvatarRunner,
    DataStreamAudioOutput,
    DataStreamAudioReceiver,
    QueueAudioOutput,
)
from rooms import both_ends
from speech import FRAME, RATE, pcm

from emo_rt.live.face import LiveFace
from emo_rt.serve.live.livekit import LiveKitAvatar

Yielded = rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd


def audio(sound: bytes, rate: int = RATE, channels: int = 1, milliseconds: int = 100) -> list[rtc.AudioFrame]:
    """Sound in frames, as an agent sends them."""
    size = rate * milliseconds // 1000 * channels * 2
    parts = [sound[at : at + size] for at in range(0, len(sound), size)]
    return [rtc.AudioFrame(part, rate, channels, len(part) // channels // 2) for part in parts]


def kinds(frames: list[Yielded]) -> str:
    """One letter a frame: Video, Audio, End."""
    return "".join("E" if isinstance(each, AudioSegmentEnd) else type(each).__name__[0] for each in frames)


def said(frames: list[Yielded]) -> bytes:
    return b"".join(bytes(each.data) for each in frames if isinstance(each, rtc.AudioFrame))


async def push(avatar: LiveKitAvatar, sound: bytes, rate: int = RATE, channels: int = 1) -> None:
    """Pushes a segment; returns when it is played or cleared."""
    for frame in audio(sound, rate, channels):
        await avatar.push_audio(frame)
    await avatar.push_audio(AudioSegmentEnd())


async def collected(avatar: LiveKitAvatar, until: Callable[[list[Yielded]], object]) -> list[Yielded]:
    """What the avatar generates, until that is so; each frame waits for none."""
    frames: list[Yielded] = []
    async with asyncio.timeout(20):
        async for frame in avatar:
            frames.append(frame)
            if until(frames):
                break
    return frames


def alone(face: LiveFace, talk: Callable[[LiveKitAvatar], Awaitable[None]]) -> None:
    async def run() -> None:
        async with LiveKitAvatar(face) as avatar:
            await talk(avatar)

    asyncio.run(run())


def test_idle_frames_flow_at_25_a_second_without_audio(new_face: Callable[..., LiveFace]) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        started = time.monotonic()
        frames = await collected(avatar, lambda frames: len(frames) == 51)
        assert time.monotonic() - started == pytest.approx(2.0, abs=0.25)
        assert kinds(frames) == "V" * 51
        first = frames[0]
        assert isinstance(first, rtc.VideoFrame)
        assert (first.width, first.height, first.type) == (32, 32, rtc.VideoBufferType.RGB24)
        assert len({bytes(each.data) for each in frames if isinstance(each, rtc.VideoFrame)}) > 5  # it moves

    alone(new_face(), talk)


def test_a_segment_is_said_whole_and_ends_behind_its_last_frame(new_face: Callable[..., LiveFace]) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        sound = pcm(1.51)  # no multiple of a frame
        task = asyncio.create_task(push(avatar, sound))
        frames = await collected(avatar, lambda frames: kinds(frames[-5:]) == "V" * 5 and "E" in kinds(frames))
        await asyncio.wait_for(task, 1)
        assert said(frames) == sound
        shown = kinds(frames)
        assert shown.count("E") == 1
        assert shown[: shown.index("E") + 1].endswith("VAE")
        speech = shown[shown.index("A") - 1 : shown.index("E")]
        assert speech == "VA" * 38  # a picture for each 40 ms, before its sound

    alone(new_face(), talk)


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (48000, 2)])
def test_sound_of_any_rate_is_said(new_face: Callable[..., LiveFace], rate: int, channels: int) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        task = asyncio.create_task(push(avatar, pcm(1.0, rate, channels), rate, channels))
        frames = await collected(avatar, lambda frames: "E" in kinds(frames))
        await task
        heard = np.frombuffer(said(frames), np.int16).astype(float)
        wanted = np.frombuffer(pcm(1.0), np.int16).astype(float)
        assert len(heard) == pytest.approx(len(wanted), abs=RATE // 100)
        count = min(len(heard), len(wanted))
        assert np.corrcoef(heard[:count], wanted[:count])[0, 1] > 0.99

    alone(new_face(), talk)


def test_segments_follow_each_other_and_each_ends(new_face: Callable[..., LiveFace]) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        async def both() -> None:
            await push(avatar, pcm(0.4))
            await avatar.push_audio(AudioSegmentEnd())  # one without audio is none
            await push(avatar, pcm(0.6))

        task = asyncio.create_task(both())
        frames = await collected(avatar, lambda frames: kinds(frames).count("E") == 2)
        await task
        first = next(number for number, frame in enumerate(frames) if isinstance(frame, AudioSegmentEnd))
        assert said(frames[:first]) == pcm(0.4)
        assert said(frames[first:]) == pcm(0.6)

    alone(new_face(), talk)


def test_clearing_stops_audio_at_once_and_the_segment_does_not_end(new_face: Callable[..., LiveFace]) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        task = asyncio.create_task(push(avatar, pcm(4.0)))
        frames = await collected(avatar, lambda frames: kinds(frames).count("A") == 20)
        assert not task.done()
        started = time.monotonic()
        await avatar.clear_buffer()
        assert time.monotonic() - started < 0.05
        await asyncio.wait_for(task, 0.1)
        after = await collected(avatar, lambda frames: len(frames) == 25)
        assert kinds(after) == "V" * 25
        idle = {pose.picture.tobytes() for pose in avatar._avatar.face._idle._poses}
        shown = [bytes(each.data) in idle for each in after if isinstance(each, rtc.VideoFrame)]
        assert all(shown[5:])  # 200 ms
        task = asyncio.create_task(push(avatar, pcm(0.3)))  # and it can speak again
        frames = await collected(avatar, lambda frames: "E" in kinds(frames))
        await task
        assert said(frames).startswith(pcm(0.3)[: 7 * FRAME * 2])

    alone(new_face(), talk)


def test_audio_of_a_picture_that_waits_while_all_is_cleared_is_not_sent(new_face: Callable[..., LiveFace]) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        task = asyncio.create_task(push(avatar, pcm(2.0)))
        frames = aiter(avatar)
        sounds = 0
        while sounds < 5:
            sounds += isinstance(await anext(frames), rtc.AudioFrame)
        assert isinstance(await anext(frames), rtc.VideoFrame)
        await avatar.clear_buffer()
        assert kinds([await anext(frames) for _ in range(5)]) == "V" * 5
        await task

    alone(new_face(), talk)


def test_audio_that_is_on_its_way_is_counted_before_the_clear_is_done(new_face: Callable[..., LiveFace]) -> None:
    async def talk(avatar: LiveKitAvatar) -> None:
        task = asyncio.create_task(push(avatar, pcm(2.0)))
        frames = aiter(avatar)
        while not isinstance(await anext(frames), rtc.AudioFrame):
            pass
        clearing = asyncio.create_task(avatar.clear_buffer())
        await asyncio.wait_for(task, 1)
        assert not clearing.done()
        assert isinstance(await anext(frames), rtc.VideoFrame)
        await asyncio.wait_for(clearing, 0.02)

    alone(new_face(), talk)


def test_the_event_loop_goes_on_while_a_face_is_opened(new_face: Callable[..., LiveFace]) -> None:
    face = new_face()
    warm_up = face._maker.cascade.warm_up

    def slow(sampling: object) -> None:
        time.sleep(0.5)
        warm_up(sampling)  # type: ignore[arg-type]

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(face._maker.cascade, "warm_up", slow)
            opening = asyncio.create_task(LiveKitAvatar(face).__aenter__())
            longest = 0.0
            while not opening.done():
                started = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - started)
        assert longest < 0.3
        await opening.result().__aexit__()

    asyncio.run(run())


class Shown:
    """What LiveKit's sources get, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.videos: dict[int, float] = {}
        self.sounds: list[tuple[float, rtc.AudioFrame, int]] = []  # when, what, and the picture before it
        self.kept: list[object] = []  # so that no id comes twice
        show, play, push = rtc.VideoSource.capture_frame, rtc.AudioSource.capture_frame, rtc.AVSynchronizer.push

        def capture_video(source: rtc.VideoSource, frame: rtc.VideoFrame) -> None:
            self.videos[id(frame)] = time.perf_counter()
            show(source, frame)

        async def capture_audio(source: rtc.AudioSource, frame: rtc.AudioFrame) -> None:
            self.sounds.append((time.perf_counter(), frame, id(self.kept[-1])))
            await play(source, frame)

        async def pushed(synchronizer: rtc.AVSynchronizer, frame: rtc.VideoFrame | rtc.AudioFrame) -> None:
            if isinstance(frame, rtc.VideoFrame):
                self.kept.append(frame)
            await push(synchronizer, frame)

        monkeypatch.setattr(rtc.VideoSource, "capture_frame", capture_video)
        monkeypatch.setattr(rtc.AudioSource, "capture_frame", capture_audio)
        monkeypatch.setattr(rtc.AVSynchronizer, "push", pushed)

    def offsets(self) -> list[float]:
        """Seconds by which each sound is played after its picture is shown."""
        result, end = [], 0.0
        for at, frame, picture in self.sounds:
            start = max(at, end)
            end = start + frame.duration
            result.append(start - self.videos[picture])
        return result

    def sound(self) -> bytes:
        return b"".join(bytes(frame.data) for _, frame, _ in self.sounds)


@contextlib.asynccontextmanager
async def running(face: LiveFace, receiver: object, room: object) -> AsyncIterator[AvatarRunner]:
    async with LiveKitAvatar(face) as avatar:
        runner = AvatarRunner(room, audio_recv=receiver, video_gen=avatar, options=avatar.options)  # type: ignore[arg-type]
        await runner.start()
        try:
            yield runner
        finally:
            await runner.aclose()


def test_the_runner_plays_picture_and_sound_together_and_tells_the_end(
    new_face: Callable[..., LiveFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        shown, room = Shown(monkeypatch), both_ends()[1]
        output = QueueAudioOutput(sample_rate=RATE)
        async with running(new_face(), output, room) as runner:
            await asyncio.sleep(1)
            assert len(room.published) == 2
            for sound in (pcm(1.51), pcm(0.5)):  # the second before the first is played
                for frame in audio(sound):
                    await output.capture_frame(frame)
                output.flush()
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert event.playback_position == pytest.approx(0.5)
            assert not event.interrupted
            assert runner.av_sync.actual_fps == pytest.approx(25, abs=1)
            await asyncio.sleep(0.5)
        assert shown.sound() == pcm(1.51) + pcm(0.5)
        assert np.median(np.abs(shown.offsets())) < 0.045
        gaps = np.diff(sorted(shown.videos.values()))
        assert np.mean(gaps) == pytest.approx(0.04, abs=0.002)

    asyncio.run(run())


def test_an_agent_elsewhere_hears_how_far_its_speech_was_played(
    new_face: Callable[..., LiveFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        shown = Shown(monkeypatch)
        agent, avatar = both_ends()
        receiver = DataStreamAudioReceiver(avatar)  # type: ignore[arg-type]
        output = DataStreamAudioOutput(
            agent,  # type: ignore[arg-type]
            destination_identity="avatar",
            sample_rate=RATE,
            wait_playback_start=True,
        )
        calls = avatar.local_participant.calls
        async with running(new_face(), receiver, avatar):
            for frame in audio(pcm(1.0)):
                await output.capture_frame(frame)
            output.flush()
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert (event.playback_position, event.interrupted) == (pytest.approx(1.0), False)
            assert shown.sound() == pcm(1.0)

            for frame in audio(pcm(5.0)):
                await output.capture_frame(frame)
            while len(shown.sounds) < 25 + 25:
                await asyncio.sleep(0.01)
            output.clear_buffer()
            output.flush()
            cleared = time.perf_counter()
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert event.interrupted
            assert event.playback_position == pytest.approx(1.0, abs=0.3)
            await asyncio.sleep(0.6)
            assert shown.sounds[-1][0] - cleared < 0.2
            count = len(shown.sounds)

            for frame in audio(pcm(0.4)):  # and it can speak again
                await output.capture_frame(frame)
            output.flush()
            event = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert (event.playback_position, event.interrupted) == (pytest.approx(0.4), False)
            assert b"".join(bytes(frame.data) for _, frame, _ in shown.sounds[count:]) == pcm(0.4)
        finished = [json.loads(payload) for method, payload in calls if method == "lk.playback_finished"]
        assert [each["interrupted"] for each in finished] == [False, True, False]
        assert [method for method, _ in calls].count("lk.playback_started") == 3

    asyncio.run(run())
