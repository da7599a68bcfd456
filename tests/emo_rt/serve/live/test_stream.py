"""The WebSocket of a server that listens at a port."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
import httpx
import numpy as np
import pytest
from serving import listening, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from emo_rt.jobs.session import Session
from emo_rt.planning.planner import Plan
from emo_rt.serve.app import create_app
from emo_rt.serve.live import sessions
from emo_rt.serve.settings import Settings

TONE = (9000 * np.sin(0.1 * np.arange(16000))).astype("<i2").tobytes()  # 1 s


@pytest.fixture(autouse=True)
def two_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine holds two sessions, and is not measured for that."""
    monkeypatch.setattr(Session, "live_plan", lambda self: Plan("onnxruntime", self.presets[0], 100.0, 0.01))
    monkeypatch.setattr(sessions, "MOST", 2)


@pytest.fixture
def server(settings: Settings, session: Session) -> Iterator[httpx.Client]:
    with listening(create_app(settings, session)) as client:
        until(lambda: client.get("/v1/limits").json()["live"]["free"] >= 2)
        yield client


def free(client: httpx.Client) -> int:
    return int(client.get("/v1/limits").json()["live"]["free"])


def opened(client: httpx.Client, **fields: Any) -> ClientConnection:
    """A connection after its first message and the answer to that."""
    socket = connect(str(client.base_url).replace("http", "ws") + "/v1/stream", max_size=None)
    socket.send(json.dumps({"type": "start", **fields}))
    return socket


def received(socket: ClientConnection, what: str | None = None) -> tuple[bytes, list[dict[str, Any]]]:
    """Segments and messages until one of the type `what`, or until the end."""
    data, messages = b"", []
    try:
        while not (messages and messages[-1]["type"] == what):
            message = socket.recv(20)
            if isinstance(message, bytes):
                data += message
            else:
                messages.append(json.loads(message))
    except ConnectionClosed as closed:
        messages.append({"type": "closed", "code": closed.rcvd.code if closed.rcvd else None})
    return data, messages


def test_a_voice_becomes_a_video_of_a_face(server: httpx.Client) -> None:
    with opened(server) as socket:
        ready = json.loads(socket.recv(20))
        assert ready["type"] == "ready"
        assert (ready["width"], ready["frames_per_second"]) == (32, 25)
        socket.send(TONE)
        socket.send(json.dumps({"type": "mark", "name": "one"}))
        socket.send(TONE)
        socket.send(json.dumps({"type": "end"}))
        data, messages = received(socket)
    assert messages == [{"type": "played", "name": "one"}, {"type": "closed", "code": 1000}]
    with av.open(io.BytesIO(data)) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 60
    with av.open(io.BytesIO(data)) as video:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in video.decode(audio=0)])
    assert (np.abs(sound) > 0.1).sum() / 16000 == pytest.approx(2.0, rel=0.25)  # of a sine, most is that loud


def test_an_interruption_is_confirmed_and_silences(server: httpx.Client) -> None:
    with opened(server) as socket:
        json.loads(socket.recv(20))
        socket.send(TONE * 20)
        time.sleep(0.5)
        socket.send(json.dumps({"type": "clear"}))
        _, messages = received(socket, "cleared")
        assert messages[-1]["frame"] >= 5
        socket.send(json.dumps({"type": "end"}))
        started = time.monotonic()
        _, messages = received(socket)
        assert messages[-1] == {"type": "closed", "code": 1000}
        assert time.monotonic() - started < 5  # and not after 20 s


def test_an_interruption_over_http_silences_too(server: httpx.Client) -> None:
    with opened(server) as socket:
        session_id = json.loads(socket.recv(20))["id"]
        socket.send(TONE * 20)
        socket.send(json.dumps({"type": "mark", "name": "end"}))
        time.sleep(0.3)
        assert server.post(f"/v1/live/{session_id}/clear").status_code == 204
        started = time.monotonic()
        received(socket, "played")
        assert time.monotonic() - started < 5  # and not after 20 s


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sample_rate": 12345}, "sample_rate 12345"),
        ({"portrait": "portrait_of_nobody"}, "portrait 'portrait_of_nobody' does not exist"),
        ({"audio": "mp3"}, "audio: "),
        ({"speed": 11}, "speed: "),
        ({"seed": -1}, "seed: "),
        ({"more": 1}, "more: "),
        ({"type": "begin"}, "type: "),
    ],
)
def test_a_wrong_start_is_refused_in_words(server: httpx.Client, fields: dict[str, Any], words: str) -> None:
    with opened(server, **fields) as socket:
        _, messages = received(socket)
    assert [message["type"] for message in messages] == ["error", "closed"]
    assert words in messages[0]["message"]
    assert messages[1]["code"] == 1008


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type": 1}', '{"type": "sing"}', '{"type": "mark"}', "[" * 10000])
def test_a_wrong_message_ends_the_session_in_words(server: httpx.Client, text: str) -> None:
    with opened(server) as socket:
        json.loads(socket.recv(20))
        socket.send(text)
        _, messages = received(socket)
    assert [message["type"] for message in messages] == ["error", "closed"]
    until(lambda: free(server) == server.get("/v1/limits").json()["live"]["sessions"])


def test_one_more_than_fit_is_asked_to_come_back(server: httpx.Client) -> None:
    server_state = server.get("/v1/limits").json()["live"]
    sockets = [opened(server) for _ in range(server_state["sessions"])]
    for socket in sockets:
        assert json.loads(socket.recv(20))["type"] == "ready"
    assert free(server) == 0
    with opened(server) as one_more:
        _, messages = received(one_more)
        assert "in use" in messages[0]["message"]
        assert messages[1]["code"] == 1013
    for socket in sockets:
        socket.close()
    until(lambda: free(server) == server_state["sessions"])


def test_a_client_among_others_may_have_half(settings: Settings, session: Session) -> None:
    shared = replace(settings, host="0.0.0.0")
    with listening(create_app(shared, session)) as client:
        until(lambda: client.get("/v1/limits").json()["live"]["free"] >= 2)
        first = opened(client)
        assert json.loads(first.recv(20))["type"] == "ready"
        with opened(client) as second:
            _, messages = received(second)
            assert messages[0]["message"].startswith("you have 1 of this machine's 2 live sessions")
            assert messages[1]["code"] == 1013
        first.close()
        until(lambda: free(client) == 2)
        with opened(client) as again:
            assert json.loads(again.recv(20))["type"] == "ready"


def test_a_client_that_vanishes_leaves_nothing(server: httpx.Client) -> None:
    before = free(server)
    socket = opened(server)
    json.loads(socket.recv(20))
    socket.socket.close()  # without a word
    until(lambda: free(server) == before, 10)


def test_the_token_is_in_the_first_message(settings: Settings, session: Session) -> None:
    from dataclasses import replace

    token = "a-token-that-is-long-enough"
    with listening(create_app(replace(settings, token=token), session)) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        until(lambda: free(client) >= 1)
        with opened(client) as socket:
            _, messages = received(socket)
            assert "token" in messages[0]["message"]
        with opened(client, token=token) as socket:
            assert json.loads(socket.recv(20))["type"] == "ready"


def test_sessions_hear_that_the_server_stops(settings: Settings, session: Session) -> None:
    with listening(create_app(settings, session)) as client:
        until(lambda: free(client) >= 1)
        socket = opened(client)
        assert json.loads(socket.recv(20))["type"] == "ready"
    _, messages = received(socket)
    assert messages[0]["type"] == "closing"
