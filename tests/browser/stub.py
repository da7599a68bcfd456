"""A stand-in for the server: it speaks the same HTTP and WebRTC, makes no video itself, and fails where a test says so.

python -m tests.browser.stub 8099
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from aiortc import RTCPeerConnection
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from PIL import Image

from emo_rt.bundled import PORTRAIT, VOICE
from emo_rt.media.video import VideoWriter, encode_clip
from tests.browser.stub_live import StubCall

PAGE = Path(__file__).parents[2] / "emo_rt" / "serve" / "page"
RATE, FRAMES, SIDE, CLIP = 25, 100, 128, 10
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Cache-Control": "no-store",
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found",
    429: "rate_limit_error",
    503: "overloaded",
}


class Refusal(Exception):
    """An answer that says no."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        self.status, self.message, self.retry_after = status, message, retry_after


@dataclass
class Stub:
    """What a test may change.

    Attributes:
        seconds: how long a video takes to make
        queued: how long it waits before that, seconds
        faces: the faces that are found in a picture that is sent
        refusals: for a method and a path such as `POST /v1/videos`, the refusals of the next requests
        token: the token that is asked for; none if empty
        limits: what `/v1/limits` answers
        failure: why the next videos fail; they do not if empty
        breaks: after how many bytes the next stream breaks off
        content: what complete videos are; the test's video if empty
        videos: the videos by id
        sent: the fields of the requests for videos
        calls: the WebRTC sessions by id
    """

    seconds: float = 3.0
    queued: float = 0.0
    faces: list[dict[str, float]] = field(default_factory=list)
    refusals: dict[str, list[Refusal]] = field(default_factory=dict)
    token: str = ""
    failure: str = ""
    breaks: int | None = None
    content: bytes = b""
    limits: dict[str, Any] = field(default_factory=dict)
    portraits: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    videos: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, StubCall] = field(default_factory=dict)
    offers: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As it was in the beginning."""
        for call in self.calls.values():
            call.drop()
        self.seconds, self.queued, self.token, self.failure, self.breaks, self.offers = 3.0, 0.0, "", "", None, 0
        self.content = b""
        for each in (self.refusals, self.videos, self.portraits, self.calls, self.sent):
            each.clear()
        self.faces = [box(30, 40, 60, 70)]
        self.limits = {
            "model": "emo-tiny",
            "size": f"{SIDE}x{SIDE}",
            "frames_per_second": RATE,
            "max_upload_bytes": 20_000_000,
            "max_pixels": 50_000_000,
            "max_seconds": 60,
            "live": {"sessions": 2, "free": 2},
            "version": "0.1.0",
        }
        self.pictures = {"bundled": PORTRAIT.read_bytes()}
        self.portraits["bundled"] = portrait_object("bundled", (512, 512), [box(146, 157, 220, 274)])

    def check(self, request: Request) -> None:
        """Refuses what the test wants refused."""
        path = request.url.path
        if path.startswith("/v1/") and self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refusal(401, "this server asks for a token")
        waiting = self.refusals.get(f"{request.method} {path}")
        if waiting:
            raise waiting.pop(0)

    def state(self, video: dict[str, Any]) -> dict[str, Any]:
        """A video as it is now."""
        age = time.time() - video["created_at"] - self.queued
        if age < 0:
            return {**video, "ahead": 2}
        share = min(age / self.seconds, 1.0) if self.seconds else 1.0
        facts = {"status": "in_progress", "progress": int(100 * share), "started_at": video["created_at"] + self.queued}
        if self.failure and share >= 0.4:
            facts |= {"status": "failed", "error": {"message": self.failure}}
        elif share == 1:
            facts |= {"status": "completed", "completed_at": facts["started_at"] + self.seconds}
        return {**video, **facts}


def box(x: float, y: float, width: float, height: float) -> dict[str, float]:
    return {"x": x, "y": y, "width": width, "height": height}


def portrait_object(name: str, size: tuple[int, int], faces: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "id": name,
        "object": "portrait",
        "created_at": int(time.time()),
        "expires_at": None,
        "width": size[0],
        "height": size[1],
        "faces": faces,
        "face_box": max(faces, key=lambda face: face["width"]) if faces else None,
    }


def test_video(path: Path) -> bytes:
    """A fragmented MP4 with a moving picture and a tone."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    tone = 0.2 * np.sin(2 * np.pi * 220 * np.arange(16000 * FRAMES // RATE) / 16000).astype(np.float32)
    with VideoWriter(path, (SIDE, SIDE), RATE, 16000, 1, fragmented=True) as writer:
        for first in range(0, FRAMES, CLIP):
            frames = []
            for index in range(first, first + CLIP):
                ring = np.hypot(rows - 64, columns - 64 - 20 * np.sin(index / 8)) < 40
                frames.append(np.where(ring[..., None], (224, 180, 150), (90, 120, 105)).astype(np.uint8))
            writer.write_sound(tone[None, first * 640 : (first + CLIP) * 640])
            writer.write_clip(encode_clip(frames, RATE))
    return path.read_bytes()


def parts(data: bytes) -> Iterator[bytes]:
    """The boxes of an MP4."""
    place = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        yield data[place : place + size]
        place += size


def create_stub(stub: Stub, video: bytes) -> FastAPI:
    """The application: routes of the contract."""
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        try:
            stub.check(request)
            answer = await call_next(request)
        except Refusal as refusal:
            answer = refused(refusal)
        answer.headers.update(HEADERS)
        return answer

    @app.exception_handler(Refusal)
    async def say_no(request: Request, refusal: Refusal) -> Response:
        return refused(refusal)

    @app.get("/")
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/page/{name:path}")
    async def page_file(name: str) -> Response:
        assert ".." not in name
        return FileResponse(PAGE / name)

    @app.get("/v1/limits")
    async def limits() -> dict[str, Any]:
        return stub.limits

    @app.get("/v1/voices/bundled/content")
    async def voice() -> Response:
        return FileResponse(VOICE)

    add_portraits(app, stub)
    add_videos(app, stub, video)
    add_live(app, stub)
    return app


def refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
    kind = TYPES.get(refusal.status, "invalid_request_error")
    body = {"error": {"message": refusal.message, "type": kind, "param": None}} if refusal.message else "no JSON object"
    return JSONResponse(body, refusal.status, headers)


def add_portraits(app: FastAPI, stub: Stub) -> None:
    def known(name: str) -> dict[str, Any]:
        if name not in stub.portraits:
            raise Refusal(404, f"portrait {name}: there is none; send the picture again")
        return stub.portraits[name]

    @app.post("/v1/portraits", status_code=201)
    async def send(request: Request) -> dict[str, Any]:
        async with request.form() as form:
            data = await form["image"].read()  # type: ignore[union-attr]
        try:
            size = Image.open(BytesIO(data)).size
        except OSError:
            raise Refusal(400, "picture notes.png: cannot be read; give a PNG, JPEG, WebP or HEIC picture") from None
        name = f"portrait_{secrets.token_hex(8)}"
        stub.pictures[name] = data
        stub.portraits[name] = portrait_object(name, size, stub.faces)
        return stub.portraits[name]

    @app.post("/v1/portraits/{name}")
    async def move(name: str, request: Request) -> dict[str, Any]:
        known(name)["face_box"] = (await request.json())["face_box"]
        return stub.portraits[name]

    @app.get("/v1/portraits/{name}")
    async def get(name: str) -> dict[str, Any]:
        return known(name)

    @app.get("/v1/portraits/{name}/content")
    async def content(name: str) -> Response:
        known(name)
        return Response(stub.pictures[name], media_type="image/png")


def add_videos(app: FastAPI, stub: Stub, video: bytes) -> None:
    def known(name: str) -> dict[str, Any]:
        if name not in stub.videos:
            raise Refusal(404, f"video {name}: there is none")
        return stub.state(stub.videos[name])

    @app.post("/v1/videos", status_code=202)
    async def make(request: Request) -> dict[str, Any]:
        async with request.form() as form:
            fields = {name: value if isinstance(value, str) else value.filename for name, value in form.items()}
            stub.sent.append(fields)
        name = f"video_{secrets.token_hex(8)}"
        stub.videos[name] = {
            "id": name,
            "object": "video",
            "model": "emo-tiny",
            "status": "queued",
            "progress": 0,
            "created_at": time.time(),
            "started_at": None,
            "completed_at": None,
            "expires_at": None,
            "seconds": FRAMES / RATE,
            "size": f"{SIDE}x{SIDE}",
            "frames_per_second": RATE,
            "seed": int(fields["seed"]),
            "speed": None,
            "framing": fields["framing"],
            "portrait": fields["portrait"],
            "error": None,
        }
        return known(name)

    @app.get("/v1/videos")
    async def all_of_them(limit: int = 20, after: str = "", order: str = "desc") -> dict[str, Any]:
        names = list(stub.videos)[:: -1 if order == "desc" else 1]
        names = names[names.index(after) + 1 :] if after else names
        data = [known(name) for name in names[:limit]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": len(names) > limit, **ends}

    @app.get("/v1/videos/{name}")
    async def get(name: str) -> dict[str, Any]:
        return known(name)

    @app.get("/v1/videos/{name}/content")
    async def content(name: str) -> Response:
        if known(name)["status"] != "completed":
            raise Refusal(409, f"video {name}: is not complete yet; try again later")
        return Response(stub.content or video, media_type="video/mp4")

    @app.get("/v1/videos/{name}/stream")
    async def stream(name: str) -> Response:
        known(name)
        return StreamingResponse(grow(stub, known, name, video), media_type="video/mp4")

    @app.get("/v1/videos/{name}/provenance")
    async def provenance(name: str) -> dict[str, Any]:
        facts = known(name)
        plan = {"backend": "openvino", "steps": 2, "guidance_scale": 3.0, "cache_interval": 2, "cached_depth": 1}
        hashes = dict.fromkeys(("picture", "voice", "bundle", "sha256"), "9f86d081884c7d659a2feaa0c55ad015")
        return {
            "generator": "emo-rt",
            "version": "0.1.0",
            "model": "emo-tiny",
            "face_box": None,
            "speed": None,
            "seed": facts["seed"],
            "framing": facts["framing"],
            "frames": FRAMES,
            "plan": plan,
            **hashes,
        }

    @app.delete("/v1/videos/{name}")
    async def delete(name: str) -> dict[str, Any]:
        known(name)
        del stub.videos[name]
        return {"id": name, "object": "video.deleted", "deleted": True}


async def grow(stub: Stub, known: Any, name: str, video: bytes) -> AsyncIterator[bytes]:
    """As much of a video as is made, from its beginning."""
    boxes = list(parts(video))
    given = total = 0
    breaks, stub.breaks = stub.breaks, None
    while name in stub.videos:
        facts = known(name)
        due = len(boxes) if facts["status"] == "completed" else len(boxes) * facts["progress"] // 100
        for part in boxes[given:due]:
            if breaks is not None and total > breaks:
                raise ConnectionResetError("as a test asked for")
            total += len(part)
            yield part
        given = max(given, due)
        if facts["status"] in ("completed", "failed"):
            return
        await asyncio.sleep(0.02)


def add_live(app: FastAPI, stub: Stub) -> None:
    @app.post("/v1/live")
    async def talk(request: Request, portrait: str) -> Response:
        stub.offers += 1
        name = f"live_{secrets.token_hex(8)}"
        call = StubCall(RTCPeerConnection())
        answer = await call.answer((await request.body()).decode())
        stub.calls[name] = call
        return Response(answer, 201, {"Location": f"/v1/live/{name}"}, media_type="application/sdp")

    @app.post("/v1/live/{name}/clear")
    async def clear(name: str) -> dict[str, Any]:
        stub.calls[name].clear()
        return {"id": name, "cleared": True}

    @app.delete("/v1/live/{name}")
    async def end(name: str) -> dict[str, Any]:
        if name not in stub.calls:
            raise Refusal(404, f"session {name}: there is none")
        await stub.calls.pop(name).close()
        return {"id": name, "object": "live.deleted", "deleted": True}


@contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Runs an application in a thread; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in itertools.count():
        if server.started:
            break
        time.sleep(0.01)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(10)


if __name__ == "__main__":
    video = test_video(Path(tempfile.mkdtemp()) / "test.mp4")
    with serving(create_stub(Stub(), video), int(sys.argv[1])) as place, suppress(KeyboardInterrupt):
        print(place)
        threading.Event().wait()
