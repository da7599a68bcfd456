"""What the server answers: the objects of its API, with examples, and its errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field

from emo_rt.errors import printable

INVALID, NOT_FOUND, UNAUTHORIZED = "invalid_request_error", "not_found", "authentication_error"
RATE_LIMITED, OVERLOADED, BROKEN = "rate_limit_error", "overloaded", "server_error"
#: Characters of the longest message.
_LONGEST = 1000


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status
        message: one line that says what is wrong and what to do
        kind: `type` of the answer, one of the constants above
        param: name of the field that is wrong; None if none is
        retry_after: seconds after which the same request may work; None if it never will
    """

    def __init__(
        self, status: int, message: str, kind: str = INVALID, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.retry_after = status, message, kind, param, retry_after

    def response(self) -> JSONResponse:
        """The answer."""
        message = printable(self.message)[:_LONGEST]
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        error = {"message": message, "type": self.kind, "param": self.param}
        return JSONResponse({"error": error}, self.status, headers)


class BrokenOff(Exception):
    """An answer that ends before its time: the client hears of it, since its last bytes never come."""


def file_answer(path: Path, media_type: str, name: str, *, inline: bool = False) -> FileResponse:
    """A file, whole or in ranges.

    Args:
        path: the file
        media_type: its type
        name: name under which it is downloaded
        inline: whether browsers show it in place of downloading it

    Raises:
        ApiError: if it is gone.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise ApiError(404, "it was deleted", NOT_FOUND) from None
    shown = "inline" if inline else "attachment"
    return FileResponse(path, 200, None, media_type, filename=name, stat_result=found, content_disposition_type=shown)


class ErrorDetail(BaseModel):
    message: str = Field(examples=["portrait 'x' does not exist"])
    type: str = Field(examples=[INVALID])
    param: str | None = Field(examples=["image"])


class ErrorAnswer(BaseModel):
    error: ErrorDetail


class FaceBox(BaseModel):
    """The face, in pixels of the picture."""

    x: float = Field(examples=[72])
    y: float = Field(examples=[60])
    width: float = Field(examples=[112])
    height: float = Field(examples=[112])


class PortraitObject(BaseModel):
    """A picture of a face."""

    id: str = Field(examples=["portrait_x5Jb0FrP1nQ9k2LmWc7uVt3y"])
    object: Literal["portrait"]
    created_at: int = Field(description="Unix seconds", examples=[1790000000])
    expires_at: int | None = Field(description="Unix seconds; null for the bundled portrait", examples=[1790604800])
    width: int = Field(description="of the upright picture, pixels", examples=[512])
    height: int = Field(examples=[512])
    faces: list[FaceBox] = Field(description="faces that are found for certain, the largest first")
    face_box: FaceBox | None = Field(description="the face that is animated; null if none is found")


class FaceBoxChange(BaseModel):
    """A face box to set."""

    face_box: FaceBox


class VideoFailure(BaseModel):
    message: str = Field(examples=["image me.jpg: no face found; say where it is with face_box"])


class VideoObject(BaseModel):
    """A video, or one that is on its way."""

    id: str = Field(examples=["video_Zk4wq8T1bYxN0dGm2RjHs6Lc"])
    object: Literal["video"]
    model: str = Field(examples=["emo-photo"])
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int = Field(ge=0, le=100, examples=[40])
    created_at: int = Field(description="Unix seconds", examples=[1790000000])
    started_at: int | None = Field(examples=[1790000001])
    completed_at: int | None = Field(examples=[None])
    expires_at: int | None = Field(description="null until it is completed or failed", examples=[None])
    frames: int = Field(description="of the whole video", examples=[80])
    frames_made: int = Field(examples=[32])
    seconds: float | None = Field(examples=[3.2])
    size: str = Field(examples=["128x128"])
    frames_per_second: int = Field(examples=[25])
    seed: int = Field(ge=0, examples=[0])
    speed: float | None = Field(description="degrees per frame; null for the model's own", examples=[None])
    framing: Literal["crop", "original"]
    portrait: str | None = Field(description="the portrait that it was made of, if one was named", examples=["bundled"])
    error: VideoFailure | None = Field(examples=[None])


class VideoList(BaseModel):
    object: Literal["list"]
    data: list[VideoObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Deleted(BaseModel):
    id: str = Field(examples=["video_Zk4wq8T1bYxN0dGm2RjHs6Lc"])
    object: Literal["video.deleted", "portrait.deleted"]
    deleted: bool = Field(examples=[True])


class LiveLimits(BaseModel):
    sessions: int = Field(description="number of live sessions that this machine holds", examples=[2])
    free: int = Field(examples=[2])


class Limits(BaseModel):
    """What the server makes, and the most that it takes."""

    model: str = Field(examples=["emo-photo"])
    size: str = Field(description="of videos with the framing `crop`", examples=["128x128"])
    frames_per_second: int = Field(examples=[25])
    max_upload_bytes: int = Field(examples=[104857600])
    max_pixels: int = Field(examples=[50000000])
    max_seconds: float = Field(examples=[600])
    live: LiveLimits
    version: str = Field(examples=["0.1.0"])


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its description: those of every route, and `statuses`."""
    return {status: {"model": ErrorAnswer} for status in (400, 401, 403, 404, 405, 429, *statuses)}
