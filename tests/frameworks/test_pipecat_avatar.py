"""The example for Pipecat, in real pipelines."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_bundle import write_fake_bundle
from loading import CHECKOUT, example, run_example
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from speech import FRAME, RATE, pcm

from emo_rt.live.face import LiveFace
from emo_rt.serve.live.avatar import Avatar, AvatarFrame

EmoAvatar = example("pipecat_avatar").EmoAvatar


def speech(sound: bytes, rate: int = RATE) -> list[Frame]:
    """An answer of a TTS service, in parts of 100 ms."""
    size = rate // 10 * 2
    parts = [TTSAudioRawFrame(sound[at : at + size], rate, 1) for at in range(0, len(sound), size)]
    return [TTSStartedFrame(), *parts, TTSStoppedFrame()]


def said(frames: Sequence[Frame]) -> bytes:
    return b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))


def sent(processor: FrameProcessor, frames: list[Frame]) -> Sequence[Frame]:
    """What comes out of a pipeline, in order."""
    down, _ = asyncio.run(run_test(processor, frames_to_send=frames, start_timeout=20))
    return down


def test_what_tts_gives_comes_out_whole_with_a_picture_for_each_part(new_face: Callable[..., LiveFace]) -> None:
    down = sent(EmoAvatar(new_face()), [SleepFrame(0.5), *speech(pcm(1.2)), SleepFrame(2.0)])
    assert said(down) == pcm(1.2)
    kinds = [type(frame) for frame in down]
    first = kinds.index(TTSAudioRawFrame)
    last = len(kinds) - kinds[::-1].index(TTSAudioRawFrame)
    assert abs(kinds[first:last].count(OutputImageRawFrame) - 30) <= 3
    assert TTSStoppedFrame in kinds[last : last + 2]
    assert kinds[:first].count(OutputImageRawFrame) > 10
    assert kinds[last:].count(OutputImageRawFrame) > 10
    image = next(frame for frame in down if isinstance(frame, OutputImageRawFrame))
    assert (image.size, image.format, len(image.image)) == ((32, 32), "RGB", 32 * 32 * 3)


def test_a_pipeline_ends_when_all_is_said(new_face: Callable[..., LiveFace]) -> None:
    down = sent(EmoAvatar(new_face()), speech(pcm(0.8)))
    assert said(down) == pcm(0.8)
    assert TTSStoppedFrame in map(type, down)
    down = sent(EmoAvatar(new_face()), speech(pcm(0.8))[:-1])  # without a frame that says the end
    assert said(down) == pcm(0.8)


def test_an_interruption_stops_the_face_at_once(new_face: Callable[..., LiveFace]) -> None:
    frames = [*speech(pcm(4.0)), SleepFrame(1.0), InterruptionFrame(), SleepFrame(0.6), *speech(pcm(0.4))]
    down = sent(EmoAvatar(new_face()), frames)
    at = list(map(type, down)).index(InterruptionFrame)
    before, after = said(down[:at]), said(down[at:])
    assert before == pcm(4.0)[: len(before)]
    assert 10 <= len(before) // FRAME // 2 <= 30
    assert after == pcm(0.4)
    assert list(map(type, down)).count(TTSStoppedFrame) == 1
    images = list(map(type, down[at:])).index(TTSAudioRawFrame)
    assert images > 10  # it idles in between


class Transport(BaseOutputTransport):
    """Pipecat's own output, of which only the network is a stand-in: it takes sound at the pace of time."""

    def __init__(self) -> None:
        params = TransportParams(
            audio_out_enabled=True,
            audio_out_sample_rate=RATE,
            audio_out_end_silence_secs=0,
            video_out_enabled=True,
            video_out_is_live=True,
            video_out_framerate=25,
            video_out_width=32,
            video_out_height=32,
        )
        super().__init__(params)
        self.pictures: list[float] = []
        self.shown: dict[bytes, float] = {}
        self.sound: list[tuple[float, bytes]] = []
        self._due = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_video_frame(self, frame: OutputImageRawFrame) -> bool:
        self.pictures.append(time.monotonic())
        self.shown[frame.image] = time.monotonic()
        return True

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        start = max(self._due, time.monotonic())
        self._due = start + frame.num_frames / frame.sample_rate
        self.sound.append((start, frame.audio))
        await asyncio.sleep(max(self._due - time.monotonic(), 0))
        return True


def test_a_transport_shows_25_pictures_a_second_and_tells_when_the_bot_speaks(
    new_face: Callable[..., LiveFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, frames, spoken = Transport(), Avatar.frames, []

    async def watched(avatar: Avatar) -> AsyncIterator[AvatarFrame]:
        async for frame in frames(avatar):
            if len(frame.sound):
                spoken.append(frame.picture.tobytes())
            yield frame

    monkeypatch.setattr(Avatar, "frames", watched)
    pipeline = Pipeline([EmoAvatar(new_face()), transport])
    down = sent(pipeline, [SleepFrame(1.0), *speech(pcm(1.2)), SleepFrame(2.5)])
    sound = b"".join(sound for _, sound in transport.sound)
    assert sound.removeprefix(pcm(1.2)).strip(b"\0") == b""  # then silence of the transport
    assert np.mean(np.diff(transport.pictures)) == pytest.approx(0.04, abs=0.003)
    kinds = [type(frame) for frame in down if isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame)]
    assert kinds == [BotStartedSpeakingFrame, BotStoppedSpeakingFrame]
    offsets = [at - transport.shown[picture] for (at, _), picture in zip(transport.sound, spoken, strict=True)]
    assert np.abs(np.median(offsets)) < 0.06
    gaps = np.diff([at for at, _ in transport.sound])
    assert gaps.max() < 0.1  # the sound never runs out


def test_it_runs_as_it_is(tmp_path: Path) -> None:
    bundle = write_fake_bundle(tmp_path / "fake")
    printed = run_example("pipecat_avatar.py", tmp_path, "--bundle", bundle, "--audio", CHECKOUT / "assets/voice.wav")
    match = re.search(r"(\d+) pictures, ([\d.]+) s of sound", printed)
    assert match, printed
    assert float(match[2]) > 3
    assert int(match[1]) >= float(match[2]) * 25
