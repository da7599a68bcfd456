"""WebRTC: a microphone in, picture and voice of the face that says it out, on one clock.

Offer and answer are exchanged over HTTP, as WHIP and WHEP do (RFC 9725): one POST holds the offer, its answer the
answer with all candidates. Nothing is asked of any other server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from emo_rt.errors import EmoError
from emo_rt.jobs.parsing import parse_seed, parse_speed, shown
from emo_rt.live.face import LiveFace
from emo_rt.live.frame import LiveFrame
from emo_rt.media.boxes import Box
from emo_rt.serve.access import rival_of
from emo_rt.serve.answers import NOT_FOUND, ApiError, refusals
from emo_rt.serve.live.sessions import LiveSession, LiveSessions
from emo_rt.serve.portraits import BUNDLED, animated_portrait
from emo_rt.serve.uploads import body_chunks

#: Sample rate of the sound, Hz, and samples of the parts in which it is sent.
RATE, PART = 48000, 960
#: Seconds in which a connection must stand, and after which one that sends nothing has gone.
CONNECTED, GONE = 15.0, 8.0
#: Parts of sound, of 20 ms each, that are waited for, so that those which overtook each other find their places.
PREFETCH = 2
#: Bytes of the largest offer.
_LARGEST_OFFER = 64 * 2**10
_LONGEST_NAME = 200

live_routes = APIRouter(prefix="/v1/live", tags=["live"])
_log = logging.getLogger(__name__)

_OFFER = {
    "requestBody": {
        "required": True,
        "content": {
            "application/sdp": {"schema": {"type": "string"}, "example": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"}
        },
    }
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    201: {"content": {"application/sdp": {"schema": {"type": "string"}}}, "description": "The answer"}
}


class _Track(MediaStreamTrack):
    """Frames of one kind, which are put in at their time."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._frames: asyncio.Queue[av.VideoFrame | av.AudioFrame] = asyncio.Queue(100)

    def put(self, frame: av.VideoFrame | av.AudioFrame) -> None:
        """Appends a frame; drops the oldest one if nobody takes them."""
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(frame)

    async def recv(self) -> Any:
        """The next frame, for aiortc."""
        if self.readyState != "live":
            raise MediaStreamError
        return await self._frames.get()


class _Call:
    """The connection of one client."""

    def __init__(self, live: LiveSessions) -> None:
        self.live = live
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.video, self.audio = _Track("video"), _Track("audio")
        self.events: RTCDataChannel | None = None
        self.ended = asyncio.Event()
        self.heard = asyncio.get_running_loop().time()  # when something of the client came
        self.microphone: MediaStreamTrack | None = None
        self._frames = 0
        self._speaking = False
        self.connection.on("track", self._on_track)
        self.connection.on("datachannel", self._on_channel)
        self.connection.on("connectionstatechange", self._on_state)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self.microphone = track
            for receiver in self.connection.getReceivers():
                if receiver.track is track:
                    hear_sooner(receiver)

    def _on_state(self) -> None:
        if self.connection.connectionState in ("failed", "closed"):
            self.ended.set()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self.events = channel
        channel.on("message", self._obey)

    async def answer(self, offer: str) -> str:
        """The answer to an offer, with all candidates.

        Raises:
            ApiError: if it is no offer, or one without video.
        """
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            for transceiver in self.connection.getTransceivers():
                track = self.video if transceiver.kind == "video" else self.audio
                if transceiver.sender.track is None and transceiver.direction != "inactive":
                    transceiver.sender.replaceTrack(track)
                    transceiver.direction = "sendrecv" if transceiver.kind == "audio" else "sendonly"
            await self.connection.setLocalDescription(await self.connection.createAnswer())
        except Exception as error:  # aiortc's parser raises whatever it comes upon
            raise ApiError(400, f"the offer cannot be answered ({type(error).__name__}); send SDP") from error
        if not any(each.kind == "video" for each in self.connection.getTransceivers()):
            raise ApiError(400, "the offer has no video; add a transceiver that receives it")
        return self.connection.localDescription.sdp

    async def run(self, face: LiveFace) -> None:
        """Talks until the client has gone or the session is ended."""
        self.face = face
        tasks = [asyncio.create_task(each) for each in (self._sending(), self._hearing(), self._watching())]
        ended = asyncio.create_task(self.ended.wait())
        try:
            done, _ = await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)

    async def _sending(self) -> None:
        async for frame in self.live.frames(self.face):
            self._show(frame)
            if frame.speaking != self._speaking:
                self._speaking = frame.speaking
                self.tell({"type": "state", "speaking": frame.speaking})
            for name in frame.played:
                self.tell({"type": "played", "name": name})

    def _show(self, frame: LiveFrame) -> None:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.picture), format="rgb24")
        picture = picture.reformat(format="yuv420p")
        picture.pts, picture.time_base = self._frames, Fraction(1, self.face.config.frames_per_second)
        self.video.put(picture)
        samples = (np.clip(frame.sound, -1, 1) * 32767).astype(np.int16)
        for part in range(0, len(samples), PART):
            heard = av.AudioFrame.from_ndarray(samples[None, part : part + PART], format="s16", layout="mono")
            heard.sample_rate, heard.time_base = RATE, Fraction(1, RATE)
            heard.pts = self._frames * len(samples) + part
            self.audio.put(heard)
        self._frames += 1

    async def _hearing(self) -> None:
        """Gives the face what the microphone hears."""
        if self.microphone is None:
            await self.ended.wait()
            return
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await self.microphone.recv()
                self.heard = asyncio.get_running_loop().time()
                assert isinstance(frame, av.AudioFrame)
                for part in resampler.resample(frame):
                    self.face.push(part.to_ndarray()[0])

    async def _watching(self) -> None:
        """Ends when the client never came or has gone."""
        clock = asyncio.get_running_loop().time
        started = clock()
        while True:
            await asyncio.sleep(1)
            if self.connection.connectionState == "connected":
                if self.microphone is not None and clock() - self.heard > GONE:
                    return
            elif clock() - started > CONNECTED:
                return
            else:
                self.heard = clock()

    def _obey(self, text: Any) -> None:
        """Does what a message of the client says; what is none is left alone."""
        try:
            message = json.loads(text)
            kind, name = message["type"], message.get("name")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if kind == "clear":
            self.clear()
        elif kind == "mark" and isinstance(name, str) and len(name) <= _LONGEST_NAME:
            with contextlib.suppress(EmoError):  # too many marks
                self.face.mark(name)

    def clear(self) -> None:
        """Interrupts the face."""
        self.face.clear()
        self.tell({"type": "cleared"})

    def tell(self, message: dict[str, Any]) -> None:
        """Sends an event, if the client opened the channel for them."""
        if self.events is not None and self.events.readyState == "open":
            self.events.send(json.dumps(message))

    async def close(self, why: str) -> None:
        """Ends the call, with a word why."""
        self.tell({"type": "closing", "reason": why})
        await asyncio.sleep(0.05)  # until that is sent
        self.ended.set()


def hear_sooner(receiver: RTCRtpReceiver) -> None:
    """Lets a receiver wait for `PREFETCH` parts of sound; aiortc itself waits for 4, and has no option for it."""
    receiver._RTCRtpReceiver__jitter_buffer._prefetch = PREFETCH  # type: ignore[attr-defined]


@live_routes.post(
    "",
    status_code=201,
    response_class=Response,
    openapi_extra=_OFFER,
    responses={**refusals(408, 413, 501, 503), **_ANSWER},
)
async def open_live(request: Request, portrait: str = BUNDLED, seed: str = "0", speed: str | None = None) -> Response:
    """Opens a live session: send an SDP offer with a microphone and a receiver of video."""
    offer = b"".join([chunk async for chunk in body_chunks(request, _LARGEST_OFFER)])
    path, face_box = await run_in_threadpool(animated_portrait, request, portrait)
    options = {
        "client": rival_of(request),
        "seed": _parsed(parse_seed, seed, "seed"),
        "speed": _parsed(parse_speed, speed, "speed"),
    }
    answered: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    talk = _talk(request.app.state.live, offer.decode("utf-8", "replace"), str(path), face_box, options, answered)
    task = asyncio.create_task(talk)
    request.app.state.calls.add(task)
    task.add_done_callback(request.app.state.calls.discard)
    session_id, answer = await answered
    return Response(answer, 201, {"Location": f"/v1/live/{session_id}"}, "application/sdp")


def _parsed(parse: Any, text: str | None, name: str) -> Any:
    try:
        return None if text is None else parse(text, name)
    except EmoError as error:
        raise ApiError(400, str(error), param=name) from error


async def _talk(
    live: LiveSessions,
    offer: str,
    path: str,
    face_box: Box,
    options: dict[str, Any],
    answered: asyncio.Future[tuple[str, str]],
) -> None:
    """A session from its offer to its end."""
    call = _Call(live)
    try:
        answer = await call.answer(offer)
        async with live.opened(path, face_box, sound_rate=RATE, real_time=True, **options) as session:
            if answered.cancelled():  # the client has gone meanwhile
                return
            session.close, session.clear = call.close, call.clear
            answered.set_result((session.id, answer))
            await call.run(session.face)
    except Exception as error:
        if answered.done():
            _log.exception("live")
        else:
            answered.set_exception(error)
    finally:
        await call.connection.close()


def _session(request: Request, session_id: str) -> LiveSession:
    session: LiveSession | None = request.app.state.live.get(session_id)
    if session is None:
        raise ApiError(404, f"live session {shown(session_id)} does not exist", NOT_FOUND)
    return session


@live_routes.post("/{session_id}/clear", status_code=204, responses=refusals())
async def clear_live(session_id: str, request: Request) -> Response:
    """Interrupts the face: it drops what it has not said, and closes its mouth."""
    _session(request, session_id).clear()
    return Response(status_code=204)


@live_routes.delete("/{session_id}", status_code=204, responses=refusals())
async def end_live(session_id: str, request: Request) -> Response:
    """Ends a live session."""
    await _session(request, session_id).close("it was ended")
    return Response(status_code=204)
