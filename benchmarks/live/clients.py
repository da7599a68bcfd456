"""Clients of a live server that note when each picture and each sound is decoded."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
import websockets
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

#: Sample rate of the voice, Hz, and seconds of the parts in which a microphone gives it.
VOICE_RATE, _PART = 48000, 0.02


@dataclass(frozen=True)
class Seen:
    """A decoded picture.

    Attributes:
        arrived: when, seconds on the clock of `time.monotonic`
        at: its moment in the media, seconds
        picture: RGB uint8 (height, width, 3)
    """

    arrived: float
    at: float
    picture: np.ndarray


@dataclass(frozen=True)
class Received:
    """A decoded stretch of sound: when it arrived, its moment in the media, and its length, seconds."""

    arrived: float
    at: float
    seconds: float


@dataclass
class Record:
    """What a client has decoded so far."""

    pictures: list[Seen] = field(default_factory=list)
    sounds: list[Received] = field(default_factory=list)
    keep: int = 4000  # pictures

    def add_picture(self, frame: av.VideoFrame) -> None:
        """Notes a picture; of very old ones only the time stays."""
        pixels = frame.to_ndarray(format="rgb24")
        self.pictures.append(Seen(time.monotonic(), _moment(frame), pixels))
        if len(self.pictures) > self.keep:
            old = self.pictures[-self.keep - 1]
            self.pictures[-self.keep - 1] = Seen(old.arrived, old.at, np.zeros((0, 0, 3), np.uint8))

    def add_sound(self, frame: av.AudioFrame) -> None:
        """Notes a stretch of sound."""
        self.sounds.append(Received(time.monotonic(), _moment(frame), frame.samples / frame.sample_rate))


def _moment(frame: av.VideoFrame | av.AudioFrame) -> float:
    assert frame.pts is not None
    assert frame.time_base is not None
    return float(frame.pts * frame.time_base)


class Microphone:
    """Sound in parts, each when its last sample is spoken; silence where nothing is said."""

    def __init__(self) -> None:
        self._waiting: deque[np.ndarray] = deque()
        self._said: asyncio.Queue[float] = asyncio.Queue()
        self._first = False
        self._started = time.monotonic()
        self._parts = 0

    async def next(self) -> np.ndarray:
        """The next part, float32 (960,), at its time."""
        self._parts += 1
        await asyncio.sleep(max(self._started + self._parts * _PART - time.monotonic(), 0))
        if not self._waiting:
            return np.zeros(round(VOICE_RATE * _PART), np.float32)
        if self._first:
            self._first = False
            self._said.put_nowait(time.monotonic() - _PART)
        return self._waiting.popleft()

    async def say(self, voice: np.ndarray) -> float:
        """Puts a voice in; returns when its first sample was spoken."""
        size = round(VOICE_RATE * _PART)
        padded = np.pad(voice, (0, -len(voice) % size))
        self._first = True
        self._waiting.extend(padded.reshape(-1, size))
        return await self._said.get()

    def stop(self) -> None:
        """Says nothing more."""
        self._waiting.clear()


class LiveClient(Protocol):
    """A client with a microphone."""

    record: Record
    microphone: Microphone

    async def start(self) -> None:
        """Connects, and waits for the first picture."""
        ...

    async def say(self, voice: np.ndarray) -> float:
        """Speaks into the microphone, float32 (samples,); returns when the first sample was spoken."""
        ...

    async def clear(self) -> None:
        """Interrupts the face."""
        ...

    async def stop(self) -> None:
        """Ends the session."""
        ...


class WebSocketClient:
    """A client of `/v1/stream`.

    Args:
        address: of the server, `http://127.0.0.1:8000`
    """

    def __init__(self, address: str) -> None:
        self.record = Record()
        self.messages: list[dict[str, Any]] = []
        self._address = address.replace("http", "ws", 1) + "/v1/stream"
        self.microphone = Microphone()
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See `LiveClient.start`."""
        self._socket = await websockets.connect(self._address, max_size=None)
        await self._socket.send(json.dumps({"type": "start", "sample_rate": VOICE_RATE, "real_time": True}))
        answer = json.loads(await self._socket.recv())
        if answer["type"] != "ready":
            raise ConnectionError(answer.get("message", answer["type"]))
        threading.Thread(target=self._decode, daemon=True).start()
        self._tasks = [asyncio.create_task(each) for each in (self._speak(), self._listen())]
        while not self.record.pictures:
            await asyncio.sleep(0.01)

    async def _speak(self) -> None:
        while True:
            part = await self.microphone.next()
            await self._socket.send((part * 32767).astype("<i2").tobytes())

    async def _listen(self) -> None:
        async for message in self._socket:
            if isinstance(message, bytes):
                with self._changed:
                    self._chunks.append(message)
                    self._changed.notify()
            else:
                self.messages.append(json.loads(message))

    def read(self, size: int) -> bytes:
        """What FFmpeg reads, as soon as it is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended)
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
            return chunk[:size]

    def _decode(self) -> None:
        options = {"fflags": "nobuffer", "probesize": "4096", "analyzeduration": "0"}
        with av.open(self, "r", format="mp4", options=options) as container:
            for stream in container.streams:
                if stream.type == "video":
                    stream.codec_context.thread_count = 1
            for packet in container.demux():
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        self.record.add_picture(frame)
                    elif isinstance(frame, av.AudioFrame):
                        self.record.add_sound(frame)

    async def say(self, voice: np.ndarray) -> float:
        """See `LiveClient.say`."""
        return await self.microphone.say(voice)

    async def clear(self) -> None:
        """See `LiveClient.clear`."""
        await self._socket.send(json.dumps({"type": "clear"}))

    async def stop(self) -> None:
        """See `LiveClient.stop`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()
        with self._changed:
            self._ended = True
            self._changed.notify()


class _Spoken(MediaStreamTrack):
    """The track of a microphone."""

    kind = "audio"

    def __init__(self, microphone: Microphone) -> None:
        super().__init__()
        self._microphone, self._samples = microphone, 0

    async def recv(self) -> av.AudioFrame:
        """The next part, for aiortc."""
        part = await self._microphone.next()
        samples = (np.clip(part, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = VOICE_RATE, Fraction(1, VOICE_RATE), self._samples
        self._samples += len(part)
        return frame


class WebRtcClient:
    """A client of `/v1/live`.

    Args:
        address: of the server, `http://127.0.0.1:8000`
    """

    def __init__(self, address: str) -> None:
        self.record = Record()
        self.messages: list[dict[str, Any]] = []
        self._address = address
        self.microphone = Microphone()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See `LiveClient.start`."""
        answer, self._place = await asyncio.to_thread(self._exchange, await self.offer())
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        while not self.record.pictures:
            await asyncio.sleep(0.01)

    async def offer(self) -> str:
        """The offer, as SDP."""
        connection = self._connection
        connection.addTrack(_Spoken(self.microphone))
        connection.addTransceiver("video", direction="recvonly")
        self._events = connection.createDataChannel("events")
        self._events.on("message", lambda text: self.messages.append(json.loads(text)))
        connection.on("track", lambda track: self._tasks.append(asyncio.create_task(self._listen(track))))
        await connection.setLocalDescription(await connection.createOffer())
        sdp: str = connection.localDescription.sdp
        return sdp

    def _exchange(self, offer: str) -> tuple[str, str]:
        headers = {"Content-Type": "application/sdp"}
        request = urllib.request.Request(f"{self._address}/v1/live", offer.encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode(), answer.headers["Location"]

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if isinstance(frame, av.VideoFrame):
                self.record.add_picture(frame)
            elif isinstance(frame, av.AudioFrame):
                self.record.add_sound(frame)

    async def say(self, voice: np.ndarray) -> float:
        """See `LiveClient.say`."""
        return await self.microphone.say(voice)

    async def clear(self) -> None:
        """See `LiveClient.clear`."""
        self._events.send(json.dumps({"type": "clear"}))

    async def stop(self) -> None:
        """See `LiveClient.stop`."""
        request = urllib.request.Request(f"{self._address}{self._place}", method="DELETE")
        await asyncio.to_thread(lambda: urllib.request.urlopen(request).close())
        await self.close()

    async def close(self) -> None:
        """Goes without a word to the server."""
        await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
