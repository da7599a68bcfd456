"""A face in a LiveKit room: says what an agent of the room sends it, with `DataStreamAudioOutput`.

pip install "emo-rt[openvino]" livekit-agents
LIVEKIT_URL=wss://… LIVEKIT_API_KEY=… LIVEKIT_API_SECRET=… python examples/livekit_avatar.py --room my-room

The agent, in its entrypoint, before `session.start`:

    session.output.audio = DataStreamAudioOutput(
        ctx.room,
        destination_identity="emo-avatar",
        sample_rate=24000,
        wait_remote_track=rtc.TrackKind.KIND_VIDEO,
        wait_playback_start=True,
    )
"""

import argparse
import asyncio
import os
import sys

from livekit import api, rtc
from livekit.agents.voice.avatar import AudioReceiver, AvatarRunner, DataStreamAudioReceiver

import emo_rt
from emo_rt.serve.live.avatar import load_face
from emo_rt.serve.live.livekit import LiveKitAvatar

IDENTITY = "emo-avatar"


async def show(room: rtc.Room, receiver: AudioReceiver, image: str, bundle: str) -> None:
    """Shows a face in a connected room until that is left."""
    gone = asyncio.Event()
    room.on("disconnected", lambda *_: gone.set())
    face = await asyncio.to_thread(load_face, image, bundle=bundle)  # engines load beside the event loop
    async with LiveKitAvatar(face) as avatar:
        runner = AvatarRunner(room, audio_recv=receiver, video_gen=avatar, options=avatar.options)
        await runner.start()
        try:
            await gone.wait()
        finally:
            await runner.aclose()


async def join(name: str, image: str, bundle: str) -> None:
    """Joins a room as an avatar."""
    grants = api.VideoGrants(room_join=True, room=name)
    token = api.AccessToken().with_identity(IDENTITY).with_kind("agent").with_grants(grants)
    room = rtc.Room()
    await room.connect(os.environ["LIVEKIT_URL"], token.to_jwt())
    try:
        await show(room, DataStreamAudioReceiver(room), image, bundle)
    finally:
        await room.disconnect()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--room", required=True, help="name of the room")
    parser.add_argument("--image", default=emo_rt.PORTRAIT, help="picture with a face (default: the bundled portrait)")
    parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
    options = parser.parse_args()
    missing = [name for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET") if not os.environ.get(name)]
    if missing:
        sys.exit(f"set {', '.join(missing)}: the address and a key of your LiveKit server")
    asyncio.run(join(options.room, options.image, options.bundle))
