"""What the stand-in for the server is like, and what a test may change of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from emo_rt.bundled import PORTRAIT
from tests.browser.stub_live import StubCall
from tests.browser.stub_video import RATE, SIDE


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
            "model": "emo-photo",
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
