"""What the server writes to stderr: a line of JSON for each request and each video."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emo_rt.serve.answers import BrokenOff
from emo_rt.serve.metrics import Metrics

_log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON in ASCII, so that no text of a client can pretend to be another line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Stderr(logging.Handler):
    """Writes to what `sys.stderr` is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def log_to_stderr() -> None:
    """Sends what the server logs to stderr, and of what its libraries log the warnings."""
    handler = _Stderr()
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not record.getMessage().startswith("ASGI callable returned without completing"))
    for name, level in (("emo_rt.serve", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class RequestLog:
    """Logs and counts every request by the template of its route; nothing of what the client sent is in it.

    Args:
        app: what answers
        metrics: what is counted
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        first: float | None = None
        status, size = 500, 0

        async def sending(message: Message) -> None:
            nonlocal status, size, first
            if message["type"] == "http.response.start":
                status, first = message["status"], time.perf_counter() - started
            else:
                size += len(message.get("body", b""))
            await send(message)

        complete = False
        try:
            await self.app(scope, receive, sending)
            complete = True
        except BrokenOff:
            return  # the server closes the connection
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", None) or "other"
            self.metrics.request_ended(scope["method"], route, status, seconds if first is None else first)
            fields = {
                "method": scope["method"][:16],
                "route": route,
                "status": status,
                "bytes": size,
                "complete": complete,
                "seconds": round(seconds, 4),
                "client": scope["client"][0] if scope.get("client") else None,
            }
            _log.info("request", extra={"fields": fields})
