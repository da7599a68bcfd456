"""The example for LiveKit: what does not need a server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from fake_bundle import write_fake_bundle
from livekit import rtc
from livekit.agents.voice.avatar import QueueAudioOutput
from loading import CHECKOUT, example, run_example
from rooms import both_ends
from speech import RATE, pcm

HELP = "set LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET: the address and a key of your LiveKit server"


def test_without_a_server_it_says_what_is_missing(tmp_path: Path) -> None:
    assert not any(name.startswith("LIVEKIT_") for name in os.environ)
    assert HELP in run_example("livekit_avatar.py", tmp_path, "--room", "my-room", code=1)


def test_it_shows_a_face_in_a_room_until_that_is_left(tmp_path: Path) -> None:
    bundle = write_fake_bundle(tmp_path / "fake")

    async def run() -> None:
        room, output = both_ends()[1], QueueAudioOutput(sample_rate=RATE)
        portrait = str(CHECKOUT / "assets/portrait.png")
        showing = asyncio.create_task(example("livekit_avatar").show(room, output, portrait, str(bundle)))
        sound = pcm(0.5)
        await output.capture_frame(rtc.AudioFrame(sound, RATE, 1, len(sound) // 2))
        output.flush()
        event = await asyncio.wait_for(output.wait_for_playout(), 60)
        assert event.playback_position == pytest.approx(0.5)
        assert len(room.published) == 2
        room.emit("disconnected", "reason")
        await asyncio.wait_for(showing, 10)

    asyncio.run(run())
