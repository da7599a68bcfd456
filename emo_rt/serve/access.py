"""Who is answered: tokens, limits for each client, and the headers that keep browsers from helping others."""

from __future__ import annotations

import asyncio
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emo_rt.serve.answers import OVERLOADED, RATE_LIMITED, UNAUTHORIZED, ApiError, BrokenOff
from emo_rt.serve.settings import Settings, is_loopback

#: What a page of the server may load: nothing of others.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
#: Paths that need the token.
_GUARDED = ("/v1/", "/metrics")
#: What a client may have only so many of at once.
STREAM, UPLOAD = "stream", "upload"
#: Clients whose requests are counted.
_MOST_CLIENTS = 10_000


def client_of(connection: HTTPConnection) -> str:
    """The address of a client."""
    return connection.client.host if connection.client else "unknown"


def rival_of(connection: HTTPConnection) -> str | None:
    """The address of a client that shares the machine with others; None on a server that only this machine reaches."""
    settings: Settings = connection.app.state.settings
    return None if settings.is_local else client_of(connection)


def is_token(settings: Settings, given: str | None) -> bool:
    """Whether a client gave the token, in a time that says nothing of it; true if none is needed."""
    if settings.token is None:
        return True
    return given is not None and hmac.compare_digest(given.encode(), settings.token.encode())


class ClientLimits:
    """Counts what each client does; for any thread.

    Args:
        settings: the limits
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests that are left, and when that was
        self._held: dict[str, dict[str, int]] = {STREAM: {}, UPLOAD: {}}  # the number of each client

    def check_rate(self, client: str) -> None:
        """Counts a request.

        Raises:
            ApiError: if the client sent too many.
        """
        most = self.settings.requests_per_minute
        now = time.monotonic()
        with self._lock:
            left, before = self._left.pop(client, (float(most), now))
            left = min(left + (now - before) * most / 60, float(most))
            self._left[client] = (max(left - 1, 0.0), now)
            if len(self._left) > _MOST_CLIENTS:
                self._left.popitem(last=False)
        if left < 1:
            raise ApiError(429, "too many requests; come back in a minute", RATE_LIMITED, retry_after=60)

    @contextmanager
    def holding(self, kind: str, client: str) -> Iterator[None]:
        """Counts a STREAM or an UPLOAD for as long as the block lasts; `check` says whether there may be one more."""
        with self._lock:
            held = self._held[kind]
            held[client] = held.get(client, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                held[client] -= 1
                if not held[client]:
                    del held[client]

    def check(self, kind: str, client: str) -> None:
        """Raises ApiError if a client, or all together, hold as many streams or uploads as they may."""
        most, most_own = {
            STREAM: (self.settings.max_streams, self.settings.max_streams_per_client),
            UPLOAD: (self.settings.max_uploads, self.settings.max_uploads_per_client),
        }[kind]
        with self._lock:
            held = self._held[kind]
            own, everybodys = held.get(client, 0), sum(held.values())
        if everybodys >= most:
            raise ApiError(503, f"there are too many {kind}s at once; come back later", OVERLOADED, retry_after=10)
        if own >= most_own:
            raise ApiError(429, f"you have too many {kind}s at once; end some", RATE_LIMITED, retry_after=10)


class Access:
    """Refuses requests, adds headers to answers, and gives up clients that do not take them.

    Args:
        app: what answers the others
        settings: token and limits
        limits: counter of requests
    """

    def __init__(self, app: ASGIApp, settings: Settings, limits: ClientLimits) -> None:
        self.app, self.settings, self.limits = app, settings, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            self._check(HTTPConnection(scope))
        except ApiError as error:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": error.message})
            else:
                await error.response()(scope, receive, self._with_headers(scope, send))
            return
        await self.app(scope, receive, self._with_headers(scope, send) if scope["type"] == "http" else send)

    def _check(self, connection: HTTPConnection) -> None:
        path = connection.scope["path"]
        if path == "/healthz":
            return
        self.limits.check_rate(client_of(connection))
        if self.settings.token is None:
            _check_origin(connection.headers, self.settings)
        elif connection.scope["type"] == "http" and (path + "/").startswith(_GUARDED):
            kind, _, token = connection.headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not is_token(self.settings, token.strip()):
                raise ApiError(401, "the token is missing or wrong; send Authorization: Bearer TOKEN", UNAUTHORIZED)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/v1/") else "no-cache")
            try:
                async with asyncio.timeout(self.settings.stalled_seconds):
                    await send(message)
            except TimeoutError:  # it takes nothing, and so it is not waited for
                raise BrokenOff from None

        return sending


def _check_origin(headers: Headers, settings: Settings) -> None:
    """Refuses the pages of others, which a browser lets send requests to any address that its user reaches.

    Raises:
        ApiError: if the request comes from a page of another server, or of one whose name was made to lead here.
    """
    host = headers.get("host", "")
    if settings.is_local and not is_loopback(_split(f"//{host}").hostname or ""):
        message = "the header Host names another machine; use the address that the server printed"
        raise ApiError(403, message, UNAUTHORIZED)
    origin = headers.get("origin")
    if origin is not None and _split(origin).netloc != host:
        raise ApiError(403, "the request comes from a page of another server", UNAUTHORIZED)


def _split(address: str) -> SplitResult:
    """The parts of an address; none where it is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
