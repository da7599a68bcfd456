"""The WebSocket `/v1/stream`: voice in, a fragmented MP4 of the face that says it out, while both go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Literal

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect

from emo_rt.errors import EmoError, printable
from emo_rt.limits import MAX_SPEED
from emo_rt.live.face import LiveFace
from emo_rt.media.sound import AAC_SAMPLE_RATES
from emo_rt.serve.access import is_token, rival_of
from emo_rt.serve.answers import ApiError
from emo_rt.serve.live.incoming import OPUS_RATE, incoming_sound
from emo_rt.serve.live.segments import MIME, Segments
from emo_rt.serve.live.sessions import LiveSession, LiveSessions
from emo_rt.serve.portraits import BUNDLED, animated_portrait

#: Seconds in which the first message must come, and in which each segment must be taken.
FIRST_MESSAGE, TAKEN = 10.0, 8.0
#: Codes with which a WebSocket closes: in the end, since the server stops, after a wrong message, and for lack of room.
_ENDED, _GOING_AWAY, _WRONG, _TRY_AGAIN = 1000, 1001, 1008, 1013
_LONGEST_NAME = 200

stream_routes = APIRouter()


class Start(BaseModel):
    """The first message of a client."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"]
    portrait: str = BUNDLED
    audio: Literal["pcm_s16le", "ogg_opus", "webm_opus"] = "pcm_s16le"
    sample_rate: int = 16000
    real_time: bool = False
    seed: int = Field(0, ge=0, lt=2**64)
    speed: float | None = Field(None, ge=0, le=MAX_SPEED)
    token: str | None = None


class _Refused(Exception):
    """A message that cannot be answered."""


@stream_routes.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Talks with one client from its first message on."""
    await socket.accept()
    try:
        start = await _start(socket)
        live: LiveSessions = socket.app.state.live
        path, face_box = await run_in_threadpool(animated_portrait, socket, start.portrait)
        async with live.opened(
            str(path),
            face_box,
            client=rival_of(socket),
            sound_rate=OPUS_RATE if start.audio != "pcm_s16le" else start.sample_rate,
            real_time=start.real_time,
            seed=start.seed,
            speed=start.speed,
        ) as session:
            await _Talk(socket, live, session, start).run()
    except WebSocketDisconnect:
        pass
    except (ApiError, EmoError, _Refused) as error:
        full = isinstance(error, ApiError) and error.status in (429, 503)
        await _close(socket, _TRY_AGAIN if full else _WRONG, {"type": "error", "message": printable(str(error))})
    except TimeoutError:
        await _close(socket, _WRONG, {"type": "error", "message": "nothing came, or nothing was taken, for too long"})


async def _close(socket: WebSocket, code: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):  # it has gone
        async with asyncio.timeout(1):
            await socket.send_text(json.dumps(message))
            await socket.close(code)


async def _start(socket: WebSocket) -> Start:
    """The first message, checked.

    Raises:
        _Refused: if it is no such message, or has a wrong token.
    """
    async with asyncio.timeout(FIRST_MESSAGE):
        message = await socket.receive()
    if message["type"] != "websocket.receive":
        raise WebSocketDisconnect
    try:
        start = Start.model_validate_json(message.get("text") or "")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the first message"
        raise _Refused(f'{field}: {first["msg"]}; begin with {{"type": "start"}}') from None
    if not is_token(socket.app.state.settings, start.token):
        raise _Refused("the token is missing or wrong; send it as `token` of the first message")
    if start.sample_rate not in AAC_SAMPLE_RATES or start.sample_rate % 25:
        raise _Refused(f"sample_rate {start.sample_rate} cannot be played; choose 16000, 24000, 44100 or 48000")
    return start


class _Talk:
    """One client's conversation."""

    def __init__(self, socket: WebSocket, live: LiveSessions, session: LiveSession, start: Start) -> None:
        self.socket, self.live, self.session = socket, live, session
        self.face: LiveFace = session.face
        self.sound = incoming_sound(start.audio, self.face.push)
        self.most = socket.app.state.settings.max_seconds
        self.frames = 0
        self.ended = False
        self.side, self.rate = self.face.config.resolution, self.face.config.frames_per_second
        self.segments = Segments(self.side, self.rate, self.face.sound_rate)
        session.close = self._going_away

    async def run(self) -> None:
        """Sends and receives until one of both ends."""
        await self._send(
            {
                "type": "ready",
                "id": self.session.id,
                "mime": MIME,
                "width": self.side,
                "height": self.side,
                "frames_per_second": self.rate,
            }
        )
        tasks = {asyncio.create_task(self._sending()), asyncio.create_task(self._receiving())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await run_in_threadpool(self._close_sound)

    def _close_sound(self) -> None:
        with contextlib.suppress(EmoError):
            self.sound.close()

    async def _send(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(TAKEN):  # `wait_for` of Python 3.11 may lose a cancellation
            await self.socket.send_text(json.dumps(message))

    async def _send_segment(self, data: bytes) -> None:
        async with asyncio.timeout(TAKEN):
            await self.socket.send_bytes(data)

    async def _sending(self) -> None:
        async for frame in self.live.frames(self.face):
            data = self.segments.add(frame.picture, frame.sound)
            self.frames += 1
            for name in frame.played:
                await self._send({"type": "played", "name": name})
            if data:
                await self._send_segment(data)
            if self.ended and not self.face.busy:
                await self._send_segment(self.segments.end())
                await self.socket.close(_ENDED)
                return

    async def _receiving(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                raise WebSocketDisconnect
            if (data := message.get("bytes")) is not None:
                await self._hear(data)
            else:
                await self._obey(message.get("text") or "")

    async def _hear(self, data: bytes) -> None:
        if self.ended:
            raise _Refused("sound came after the end")
        if self.face.waiting > self.most * self.rate:
            raise _Refused(f"more than {self.most:g} s of sound wait to be said; send it later")
        self.sound.add(data)

    async def _obey(self, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise _Refused("a message is no JSON object with a type") from None
        if kind == "clear":
            self.face.clear()
            await self._send({"type": "cleared", "frame": self.frames})
        elif kind == "mark":
            name = message.get("name")
            if not isinstance(name, str) or len(name) > _LONGEST_NAME:
                raise _Refused(f"a mark has no name of at most {_LONGEST_NAME} characters")
            self.face.mark(name)
        elif kind == "end":
            await run_in_threadpool(self.sound.close)
            self.face.end()
            self.ended = True
        else:
            raise _Refused("the type of a message is none of clear, mark and end")

    async def _going_away(self, why: str) -> None:
        await _close(self.socket, _GOING_AWAY, {"type": "closing", "reason": why})
