"""The web application: routes, errors, and what they share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from emo_rt.bundled import VOICE
from emo_rt.jobs.session import Session
from emo_rt.serve.access import Access, ClientLimits
from emo_rt.serve.answers import BROKEN, INVALID, NOT_FOUND, OVERLOADED, ApiError, Limits, file_answer, refusals
from emo_rt.serve.live.sessions import LiveSessions
from emo_rt.serve.live.stream import stream_routes
from emo_rt.serve.live.turns import Turns
from emo_rt.serve.live.webrtc import live_routes
from emo_rt.serve.logs import RequestLog
from emo_rt.serve.metrics import Metrics
from emo_rt.serve.portraits import portrait_routes
from emo_rt.serve.queue import Queue
from emo_rt.serve.settings import Settings
from emo_rt.serve.store import Store, open_folder
from emo_rt.serve.uploads import BUNDLED_VOICE
from emo_rt.serve.videos import video_routes
from emo_rt.serve.worker import VideoWorkers

#: The files of the page.
PAGE = Path(__file__).parent / "page"
#: Uploads that are decoded at once: each may take hundreds of megabytes and all of a core.
DECODED_AT_ONCE = 2
#: Seconds after which what is too old is removed.
SWEEP = 60.0
#: Seconds for which the end of a clip is waited for when the server stops.
LAST_CLIP = 20.0
_DESCRIPTION = (
    "Turns one portrait and a voice into a talking video. Ask for a video with `POST /v1/videos`, watch it grow at "
    "`/v1/videos/{video_id}/stream`, and fetch it from `/v1/videos/{video_id}/content`."
)

_log = logging.getLogger(__name__)


def create_app(settings: Settings, session: Session, replicas: int = 0) -> FastAPI:
    """Makes the application.

    Its `state` holds what routes share: settings, session, store, queue, workers, metrics, limits, live (the live
    sessions) and calls (the tasks of those through WebRTC).

    Args:
        settings: how it works
        session: maker of the videos, with `provenance=True`
        replicas: number of a cluster's replicas that make its clips; 0 if this process makes them

    Raises:
        InputError: if the folder cannot be used.
    """
    app = FastAPI(
        title="emo-rt",
        version=version("emo-rt"),
        description=_DESCRIPTION,
        lifespan=_running,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    state = app.state
    state.settings, state.session, state.limits, state.calls = settings, session, ClientLimits(settings), set()
    state.lock = open_folder(settings)
    try:
        state.queue = Queue(settings.folder / "queue.sqlite")
        state.store = Store(settings, state.queue)
    except BaseException:
        state.lock.release()
        raise
    state.metrics = Metrics(state.queue.waiting)
    at_once = replicas + 1 if replicas else 1  # the next clip is on its way while a replica makes one
    # While faces speak, videos leave a replica to them, and do not wait before them.
    turns = Turns(at_once, lambda: min(2, at_once - 1) if state.live.used else 0)
    session.around = turns.shared
    state.workers = VideoWorkers(state.queue, state.store, session, state.metrics, at_once)
    state.live = LiveSessions(session, turns, state.metrics.registry, replicas)
    _answer_errors(app)
    for routes in (video_routes, portrait_routes, stream_routes, live_routes):
        app.include_router(routes)
    _add_own_routes(app)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    app.add_middleware(Access, settings=settings, limits=state.limits)
    app.add_middleware(RequestLog, metrics=state.metrics)
    return app


@contextlib.asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """All that works while the application answers."""
    state = app.state
    state.decoding = CapacityLimiter(DECODED_AT_ONCE)
    state.workers.start()
    threading.Thread(target=state.live.prepare, name="live", daemon=True).start()
    sweeper = asyncio.create_task(_sweep(state.store))
    try:
        yield
    finally:
        for task in (sweeper, *state.calls):
            task.cancel()
        await asyncio.gather(sweeper, *state.calls, return_exceptions=True)
        ended = await run_in_threadpool(state.workers.join, LAST_CLIP)
        if ended:  # otherwise its thread may still write
            state.queue.close()
            state.lock.release()


async def _sweep(store: Store) -> None:
    """Removes what is too old, now and then."""
    while True:
        try:
            await run_in_threadpool(store.expire)
        except Exception:  # a disk that is full or slow: it may work the next time
            _log.exception("sweep")
        await asyncio.sleep(SWEEP)


def _description(app: FastAPI) -> dict[str, Any]:
    """The description of the API (OpenAPI), without the errors 422 that FastAPI has and this server has not."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        if app.state.settings.token is not None:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def _add_own_routes(app: FastAPI) -> None:
    @app.get("/v1/limits", response_model=Limits, responses=refusals(), tags=["server"])
    def limits() -> JSONResponse:
        """What the server makes, and the most that it takes."""
        state = app.state
        config, settings = state.session.bundle.config, state.settings
        return JSONResponse(
            {
                "model": state.session.bundle.manifest.name,
                "size": f"{config.resolution}x{config.resolution}",
                "frames_per_second": config.frames_per_second,
                "max_upload_bytes": settings.max_upload_bytes,
                "max_pixels": settings.max_pixels,
                "max_seconds": settings.max_seconds,
                "live": {"sessions": state.live.sessions, "free": state.live.free},
                "version": version("emo-rt"),
            }
        )

    @app.get(
        f"/v1/voices/{BUNDLED_VOICE}/content",
        response_class=FileResponse,
        responses={**refusals(), 200: {"content": {"audio/wav": {}}, "description": "The voice"}},
        tags=["server"],
    )
    def bundled_voice() -> FileResponse:
        """The voice that comes with emo-rt, to try a portrait with."""
        return file_answer(VOICE, "audio/wav", VOICE.name, inline=True)

    @app.get("/healthz", tags=["server"], responses={503: {"description": "The videos are made no more"}})
    def health() -> JSONResponse:
        """Whether videos are made."""
        if app.state.workers.live:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the thread that makes videos has ended"}, 503)

    @app.get(
        "/metrics",
        tags=["server"],
        response_class=PlainTextResponse,
        responses={401: refusals()[401], 429: refusals()[429]},
    )
    def metrics() -> Response:
        """What is counted, in Prometheus's text format."""
        return Response(app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _answer_errors(app: FastAPI) -> None:
    """Gives every error the one form that clients know."""

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first: dict[str, Any] = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:]) or None
        return ApiError(400, f"{param or 'the request'}: {first['msg']}", param=param).response()

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        messages = {404: "there is nothing at this address", 405: "this address takes other methods"}
        kind = NOT_FOUND if error.status_code == 404 else INVALID
        response = ApiError(error.status_code, messages.get(error.status_code, str(error.detail)), kind).response()
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    @app.exception_handler(OSError)
    @app.exception_handler(sqlite3.OperationalError)
    async def unusable(request: Request, error: Exception) -> JSONResponse:
        _log.error("the folder cannot be used", exc_info=error)
        return ApiError(507, "the server's folder cannot be written; come back later", OVERLOADED).response()

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        _log.error("error", exc_info=error)
        return ApiError(500, "the server made a mistake", BROKEN).response()
