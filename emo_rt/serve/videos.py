"""The routes `/v1/videos`: a portrait and a voice are accepted, and become a video in the order of the queue."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from emo_rt.cascade.audio import frame_count
from emo_rt.errors import EmoError
from emo_rt.jobs.parsing import (
    check_number,
    check_positive,
    check_seed,
    parse_box,
    parse_positive,
    parse_seed,
    parse_speed,
    shown,
)
from emo_rt.jobs.session import Session
from emo_rt.limits import MAX_SPEED
from emo_rt.media.boxes import Box
from emo_rt.media.framing import CROP, FRAMINGS, ORIGINAL, Canvas
from emo_rt.media.portrait import read_picture
from emo_rt.media.sound import AudioStream
from emo_rt.serve.access import client_of
from emo_rt.serve.answers import (
    NOT_FOUND,
    OVERLOADED,
    RATE_LIMITED,
    ApiError,
    Deleted,
    VideoList,
    VideoObject,
    file_answer,
    refusals,
)
from emo_rt.serve.growing import watch
from emo_rt.serve.portraits import BUNDLED, box_of, described, keep_picture, known_portrait
from emo_rt.serve.queue import COMPLETED, FAILED, Queue, VideoRow
from emo_rt.serve.settings import Settings
from emo_rt.serve.store import AUDIO_FILE, PICTURE_FILE, VIDEO_FILE, Store, is_id
from emo_rt.serve.uploads import BUNDLED_VOICE, Upload, received, take_bundled_voice
from emo_rt.serve.worker import VideoWorkers

Value = TypeVar("Value")

#: The name under which every video is downloaded.
DOWNLOAD = "emo-rt.mp4"
_FIELDS = frozenset(
    {"audio", "voice", "image", "portrait", "seed", "speed", "face_box", "framing", "max_seconds", "model"}
)

video_routes = APIRouter(prefix="/v1/videos", tags=["videos"])

_BOX = {"type": "object", "properties": {name: {"type": "number"} for name in ("x", "y", "width", "height")}}
_OPTIONS: dict[str, Any] = {
    "portrait": {"type": "string", "description": "id of a portrait, in place of image", "example": BUNDLED},
    "voice": {
        "type": "string",
        "enum": [BUNDLED_VOICE],
        "description": "the bundled voice, in place of audio",
    },
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1, "default": 0},
    "speed": {"type": "number", "minimum": 0, "maximum": MAX_SPEED, "description": "degrees per frame"},
    "face_box": {"type": "string", "description": "the face in the picture: X,Y,WIDTH,HEIGHT in pixels"},
    "framing": {"type": "string", "enum": list(FRAMINGS), "default": CROP},
    "max_seconds": {"type": "number", "exclusiveMinimum": 0, "description": "end after this much of the voice"},
    "model": {"type": "string", "description": "name of the model that the server has, if it is given"},
}
_ASKED = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "audio": {"type": "string", "format": "binary", "description": "speech, or a video with it"},
                        "image": {"type": "string", "format": "binary", "description": "picture with a face"},
                        **_OPTIONS,
                    },
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "audio": {"type": "string", "description": "the voice as data:TYPE;base64,DATA"},
                        "image": {"type": "string", "description": "the picture as data:TYPE;base64,DATA"},
                        **_OPTIONS,
                        "face_box": {"oneOf": [_OPTIONS["face_box"], _BOX]},
                    },
                },
                "example": {"portrait": BUNDLED, "audio": "data:audio/wav;base64,UklGRg==", "seed": 3},
            },
        },
    }
}


@video_routes.post(
    "",
    status_code=202,
    response_model=VideoObject,
    openapi_extra=_ASKED,
    responses=refusals(408, 413, 415, 503, 507),
)
async def ask_for_video(request: Request) -> JSONResponse:
    """Asks for a video of a portrait, or of a picture that is sent along, and a voice."""
    state = request.app.state
    client = client_of(request)
    await to_thread.run_sync(_check_queue, state.queue, state.settings, client)
    async with received(request, _FIELDS) as upload:
        row = await to_thread.run_sync(_accepted, request, upload, client, limiter=state.decoding)
        answer = await to_thread.run_sync(video_object, request, row)
    return JSONResponse(answer, 202)


def _check_queue(queue: Queue, settings: Settings, client: str) -> None:
    if queue.waiting() >= settings.max_queued:
        raise ApiError(503, "too many videos wait; come back later", OVERLOADED, retry_after=60)
    if queue.waiting(client) >= settings.max_queued_per_client:
        raise ApiError(429, "too many of your videos wait; come back later", RATE_LIMITED, retry_after=60)


def _accepted(request: Request, upload: Upload, client: str) -> VideoRow:
    """Checks everything of an upload that would make its video fail, and adds it to the queue."""
    state = request.app.state
    store: Store = state.store
    session: Session = state.session
    fields, files = upload.fields, upload.files
    options = _options(fields, session.bundle.manifest.name)
    take_bundled_voice(upload)
    if "audio" not in files:
        raise ApiError(400, "there is no audio; send a voice as the file audio", param="audio")
    if ("image" in files) == ("portrait" in fields):
        raise ApiError(400, "give either image or portrait", param="image")
    names = {"audio": files["audio"].name}
    if "image" in files:
        names["image"] = files["image"].name
        keep_picture(upload, store.settings)
    else:
        names["image"] = f"of portrait {fields['portrait']}" if is_known(fields["portrait"]) else "portrait"
        box = _take_portrait(request, upload.directory, fields["portrait"])
        options["face_box"] = options["face_box"] or box
    shown_names = {upload.directory / PICTURE_FILE: names["image"], upload.directory / AUDIO_FILE: names["audio"]}
    with described(shown_names, "image"):
        size = _size(upload.directory, options, session)
    with described(shown_names, "audio"):
        frames = _frames(upload.directory / AUDIO_FILE, names["audio"], options, session, store.settings)
    _check_queue(state.queue, store.settings, client)
    store.make_room(video_bytes(frames, size, session.bundle.config.frames_per_second))
    facts = {
        **options,
        "names": names,
        "size": size,
        "frames": frames,
        "portrait": fields.get("portrait"),
        "model": session.bundle.manifest.name,
    }
    video_id = store.add_video(upload.directory)
    try:
        row: VideoRow = state.queue.add(video_id, client, facts)
    except BaseException:
        store.remove(store.video(video_id))
        raise
    return row


def is_known(portrait: Any) -> bool:
    """Whether a value has the form of a portrait's id."""
    return isinstance(portrait, str) and (portrait == BUNDLED or is_id(portrait, "portrait"))


def video_bytes(frames: int, size: tuple[int, int], frames_per_second: int) -> int:
    """The bytes that a video needs while it is made, at most: clips, the growing and the final MP4."""
    seconds = frames / frames_per_second
    return round(3 * (frames * size[0] * size[1] / 16 + seconds * 40_000)) + 2**20


def _options(fields: dict[str, Any], model: str) -> dict[str, Any]:
    """The options of a video among the fields of a request; texts, as a form has them, are parsed."""
    if (asked := fields.get("model")) not in (None, "", model):
        raise ApiError(400, f"model {shown(asked)} is not served; the only one is {model}", param="model")
    framing = fields.get("framing") or CROP
    if framing not in FRAMINGS:
        raise ApiError(400, f"framing {shown(framing)} is unknown: choose {' or '.join(FRAMINGS)}", param="framing")
    box = _value(fields, "face_box", parse_box, lambda value, _: box_of(value))
    return {
        "seed": _value(fields, "seed", parse_seed, check_seed) or 0,
        "speed": _value(fields, "speed", parse_speed, lambda value, name: check_number(value, name, MAX_SPEED)),
        "max_seconds": _value(fields, "max_seconds", parse_positive, check_positive),
        "framing": framing,
        "face_box": asdict(box) if box else None,
    }


def _value(
    fields: dict[str, Any], name: str, parse: Callable[[str, str], Value], check: Callable[[Any, str], Any]
) -> Any:
    """A field: a text that `parse` reads, or a value that `check` approves or replaces; None if it is not given."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            return parse(value, name)
        if isinstance(value, bool):
            raise ApiError(400, f"{name} is {value}: give a number", param=name)
        return check(value, f"{name} {shown(value)}") or value
    except EmoError as error:
        raise ApiError(400, str(error), param=name) from None


def _take_portrait(request: Request, directory: Path, portrait_id: Any) -> dict[str, float] | None:
    """Puts the picture of a portrait into a video's directory; returns the face box that was set for it."""
    if not isinstance(portrait_id, str):
        raise ApiError(400, "portrait is no text; give the id of a portrait", param="portrait")
    path, facts = known_portrait(request, portrait_id)
    try:
        if portrait_id == BUNDLED:
            shutil.copyfile(path, directory / PICTURE_FILE)
        else:
            os.link(path, directory / PICTURE_FILE)  # the portrait may be deleted before the video is made
    except FileNotFoundError:
        raise ApiError(404, "the portrait was deleted", NOT_FOUND, "portrait") from None
    except OSError:  # a file system without links
        shutil.copyfile(path, directory / PICTURE_FILE)
    return facts["face_box"] if facts["given"] else None


def _size(directory: Path, options: dict[str, Any], session: Session) -> tuple[int, int]:
    """The width and height of a video, pixels; raises an EmoError if its picture cannot be animated."""
    config = session.bundle.config
    path = directory / PICTURE_FILE
    box = Box(**options["face_box"]) if options["face_box"] else None
    picture = read_picture(path, config, box)
    if options["framing"] == ORIGINAL:
        return Canvas(picture.image, picture.crop, picture.face_box, str(path)).size
    return config.resolution, config.resolution


def _frames(path: Path, name: str, options: dict[str, Any], session: Session, settings: Settings) -> int:
    """The number of frames of a video; an EmoError or an ApiError if its voice cannot be heard or is too long."""
    config = session.bundle.config
    voice = AudioStream(path, config.sample_rate, max_seconds=options["max_seconds"])
    samples = 0
    for chunk in voice:
        samples += len(chunk.voice)
        if samples > settings.max_seconds * config.sample_rate:
            longest = f"{settings.max_seconds:g} s"
            raise ApiError(
                413, f"audio {name}: lasts longer than {longest}; shorten it, or give max_seconds", param="audio"
            )
    return frame_count(samples, config.samples_per_frame)


def video_object(request: Request, row: VideoRow) -> dict[str, Any]:
    """The object that the API shows of a video."""
    state = request.app.state
    workers: VideoWorkers = state.workers
    store: Store = state.store
    facts, rate = row.facts, state.session.bundle.config.frames_per_second
    done = facts["frames"] if row.status == COMPLETED else workers.frames_done(row.id)
    expires_at = store.expires_at(row)
    return {
        "id": row.id,
        "object": "video",
        "model": facts["model"],
        "status": row.status,
        "progress": 100 * done // max(facts["frames"], 1),
        "created_at": int(row.created_at),
        "started_at": None if row.started_at is None else int(row.started_at),
        "completed_at": None if row.completed_at is None else int(row.completed_at),
        "expires_at": None if expires_at is None else int(expires_at),
        "frames": facts["frames"],
        "frames_made": done,
        "seconds": round(facts["frames"] / rate, 3),
        "size": "{}x{}".format(*facts["size"]),
        "frames_per_second": rate,
        "seed": facts["seed"],
        "speed": facts["speed"],
        "framing": facts["framing"],
        "portrait": facts["portrait"],
        "error": None if row.error is None else {"message": row.error},
    }


def known_video(request: Request, video_id: str, param: str | None = None) -> VideoRow:
    """The video of an id.

    Raises:
        ApiError: if there is none.
    """
    row: VideoRow | None = request.app.state.queue.get(video_id) if is_id(video_id, "video") else None
    if row is None:
        raise ApiError(404, f"video {shown(video_id)} does not exist", NOT_FOUND, param)
    return row


@video_routes.get("", response_model=VideoList, responses=refusals())
def list_videos(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100, description="number of videos")] = 20,
    after: Annotated[str | None, Query(description="id of the video behind which the page begins")] = None,
    order: Literal["asc", "desc"] = "desc",
) -> JSONResponse:
    """The videos, from the newest on."""
    last = None if after is None else known_video(request, after, "after")
    rows = request.app.state.queue.page(limit + 1, last, ascending=order == "asc")
    page = [video_object(request, row) for row in rows[:limit]]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return JSONResponse({"object": "list", "data": page, "has_more": len(rows) > limit, **ends})


@video_routes.get("/{video_id}", response_model=VideoObject, responses=refusals())
def show_video(video_id: str, request: Request) -> JSONResponse:
    """A video, and how far it is."""
    return JSONResponse(video_object(request, known_video(request, video_id)))


@video_routes.get(
    "/{video_id}/content",
    response_class=FileResponse,
    responses={**refusals(409, 416), 200: {"content": {"video/mp4": {}}, "description": "The MP4"}},
)
def video_content(video_id: str, request: Request) -> FileResponse:
    """The finished MP4, whole or in ranges."""
    return file_answer(_completed(request, video_id) / VIDEO_FILE, "video/mp4", DOWNLOAD)


def _completed(request: Request, video_id: str) -> Path:
    """The directory of a video that is completed."""
    row = known_video(request, video_id)
    if row.status == FAILED:
        raise ApiError(409, f"the video failed: {row.error}")
    if row.status != COMPLETED:
        raise ApiError(409, "the video is not completed yet; ask for it again, or watch its stream")
    store: Store = request.app.state.store
    return store.video(row.id)


@video_routes.get("/{video_id}/provenance", responses={**refusals(409), 200: {"description": "JSON object"}})
def video_provenance(video_id: str, request: Request) -> JSONResponse:
    """What a finished video was made from, and how."""
    path = _completed(request, video_id) / f"{VIDEO_FILE}.json"
    try:
        return JSONResponse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ApiError(404, "the video was deleted", NOT_FOUND) from None


@video_routes.get(
    "/{video_id}/stream",
    response_class=StreamingResponse,
    responses={
        **refusals(409, 503),
        200: {"content": {"video/mp4": {}}, "description": "A fragmented MP4 that grows while the video is made"},
    },
)
def watch_video(video_id: str, request: Request) -> StreamingResponse:
    """The video from its beginning, while it is made."""
    row = known_video(request, video_id)
    if row.status == FAILED:
        raise ApiError(409, f"the video failed: {row.error}")
    return watch(request, row.id)


@video_routes.delete("/{video_id}", response_model=Deleted, responses=refusals())
def delete_video(video_id: str, request: Request) -> JSONResponse:
    """Removes a video with its files; one that is made stops at the next clip."""
    state = request.app.state
    row = known_video(request, video_id)
    state.workers.cancel(row.id)
    return JSONResponse({"id": row.id, "object": "video.deleted", "deleted": True})
