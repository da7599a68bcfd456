"""The other end of a WebRTC connection: a picture that moves, a tone, and the messages of the data channel."""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

SIDE, RATE = 128, 25


class MovingPicture(MediaStreamTrack):
    """A bar that moves, 25 times a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.index, self.began = 0, time.monotonic()

    async def recv(self) -> av.VideoFrame:
        await asyncio.sleep(max(self.began + self.index / RATE - time.monotonic(), 0))
        pixels = np.full((SIDE, SIDE, 3), (90, 120, 105), np.uint8)
        place = self.index * 3 % (SIDE - 24)
        pixels[40:88, place : place + 24] = (224, 180, 150)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = self.index * 90000 // RATE, fractions.Fraction(1, 90000)
        self.index += 1
        return frame


class StubCall:
    """A session: it listens, speaks after a moment, and listens again when it is interrupted.

    Args:
        peer: connection to answer with
    """

    def __init__(self, peer: RTCPeerConnection) -> None:
        self.peer, self.loop = peer, asyncio.get_running_loop()
        self.channel: RTCDataChannel | None = None
        self.cleared = 0
        peer.add_listener("datachannel", self._open)

    async def answer(self, offer: str) -> str:
        """Answers an offer of SDP."""
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self.peer.addTrack(AudioStreamTrack())
        self.peer.addTrack(MovingPicture())
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return self.peer.localDescription.sdp

    def _open(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        channel.add_listener("message", self._heard)
        self.loop.call_later(0.3, self.say, {"type": "state", "speaking": True})

    def _heard(self, message: str) -> None:
        if json.loads(message)["type"] == "clear":
            self.clear()

    def clear(self) -> None:
        """Stops speaking."""
        self.cleared += 1
        self.say({"type": "cleared"})
        self.say({"type": "state", "speaking": False})

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message to the page."""
        if self.channel and self.channel.readyState == "open":
            self.channel.send(json.dumps(message))

    def tell(self, message: dict[str, Any]) -> None:
        """The same, from another thread."""
        self.loop.call_soon_threadsafe(self.say, message)

    def drop(self) -> None:
        """Ends the connection without a word, from another thread."""
        asyncio.run_coroutine_threadsafe(self.close(), self.loop)

    async def close(self) -> None:
        await self.peer.close()
