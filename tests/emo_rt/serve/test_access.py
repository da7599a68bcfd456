"""Who is answered, how often, and with which headers."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving import Serve, asked, listening, until
from starlette.websockets import WebSocketDisconnect

from emo_rt.errors import InputError
from emo_rt.jobs.session import Session
from emo_rt.serve.access import POLICY
from emo_rt.serve.app import create_app
from emo_rt.serve.settings import Settings, parse_age, parse_bytes

TOKEN = "a-token-that-nobody-guesses"


def test_with_a_token_nothing_is_answered_without_it(serve: Serve, voice: Path) -> None:
    client = serve(token=TOKEN)
    guarded = ["/v1/limits", "/v1/videos", "/v1/portraits/bundled", "/v1/nothing", "/v1", "/metrics"]
    wrong = [None, "Bearer no", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer"]
    for path in guarded:
        for header in wrong:
            answer = client.get(path, headers={"Authorization": header} if header else {})
            assert answer.status_code == 401, path
            assert answer.json()["error"]["type"] == "authentication_error"
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get(f"{path}?token={TOKEN}").status_code == 401
    assert client.post("/v1/videos", files={"audio": voice.read_bytes()}).status_code == 401
    for path in ("/", "/healthz", "/openapi.json", "/page/index.html"):
        assert client.get(path).status_code == 200
    assert client.get("/openapi.json").json()["security"] == [{"token": []}]
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    assert [client.get(path).status_code for path in guarded] == [200, 200, 200, 404, 404, 200]
    assert asked(client, voice)["status"] in ("queued", "in_progress")


def test_a_token_that_is_easily_guessed_is_refused(tmp_path: Path) -> None:
    for token, words in (("short", "fewer than 16"), ("with spaces in between", "spaces"), ("", "spaces")):
        with pytest.raises(InputError, match=words):
            Settings(tmp_path, token=token)
    assert TOKEN not in repr(Settings(tmp_path, token=TOKEN))


def test_pages_of_others_are_not_answered(client: TestClient, serve: Serve, tmp_path: Path) -> None:
    """A browser sends a form to any address, also to this machine's own, and a name may be made to lead here."""
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Host": "evil.example:8000"},
        {"Host": "127.0.0.1.evil.example"},
    ):
        answer = client.post("/v1/videos", headers=headers)
        assert answer.status_code == 403, headers
        assert answer.json()["error"]["type"] == "authentication_error"
    for headers in (
        {"Origin": "http://127.0.0.1:8000"},
        {"Host": "localhost:8000"},
        {"Host": "[::1]:8000"},
        {"Host": "127.0.0.9"},
    ):
        assert client.get("/v1/limits", headers=headers).status_code == 200
    evil = {"Origin": "https://evil.example"}
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/v1/stream", headers=evil):
        pass
    assert closed.value.code == 1008
    behind_a_proxy = serve(folder=tmp_path / "other", token=TOKEN)
    headers = {"Host": "talk.example", "Origin": "https://talk.example", "Authorization": f"Bearer {TOKEN}"}
    assert behind_a_proxy.get("/v1/limits", headers=headers).status_code == 200


def test_every_answer_has_the_headers_that_keep_browsers_from_harm(client: TestClient) -> None:
    for path, status in (("/", 200), ("/v1/limits", 200), ("/v1/videos/x", 404), ("/nothing", 404), ("/metrics", 200)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
    assert client.get("/v1/limits").headers["cache-control"] == "no-store"
    assert client.get("/page/index.html").headers["cache-control"] == "no-cache"
    assert re.fullmatch(r"[ a-z';:-]+", POLICY), "it names no other server"
    assert "unsafe" not in POLICY


def test_too_many_requests_are_refused(serve: Serve) -> None:
    client = serve(requests_per_minute=5)
    assert [client.get("/v1/limits").status_code for _ in range(5)] == [200] * 5
    refused = client.get("/v1/limits")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(refused.headers["retry-after"]) > 0
    assert client.get("/healthz").status_code == 200


@pytest.mark.usefixtures("slow")
def test_the_queue_has_an_end(serve: Serve, voice: Path, tmp_path: Path) -> None:
    client = serve(max_queued_per_client=2)
    for _ in range(2):
        asked(client, voice)
    files = {"audio": voice.read_bytes()}
    refused = client.post("/v1/videos", data={"portrait": "bundled"}, files=files)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    client = serve(max_queued=1, folder=tmp_path / "other")
    asked(client, voice)
    refused = client.post("/v1/videos", data={"portrait": "bundled"}, files=files)
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "60"


def test_uploads_that_do_not_go_on_are_given_up_and_there_are_only_so_many(
    settings: Settings, session: Session
) -> None:
    app = create_app(replace(settings, stalled_seconds=1.0, max_uploads_per_client=2), session)
    head = "POST /v1/portraits HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x"
    with listening(app) as client, ExitStack() as stack:
        address = ("127.0.0.1", client.base_url.port or 0)
        slow = [stack.enter_context(socket.create_connection(address)) for _ in range(2)]
        for connection in slow:
            connection.sendall(head.encode())
        until(lambda: len(list((settings.folder / "incoming").iterdir())) == 2)
        refused = client.post("/v1/portraits", files={"image": b"x"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        for connection in slow:
            connection.settimeout(5)
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        until(lambda: not any((settings.folder / "incoming").iterdir()))
        assert client.post("/v1/portraits", files={"image": b"x"}).status_code == 400


def test_sizes_and_ages_are_read() -> None:
    sizes = {"7": 7, "2K": 2048, "3 MB": 3 << 20, "1g": 1 << 30, "1GiB": 1 << 30}
    assert [parse_bytes(text, "--quota") for text in sizes] == list(sizes.values())
    ages = {"90s": 90, "5m": 300, "2h": 7200, "7d": 604800, "7D": 604800}
    assert [parse_age(text, "--keep") for text in ages] == list(ages.values())
    wrong = {parse_bytes: ("0", "-1", "1.5G", "5d", "", "G", "9" * 20), parse_age: ("7", "0d", "1y", "inf")}
    for parse, texts in wrong.items():
        for text in texts:
            with pytest.raises(InputError, match="give one such as"):
                parse(text, "--option")
