"""A stand-in for the server: it speaks the same HTTP and WebRTC, makes no video itself, and fails where a test says so.

python -m tests.browser.stub_app 8099
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
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from aiortc import RTCPeerConnection
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from PIL import Image

from emo_rt.bundled import VOICE
from tests.browser.stub import Refusal, Stub, portrait_object
from tests.browser.stub_live import StubCall
from tests.browser.stub_video import FRAMES, RATE, SIDE, moving_video, parts

PAGE = Path(__file__).parents[2] / "emo_rt" / "serve" / "page"
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


def create_stub(stub: Stub, video: bytes) -> FastAPI:
    """The application: routes of the API."""
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
    add_videos(app, stub)
    add_video_files(app, stub, video)
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


def known_video(stub: Stub, name: str) -> dict[str, Any]:
    """A video as it is now."""
    if name not in stub.videos:
        raise Refusal(404, f"video {name}: there is none")
    return stub.state(stub.videos[name])


def add_videos(app: FastAPI, stub: Stub) -> None:
    @app.post("/v1/videos", status_code=202)
    async def make(request: Request) -> dict[str, Any]:
        async with request.form() as form:
            fields = {name: value if isinstance(value, str) else value.filename for name, value in form.items()}
            stub.sent.append(fields)
        name = f"video_{secrets.token_hex(8)}"
        stub.videos[name] = {
            "id": name,
            "object": "video",
            "model": "emo-photo",
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
        return known_video(stub, name)

    @app.get("/v1/videos")
    async def all_of_them(limit: int = 20, after: str = "", order: str = "desc") -> dict[str, Any]:
        names = list(stub.videos)[:: -1 if order == "desc" else 1]
        names = names[names.index(after) + 1 :] if after else names
        data = [known_video(stub, name) for name in names[:limit]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return {"object": "list", "data": data, "has_more": len(names) > limit, **ends}

    @app.get("/v1/videos/{name}")
    async def get(name: str) -> dict[str, Any]:
        return known_video(stub, name)

    @app.delete("/v1/videos/{name}")
    async def delete(name: str) -> dict[str, Any]:
        known_video(stub, name)
        del stub.videos[name]
        return {"id": name, "object": "video.deleted", "deleted": True}


def add_video_files(app: FastAPI, stub: Stub, video: bytes) -> None:
    @app.get("/v1/videos/{name}/content")
    async def content(name: str) -> Response:
        if known_video(stub, name)["status"] != "completed":
            raise Refusal(409, f"video {name}: is not complete yet; try again later")
        return Response(stub.content or video, media_type="video/mp4")

    @app.get("/v1/videos/{name}/stream")
    async def stream(name: str) -> Response:
        known_video(stub, name)
        return StreamingResponse(grow(stub, name, video), media_type="video/mp4")

    @app.get("/v1/videos/{name}/provenance")
    async def provenance(name: str) -> dict[str, Any]:
        facts = known_video(stub, name)
        plan = {"backend": "openvino", "steps": 2, "guidance_scale": 3.0, "cache_interval": 2, "cached_depth": 1}
        hashes = dict.fromkeys(("picture", "voice", "bundle", "sha256"), "9f86d081884c7d659a2feaa0c55ad015")
        return {
            "generator": "emo-rt",
            "version": "0.1.0",
            "model": "emo-photo",
            "face_box": None,
            "speed": None,
            "seed": facts["seed"],
            "framing": facts["framing"],
            "frames": FRAMES,
            "plan": plan,
            **hashes,
        }


async def grow(stub: Stub, name: str, video: bytes) -> AsyncIterator[bytes]:
    """As much of a video as is made, from its beginning."""
    boxes = list(parts(video))
    given = total = 0
    breaks, stub.breaks = stub.breaks, None
    while name in stub.videos:
        facts = known_video(stub, name)
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
    video = moving_video(Path(tempfile.mkdtemp()) / "test.mp4")
    with serving(create_stub(Stub(), video), int(sys.argv[1])) as place, suppress(KeyboardInterrupt):
        print(place)
        threading.Event().wait()
