"""Reads the bodies of requests: forms (multipart) and JSON with files in `data:` addresses, at most so many bytes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from anyio import CancelScope, to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from emo_rt.bundled import VOICE
from emo_rt.errors import printable
from emo_rt.jobs.parsing import shown
from emo_rt.serve.access import UPLOAD, ClientLimits, client_of
from emo_rt.serve.answers import ApiError
from emo_rt.serve.settings import Settings
from emo_rt.serve.store import Store

#: Fields that are files.
FILES = ("image", "audio")
#: The voice that comes with emo-rt, in the field `voice`.
BUNDLED_VOICE = "bundled"
#: Bytes of the longest text in a form, characters of the longest name of a file, and number of parts of a form.
_LONGEST_TEXT, _LONGEST_NAME, _MOST_PARTS = 4096, 100, 32
#: Bytes that a form has beside its files.
_AROUND = 64 * 2**10
#: Bytes of the largest JSON.
_LARGEST_JSON = 32 * 2**20


@dataclass(frozen=True)
class UploadedFile:
    """A file that a client sent.

    Attributes:
        path: where it lies
        name: what the client calls it, printable, for messages only
    """

    path: Path
    name: str


@dataclass
class Upload:
    """What a request brought.

    Attributes:
        directory: directory of its files
        fields: texts of a form, or values of JSON
        files: files by the names of their fields
    """

    directory: Path
    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, UploadedFile] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def received(request: Request, known: frozenset[str]) -> AsyncIterator[Upload]:
    """Receives the body of a request; its files are removed in the end if nobody took their directory over.

    Args:
        request: request whose body was not read yet
        known: names of all fields that it may have

    Raises:
        ApiError: for a body that is too large, too slow, no form and no JSON, or has unknown fields.
    """
    settings: Settings = request.app.state.settings
    store: Store = request.app.state.store
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind not in (b"multipart/form-data", b"application/json"):
        raise ApiError(415, "the body is neither multipart/form-data nor application/json; send one of them")
    largest = settings.max_upload_bytes + _AROUND
    if kind == b"application/json":
        largest = min(largest, _LARGEST_JSON)
    size = _declared_size(request, largest)
    limits: ClientLimits = request.app.state.limits
    client = client_of(request)
    limits.check(UPLOAD, client)
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(limits.holding(UPLOAD, client))
        directory = await run_in_threadpool(stack.enter_context, store.incoming(size or largest))
        upload = Upload(directory)
        if kind == b"application/json":
            await _read_json(request, upload, largest)
        else:
            await _read_form(request, upload, options.get(b"boundary", b""), largest)
        if unknown := [name for name in (*upload.fields, *upload.files) if name not in known]:
            raise ApiError(400, f"field {shown(unknown[0])} is unknown; known are {', '.join(sorted(known))}")
        yield upload
    finally:
        with CancelScope(shield=True):
            await run_in_threadpool(stack.close)


def _declared_size(request: Request, largest: int) -> int | None:
    """The bytes that a request says it has; None if it does not say."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise ApiError(400, "the header Content-Length is no number")
    if len(text) > 18 or int(text) > largest:
        raise ApiError(413, f"the request has more than {largest} bytes; send less")
    return int(text)


async def body_chunks(request: Request, largest: int) -> AsyncIterator[bytes]:
    """The body of a request as it comes.

    Raises:
        ApiError: if it has more than `largest` bytes, is too slow, or ends before its time.
    """
    settings: Settings = request.app.state.settings
    size = 0
    body = request.stream()
    end = time.monotonic() + settings.upload_seconds
    try:
        while True:
            async with asyncio.timeout(min(settings.stalled_seconds, end - time.monotonic())):
                chunk = await anext(body, None)
            if chunk is None:
                return
            size += len(chunk)
            if size > largest:
                raise ApiError(413, f"the request has more than {largest} bytes; send less")
            yield chunk
    except TimeoutError:
        raise ApiError(408, "the request came too slowly; send it again") from None
    except ClientDisconnect:
        raise ApiError(400, "the request ended before it was complete") from None


async def _read_json(request: Request, upload: Upload, largest: int) -> None:
    """Reads JSON, over the disk: in memory, which it takes several times, are only those that are decoded."""
    path = upload.directory / "body"
    with await run_in_threadpool(path.open, "xb") as file:
        async for chunk in body_chunks(request, largest):
            await run_in_threadpool(file.write, chunk)
    await to_thread.run_sync(_take_json, upload, path, limiter=request.app.state.decoding)


def _take_json(upload: Upload, path: Path) -> None:
    body = path.read_bytes()
    path.unlink()
    for name, value in json_object(body).items():
        if name not in FILES or value is None:
            upload.fields[name] = value
            continue
        path = upload.directory / name
        with open(path, "xb") as file:
            file.write(_content_of(value, name))
            os.fsync(file.fileno())
        upload.files[name] = UploadedFile(path, name)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        ApiError: for anything else.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON that can be read") from None
    if not isinstance(values, dict):
        raise ApiError(400, "the body is no JSON object; send one")
    return values


def _content_of(value: Any, name: str) -> bytes:
    """The bytes in a `data:` address."""
    head, comma, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise ApiError(
            400, f"{name} is no address of the form data:TYPE;base64,DATA; addresses are not read", param=name
        )
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{name} has data that is not of base64", param=name) from None


async def _read_form(request: Request, upload: Upload, boundary: bytes, largest: int) -> None:
    reader = _FormReader(upload)
    try:
        parser = reader.parser(boundary)
        async for chunk in body_chunks(request, largest):
            await run_in_threadpool(parser.write, chunk)
        await run_in_threadpool(parser.finalize)
    except (FormParserError, ValueError, AssertionError):
        raise ApiError(400, "the form (multipart/form-data) is damaged; send it again") from None
    finally:
        reader.close()
    if not reader.ended:
        raise ApiError(400, "the form (multipart/form-data) is cut short; send it again")


class _FormReader:
    """Takes the parts of a form: files go to the disk, texts into memory.

    Attributes:
        ended: whether the form came to its end
    """

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.ended = False
        self._parts = 0
        self._header = [b"", b""]
        self._name, self._file_name = "", ""
        self._text = b""
        self._file: BinaryIO | None = None

    def parser(self, boundary: bytes) -> MultipartParser:
        """The parser that calls this reader."""
        if not boundary:
            raise ValueError("no boundary")
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._start_content,
                "on_part_data": lambda data, start, end: self._add(data[start:end]),
                "on_part_end": self._end,
                "on_end": self._end_all,
            },
        )

    def close(self) -> None:
        """Closes the file that was not complete."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise ApiError(400, f"the form has more than {_MOST_PARTS} fields")
        self._header, self._name, self._file_name, self._text = [b"", b""], "", "", b""

    def _add_header(self, place: int, data: bytes) -> None:
        self._header[place] += data
        if len(self._header[place]) > _LONGEST_TEXT:
            raise ApiError(400, f"a header of the form has more than {_LONGEST_TEXT} bytes")

    def _end_header(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            self._file_name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _start_content(self) -> None:
        if not self._name:
            raise ApiError(400, "a part of the form has no name; give each one a name")
        if self._name in self.upload.fields or self._name in self.upload.files:
            raise ApiError(400, f"field {shown(self._name)} is there twice; give it once")
        if self._name in FILES:
            path = self.upload.directory / self._name
            self._file = open(path, "xb")  # noqa: SIM115
            self.upload.files[self._name] = UploadedFile(path, _shown_name(self._file_name) or self._name)

    def _add(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            return
        self._text += data
        if len(self._text) > _LONGEST_TEXT:
            raise ApiError(400, f"field {shown(self._name)} has more than {_LONGEST_TEXT} bytes")

    def _end(self) -> None:
        if self._file is None:
            try:
                self.upload.fields[self._name] = self._text.decode()
            except UnicodeDecodeError:
                raise ApiError(400, f"field {shown(self._name)} is no text in UTF-8") from None
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None

    def _end_all(self) -> None:
        self.ended = True


def _shown_name(name: str) -> str:
    """The name of a client's file as messages show it: the last part of its path, in one line, not for pages."""
    return printable(name.replace("\\", "/").rpartition("/")[2])[:_LONGEST_NAME]


def take_bundled_voice(upload: Upload) -> None:
    """Adds the bundled voice to what a request brought, if it asks for it in its field `voice`.

    Raises:
        ApiError: for any other voice, and for one beside a file with sound.
    """
    asked = upload.fields.get("voice")
    if asked in (None, ""):
        return
    if asked != BUNDLED_VOICE:
        hint = f"give {BUNDLED_VOICE}, or send a voice as audio"
        raise ApiError(400, f"voice {shown(asked)} is unknown; {hint}", param="voice")
    if "audio" in upload.files:
        raise ApiError(400, "give either audio or voice", param="voice")
    path = upload.directory / "audio"
    shutil.copyfile(VOICE, path)
    upload.files["audio"] = UploadedFile(path, VOICE.name)
