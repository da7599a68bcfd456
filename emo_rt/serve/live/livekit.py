"""The avatar interface of LiveKit Agents: `livekit.agents.voice.avatar.AvatarRunner` shows what this generates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarOptions, VideoGenerator

from emo_rt.live.face import LiveFace
from emo_rt.serve.live.avatar import Avatar

#: Seconds in which a runner takes a frame of audio at most.
_ON_ITS_WAY = 0.2


class LiveKitAvatar(VideoGenerator):
    """A face that says the segments of audio which an agent sends; an asynchronous context manager.

    Sound of any rate is taken; it leaves mono, at the rate of the face. Only what was pushed is sent as audio, so that
    the runner's position is what was played of it. A segment ends behind its last frame; one that is cleared does not
    end, since the runner tells that itself.

    Example:
        async with LiveKitAvatar(await asyncio.to_thread(load_face, "me.jpg")) as avatar:
            runner = AvatarRunner(room, audio_recv=receiver, video_gen=avatar, options=avatar.options)
            await runner.start()

    Args:
        face: face that is not entered yet, with `real_time=False`
    """

    def __init__(self, face: LiveFace) -> None:
        self._avatar = Avatar(face)
        self._played = asyncio.Event()  # set while no segment is ended and not played
        self._played.set()
        self._taken = asyncio.Event()  # set while no audio is on its way into the runner
        self._taken.set()
        self._cleared = 0

    async def __aenter__(self) -> Self:
        await self._avatar.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._avatar.__aexit__()

    @property
    def options(self) -> AvatarOptions:
        """The options of its runner."""
        config = self._avatar.face.config
        return AvatarOptions(
            video_width=config.resolution,
            video_height=config.resolution,
            video_fps=config.frames_per_second,
            audio_sample_rate=self._avatar.face.sound_rate,
            audio_channels=1,
        )

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Takes audio at once; the end of a segment when the segment is played or cleared.

        The runner knows one segment at a time: audio of the next one that it read before the end of the last one is
        played would never be told as finished. So whoever pushes and whoever iterates must be two tasks, as there.
        """
        if not isinstance(frame, AudioSegmentEnd):
            self._avatar.hear(frame.data, frame.sample_rate, frame.num_channels)
        elif self._avatar.end():
            self._played.clear()
            await self._played.wait()

    async def clear_buffer(self) -> None:
        """Drops all audio that is not played; the mouth closes.

        Returns when audio that was on its way has been taken: the runner counts that, and then begins at 0.
        """
        self._avatar.clear()
        self._cleared += 1
        self._played.set()
        with contextlib.suppress(TimeoutError):  # nobody iterates any more
            async with asyncio.timeout(_ON_ITS_WAY):
                await self._taken.wait()

    def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        return self._frames()

    async def _frames(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        rate = self._avatar.face.sound_rate
        async for frame in self._avatar.frames():
            cleared = self._cleared
            height, width, _ = frame.picture.shape
            yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, frame.picture.tobytes())
            if cleared != self._cleared:  # while that waited in the runner
                continue
            if len(frame.sound):
                self._taken.clear()
                try:
                    yield rtc.AudioFrame(frame.sound.tobytes(), rate, 1, len(frame.sound))
                finally:
                    self._taken.set()
            if frame.said and cleared == self._cleared:
                self._played.set()
                yield AudioSegmentEnd()
