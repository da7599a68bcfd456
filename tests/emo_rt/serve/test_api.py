"""What the description of the API promises holds, and no body, however malformed, is the server's mistake."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import asked, ended, listening

from emo_rt.jobs.session import Session
from emo_rt.serve.app import create_app
from emo_rt.serve.settings import Settings

#: Requests that are made up for each operation, and malformed forms.
CASES, FORMS = 20, 300
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@schemathesis.serializer("application/sdp")
def offer(context: Any, value: Any) -> Any:
    """An offer as it is sent."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture
def app(settings: Settings, session: Session) -> FastAPI:
    return create_app(settings, session)


def make_sensible(case: Any, video_id: str, portrait: Path, voice: Path) -> None:
    """Lets a request be about things that exist, and have files that can be read."""
    names = case.path_parameters or {}
    if "video_id" in names and case.method != "DELETE":
        names["video_id"] = video_id
    if "portrait_id" in names:
        names["portrait_id"] = "bundled"
    if not isinstance(case.body, dict):
        return
    for name in set(case.body) - {"audio", "image", "portrait", "seed", "speed", "framing", "max_seconds"}:
        del case.body[name]
    for name, path in (("image", portrait), ("audio", voice)):
        if name in case.body:
            content = path.read_bytes()
            data = "data:a/b;base64," + base64.b64encode(content).decode()
            case.body[name] = data if case.media_type == "application/json" else content
    if case.path == "/v1/videos" and "image" not in case.body:
        case.body["portrait"] = "bundled"


def test_made_up_requests_are_answered_as_the_description_says(app: FastAPI, portrait: Path, voice: Path) -> None:
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    with listening(app) as client:
        video = ended(client, asked(client, voice)["id"])
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        statuses: dict[str, set[int]] = {}
        for result in schema.get_all_operations():
            operation = result.ok()
            seen = statuses.setdefault(operation.label, set())
            cases = [operation.as_strategy(generation_mode=mode) for mode in modes]

            @settings(
                max_examples=CASES,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=st.one_of(*cases), known=st.booleans())
            def check(case: Any, known: bool) -> None:
                if known:
                    make_sensible(case, video["id"], portrait, voice)
                answer = case.call(base_url=str(client.base_url))
                seen.add(answer.status_code)  # noqa: B023
                case.validate_response(answer, checks=CHECKS)

            check()
        assert len(statuses) == 19
        assert {202, 400} <= statuses["POST /v1/videos"]
        assert {201, 400} <= statuses["POST /v1/portraits"]
        assert {200, 404} <= statuses["GET /v1/videos/{video_id}/stream"]


def test_the_description_has_examples_and_no_errors_that_never_come(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert {"POST /v1/videos", "GET /v1/videos/{video_id}/stream", "POST /v1/portraits", "GET /v1/limits"} <= set(
        operations
    )
    for name, operation in operations.items():
        assert "422" not in operation["responses"], name
        assert operation.get("description"), name
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in media or media["schema"]["properties"], name
    for name, model in schema["components"]["schemas"].items():
        for field, value in model.get("properties", {}).items():
            assert any(key in value for key in ("examples", "enum", "const", "$ref", "items", "anyOf")) or name in (
                "HTTPValidationError",
                "ValidationError",
                "VideoList",
            ), f"{name}.{field} has no example"


def form(portrait: Path, voice: Path) -> bytes:
    """A form that is as it should be, with the boundary `x`."""
    parts = [("seed", "", b"3"), ("image", '; filename="a.png"', portrait.read_bytes()[:2000])]
    parts.append(("audio", '; filename="b.wav"', voice.read_bytes()[:2000]))
    return (
        b"".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n'.encode() + content + b"\r\n"
            for name, rest, content in parts
        )
        + b"--x--\r\n"
    )


def damaged(body: bytes, number: int) -> bytes:
    """The body with some of it changed, lost, doubled or cut off: the same for the same number."""
    chance = random.Random(number)
    pieces = [b"\r\n", b"--x", b"--x--", b"\x00", b"\xff\xfe", b'"', b";", b"name=", b"%0d%0a"]
    content = bytearray(body)
    heads = [index for index in range(len(body)) if body[index : index + 3] == b"--x"]
    for _ in range(chance.randint(1, 6)):
        place = chance.choice(heads) + chance.randint(-4, 90)
        place = min(max(place, 0), max(len(content) - 1, 0))
        kind = chance.randrange(5)
        if kind == 0 and content:
            content[place] = chance.randrange(256)
        elif kind == 1:
            del content[place : place + chance.randint(1, 40)]
        elif kind == 2:
            content[place:place] = content[place : place + chance.randint(1, 200)]
        elif kind == 3:
            content[place:place] = chance.choice(pieces)
        elif chance.random() < 0.3:
            del content[place:]
    return bytes(content)


def test_malformed_forms_are_refused_and_leave_nothing(
    client: TestClient, portrait: Path, voice: Path, tmp_path: Path
) -> None:
    body = form(portrait, voice)
    counted: dict[int, int] = {}
    for number in range(FORMS):
        kind = random.Random(-number).choice(["x", "x", "x", "x", '"x"', "y", "", "x" * 300, "\u00e9"])
        headers = {"Content-Type": f"multipart/form-data; boundary={kind}".encode("latin-1")}
        path = "/v1/portraits" if number % 5 == 0 else "/v1/videos"
        answer = client.post(path, content=damaged(body, number), headers=headers)
        assert answer.status_code < 500, f"form {number}: {answer.text}"
        counted[answer.status_code] = counted.get(answer.status_code, 0) + 1
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error["message"].isprintable()
            assert str(tmp_path) not in answer.text, f"form {number} shows a path of the server"
    assert set(counted) <= {201, 202, 400, 413}
    assert counted[400] > FORMS / 2
    assert not any((tmp_path / "server" / "incoming").iterdir())


def test_a_form_that_is_as_it_should_be_is_accepted(client: TestClient, portrait: Path, voice: Path) -> None:
    """The malformed ones are near to one that is accepted."""
    body = form(portrait, voice)
    for path in (portrait, voice):
        body = body.replace(path.read_bytes()[:2000], path.read_bytes())
    answer = client.post("/v1/videos", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.json()["seed"]) == (202, 3)
