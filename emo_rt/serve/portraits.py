"""Pictures of faces: the routes `/v1/portraits`, and how an uploaded picture becomes one that is kept."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse
from PIL import Image, UnidentifiedImageError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from emo_rt.bundled import PORTRAIT
from emo_rt.errors import EmoError, InputError
from emo_rt.jobs.parsing import shown
from emo_rt.media.boxes import Box
from emo_rt.media.face import SMALLEST_FACE
from emo_rt.media.face_detector import CERTAIN, detect_faces
from emo_rt.media.image import read_image
from emo_rt.media.picture_file import TooManyPixels, open_picture
from emo_rt.serve.answers import NOT_FOUND, ApiError, Deleted, FaceBoxChange, PortraitObject, file_answer, refusals
from emo_rt.serve.settings import Settings
from emo_rt.serve.store import PICTURE_FILE, Store
from emo_rt.serve.uploads import Upload, UploadedFile, body_chunks, json_object, received

#: The id of the portrait that comes with emo-rt.
BUNDLED = "bundled"
#: Bytes of the largest change of a portrait.
_LARGEST_CHANGE = 4096

portrait_routes = APIRouter(prefix="/v1/portraits", tags=["portraits"])

_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary", "description": "picture file"}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "description": "picture as data:TYPE;base64,DATA"}},
                },
                "example": {"image": "data:image/png;base64,iVBORw0KGgo="},
            },
        },
    }
}
_CHANGE = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": FaceBoxChange.model_json_schema(ref_template="#/components/schemas/{model}"),
                "example": {"face_box": {"x": 72, "y": 60, "width": 112, "height": 112}},
            }
        },
    }
}


@portrait_routes.post(
    "", status_code=201, response_model=PortraitObject, openapi_extra=_UPLOAD, responses=refusals(408, 413, 415, 507)
)
async def upload_portrait(request: Request) -> JSONResponse:
    """Uploads a picture, and finds the faces in it."""
    store: Store = request.app.state.store
    async with received(request, frozenset({"image"})) as upload:
        if "image" not in upload.files:
            raise ApiError(400, "there is no image; send a picture as the file image", param="image")
        facts = await to_thread.run_sync(_kept, store, upload, limiter=request.app.state.decoding)
    return JSONResponse(facts, 201)


def _kept(store: Store, upload: Upload) -> dict[str, Any]:
    """Keeps an uploaded portrait; returns its object."""
    pixels = keep_picture(upload, store.settings)
    faces = _faces(pixels)
    facts = {
        "created_at": time.time(),
        "size": (pixels.shape[1], pixels.shape[0]),
        "faces": [asdict(face) for face in faces],
        "face_box": asdict(faces[0]) if faces else None,
        "given": False,
    }
    return portrait_object(store, store.add_portrait(upload.directory, facts), facts)


def _faces(pixels: np.ndarray) -> list[Box]:
    """The faces that are certainly in a picture and can be animated; the first is the one that `find_face` takes."""
    faces = [face.box for face in detect_faces(pixels) if face.confidence >= CERTAIN]
    is_large = [min(face.width, face.height) >= SMALLEST_FACE for face in faces]
    return [face for face, large in zip(faces, is_large, strict=True) if large] if is_large[:1] == [True] else []


def keep_picture(upload: Upload, settings: Settings) -> np.ndarray:
    """Writes the picture of an upload anew, upright and without anything but its pixels, and removes what was uploaded.

    Returns:
        Its pixels, RGB uint8 (height, width, 3).

    Raises:
        ApiError: if it is no picture, or too large.
    """
    image = upload.files["image"]
    with described({image.path: image.name}, "image"):
        _check_pixels(image, settings.max_pixels)
        pixels = read_image(image.path)
    Image.fromarray(pixels).save(upload.directory / PICTURE_FILE, compress_level=1)
    image.path.unlink()
    return pixels


def _check_pixels(image: UploadedFile, most: int) -> None:
    """Raises ApiError if a picture has too many pixels; says nothing of what is no picture."""
    try:
        with open(image.path, "rb") as file:
            width, height = open_picture(file, str(image.path)).full_size
    except TooManyPixels as error:
        raise ApiError(413, f"image {image.name}: {error}", param="image") from None
    except (UnidentifiedImageError, InputError, OSError):
        return
    except Exception:  # of a damaged file, Pillow's readers raise whatever they come upon
        return
    if width * height > most:
        millions = f"{width} x {height} pixels are more than {most / 1e6:g} megapixels"
        raise ApiError(413, f"image {image.name}: {millions}; scale it down", param="image")


@contextlib.contextmanager
def described(names: dict[Path, str], param: str | None) -> Iterator[None]:
    """Turns an EmoError in its block into an ApiError that says what the client calls its files.

    Args:
        names: the client's name of each file that a message may name
        param: field that is wrong
    """
    try:
        yield
    except EmoError as error:
        raise ApiError(400, in_clients_words(str(error), names), param=param) from error


def in_clients_words(message: str, names: dict[Path, str]) -> str:
    """A message with the client's names in the place of the server's paths."""
    for path, name in names.items():
        message = message.replace(str(path), name)
    return message


def portrait_object(store: Store, portrait_id: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The object that the API shows of a portrait."""
    created_at = int(facts["created_at"])
    return {
        "id": portrait_id,
        "object": "portrait",
        "created_at": created_at,
        "expires_at": None if portrait_id == BUNDLED else created_at + int(store.settings.keep_seconds),
        "width": facts["size"][0],
        "height": facts["size"][1],
        "faces": facts["faces"],
        "face_box": facts["face_box"],
    }


def known_portrait(request: HTTPConnection, portrait_id: str) -> tuple[Path, dict[str, Any]]:
    """The picture file of a portrait, and its facts.

    Raises:
        ApiError: if there is none of this id.
    """
    store: Store = request.app.state.store
    if portrait_id == BUNDLED:
        return PORTRAIT, _bundled_facts()
    facts = store.portrait_facts(portrait_id)
    if facts is None:
        raise ApiError(404, f"portrait {shown(portrait_id)} does not exist", NOT_FOUND, "portrait")
    return store.portrait(portrait_id) / PICTURE_FILE, facts


def animated_portrait(connection: HTTPConnection, portrait_id: str) -> tuple[Path, Box]:
    """The picture file of a portrait, and the face in it.

    Raises:
        ApiError: if there is none of this id, or no face is found in it.
    """
    path, facts = known_portrait(connection, portrait_id)
    if facts["face_box"] is None:
        missing = f"portrait {shown(portrait_id)}: no face is found in it; set its face_box"
        raise ApiError(400, missing, param="portrait")
    return path, Box(**facts["face_box"])


@functools.cache
def _bundled_facts() -> dict[str, Any]:
    """The facts of the portrait that comes with emo-rt; do not change them."""
    pixels = read_image(PORTRAIT)
    faces = [asdict(face) for face in _faces(pixels)]
    size = (pixels.shape[1], pixels.shape[0])
    return {"created_at": 0, "size": size, "faces": faces, "face_box": faces[0], "given": False}


@portrait_routes.get("/{portrait_id}", response_model=PortraitObject, responses=refusals())
def show_portrait(portrait_id: str, request: Request) -> JSONResponse:
    """A portrait; `bundled` is the one that comes with emo-rt."""
    _, facts = known_portrait(request, portrait_id)
    return JSONResponse(portrait_object(request.app.state.store, portrait_id, facts))


@portrait_routes.post(
    "/{portrait_id}", response_model=PortraitObject, openapi_extra=_CHANGE, responses=refusals(408, 409, 413)
)
async def change_portrait(portrait_id: str, request: Request) -> JSONResponse:
    """Says where the face is."""
    values = json_object(b"".join([chunk async for chunk in body_chunks(request, _LARGEST_CHANGE)]))
    return await run_in_threadpool(_changed, request, portrait_id, values)


def _changed(request: Request, portrait_id: str, values: dict[str, Any]) -> JSONResponse:
    store: Store = request.app.state.store
    _, facts = known_portrait(request, portrait_id)
    if portrait_id == BUNDLED:
        raise ApiError(409, "the bundled portrait cannot be changed")
    if list(values) != ["face_box"]:
        raise ApiError(400, "give face_box and nothing else", param="face_box")
    box = box_of(values["face_box"])
    if not box.fits(tuple(facts["size"])):
        raise ApiError(400, "face_box lies outside of the picture", param="face_box")
    if min(box.width, box.height) < SMALLEST_FACE:
        raise ApiError(400, f"face_box is below {SMALLEST_FACE} pixels; give a larger picture", param="face_box")
    facts = {**facts, "face_box": asdict(box), "given": True}
    store.change_portrait(portrait_id, facts)
    return JSONResponse(portrait_object(store, portrait_id, facts))


def box_of(value: Any) -> Box:
    """A face box of JSON.

    Raises:
        ApiError: for anything but an object with four finite numbers.
    """
    names = ("x", "y", "width", "height")
    if not isinstance(value, dict) or set(value) != set(names):
        raise ApiError(400, "face_box is no object with x, y, width and height", param="face_box")
    numbers = [value[name] for name in names]
    if not all(type(number) in (int, float) and abs(number) < 1e9 and math.isfinite(number) for number in numbers):
        raise ApiError(400, "face_box has something else than numbers of pixels", param="face_box")
    return Box(*numbers)


@portrait_routes.get(
    "/{portrait_id}/content",
    response_class=FileResponse,
    responses={**refusals(), 200: {"content": {"image/png": {}}, "description": "The picture"}},
)
def portrait_content(portrait_id: str, request: Request) -> FileResponse:
    """The picture, written anew as a PNG."""
    path, _ = known_portrait(request, portrait_id)
    return file_answer(path, "image/png", "portrait.png", inline=True)


@portrait_routes.delete("/{portrait_id}", response_model=Deleted, responses=refusals(409))
def delete_portrait(portrait_id: str, request: Request) -> JSONResponse:
    """Removes a portrait; videos that were made or are made of it stay."""
    store: Store = request.app.state.store
    known_portrait(request, portrait_id)
    if portrait_id == BUNDLED:
        raise ApiError(409, "the bundled portrait cannot be deleted")
    store.remove(store.portrait(portrait_id))
    return JSONResponse({"id": portrait_id, "object": "portrait.deleted", "deleted": True})
