"""A video is watched while it is made, by those who come early, late or leave."""

from __future__ import annotations

import asyncio
import io
import socket
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from samples import read_video
from serving import Serve, asked, decoded_stream, ended, listening, until

from emo_rt.jobs.session import Session
from emo_rt.serve.access import STREAM
from emo_rt.serve.app import create_app
from emo_rt.serve.settings import Settings

pytestmark = pytest.mark.usefixtures("slow")


def test_watchers_see_the_video_while_it_is_made(
    settings: Settings, session: Session, long_voice: Path, tmp_path: Path
) -> None:
    with listening(create_app(settings, session)) as client:
        video_id = asked(client, long_voice)["id"]
        address = f"/v1/videos/{video_id}/stream"
        received = b""
        with client.stream("GET", address) as early:
            assert early.headers["content-type"] == "video/mp4"
            chunks = early.iter_raw()
            while received.count(b"moof") < 5:
                received += next(chunks)
            video = client.get(f"/v1/videos/{video_id}").json()
            assert video["status"] == "in_progress", "the first frames came when all were made"
            assert 0 < video["progress"] < 100
            with client.stream("GET", address) as late:
                whole = late.read()
            received += b"".join(chunks)
        assert received == whole, "a late watcher sees another video"
        video = ended(client, video_id)
        final = client.get(f"/v1/videos/{video_id}/content").content
        (tmp_path / "final.mp4").write_bytes(final)
        expected = read_video(tmp_path / "final.mp4")["frames"]
        np.testing.assert_array_equal(decoded_stream(whole, tmp_path), expected)
        afterwards = client.get(address).content
        np.testing.assert_array_equal(decoded_stream(afterwards, tmp_path), expected)
        left = {path.name for path in (settings.folder / "videos" / video_id).iterdir()}
        assert left == {"audio", "picture.png", "video.mp4", "video.mp4.json"}


def test_a_watcher_waits_for_a_video_in_the_queue(settings: Settings, session: Session, voice: Path) -> None:
    with listening(create_app(settings, session)) as client:
        first, second = (asked(client, voice, seed=seed)["id"] for seed in range(2))
        content = client.get(f"/v1/videos/{second}/stream").content
        assert content.count(b"moof") > 5
        assert ended(client, first)["status"] == "completed"


def test_clients_that_vanish_or_take_nothing_hold_nothing(
    settings: Settings, session: Session, long_voice: Path
) -> None:
    app = create_app(replace(settings, stalled_seconds=0.5, max_streams_per_client=3), session)
    with listening(app) as client:
        video_id = asked(client, long_voice)["id"]
        waiting = asked(client, long_voice, seed=1)["id"]
        port = client.base_url.port
        assert port
        vanishing = []
        for each in (video_id, waiting, waiting):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(f"GET /v1/videos/{each}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            vanishing.append(connection)
        streams = app.state.limits._held[STREAM]
        until(lambda: streams.get("127.0.0.1") == 3)
        refused = client.get(f"/v1/videos/{waiting}/stream")
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert refused.headers["retry-after"] == "10"
        for connection in vanishing:
            connection.close()
        until(lambda: not streams)
        assert ended(client, video_id)["status"] == "completed"


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_watcher_that_vanishes_while_it_waits_is_noticed(client: TestClient, long_voice: Path, version: str) -> None:
    """Servers of later versions of ASGI tell of it only if they are asked."""
    for seed in range(2):
        video_id = asked(client, long_voice, seed=seed)["id"]
    scope = {"type": "http", "method": "GET", "path": f"/v1/videos/{video_id}/stream", "query_string": b""}
    scope |= {"headers": [(b"host", b"127.0.0.1")], "asgi": {"version": "3.0", "spec_version": version}}
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
    sent = []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def watched() -> None:
        async with asyncio.timeout(2):
            await client.app(scope, receive, send)

    asyncio.run(watched())
    assert sent[0]["status"] == 200
    assert not any(message.get("body") for message in sent)


def test_an_answer_that_nobody_takes_is_given_up(settings: Settings, session: Session, tmp_path: Path) -> None:
    from PIL import Image

    app = create_app(replace(settings, stalled_seconds=0.5), session)
    with listening(app) as client:
        noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "noise.png", compress_level=0)
        sent = client.post("/v1/portraits", files={"image": (tmp_path / "noise.png").read_bytes()}).json()
        port = client.base_url.port
        assert port
        before = app.state.metrics.text()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(f"GET /v1/portraits/{sent['id']}/content HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            route = b'route="/v1/portraits/{portrait_id}/content"'
            count = b'emo_rt_request_seconds_count{method="GET",' + route + b',status="200"} 1.0'
            assert count not in before
            until(lambda: count in app.state.metrics.text(), 5)  # it has ended, though nothing was taken


def test_a_deleted_video_stops_at_the_next_clip_and_its_stream_breaks_off(
    settings: Settings, session: Session, long_voice: Path, voice: Path
) -> None:
    with listening(create_app(settings, session)) as client:
        video_id = asked(client, long_voice)["id"]
        with client.stream("GET", f"/v1/videos/{video_id}/stream") as stream:
            chunks = stream.iter_raw()
            assert next(chunks)
            assert client.delete(f"/v1/videos/{video_id}").status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)
        assert client.get(f"/v1/videos/{video_id}").status_code == 404
        assert client.get("/v1/videos").json()["data"] == []
        until(lambda: not (settings.folder / "videos" / video_id).exists(), 2)
        assert ended(client, asked(client, voice)["id"])["status"] == "completed"
        assert 'emo_rt_videos_total{outcome="cancelled"} 1.0' in client.get("/metrics").text


def test_a_queued_video_can_be_deleted_and_a_finished_one_too(serve: Serve, voice: Path, tmp_path: Path) -> None:
    client = serve()
    running, queued = (asked(client, voice, seed=seed)["id"] for seed in range(2))
    answer = client.delete(f"/v1/videos/{queued}")
    assert answer.json() == {"id": queued, "object": "video.deleted", "deleted": True}
    assert ended(client, running)["status"] == "completed"
    assert client.delete(f"/v1/videos/{running}").status_code == 200
    assert not any((tmp_path / "server" / "videos").iterdir())
    assert client.delete(f"/v1/videos/{running}").status_code == 404


def test_a_video_that_is_deleted_at_its_last_moment_leaves_nothing(
    client: TestClient, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Session = client.app.state.session  # type: ignore[attr-defined]
    make = session.make

    def deleted_at_the_end(request: Any, **options: Any) -> Any:
        result = make(request, **options)
        client.delete(f"/v1/videos/{request.out.parent.name}")
        return result

    monkeypatch.setattr(session, "make", deleted_at_the_end)
    asked(client, voice)
    until(lambda: not any((tmp_path / "server" / "videos").iterdir()))
    monkeypatch.undo()
    assert ended(client, asked(client, voice)["id"])["status"] == "completed"
    assert 'emo_rt_videos_total{outcome="completed"} 1.0' in client.get("/metrics").text


def test_where_the_queue_cannot_be_written_nothing_is_lost(
    client: TestClient, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full: an upload is refused, and the end of a video is noted later."""
    queue = client.app.state.queue  # type: ignore[attr-defined]
    finish, failures = queue.finish, iter([True])

    def full(*arguments: Any) -> None:
        if next(failures, False):
            raise sqlite3.OperationalError("database or disk is full")
        finish(*arguments)

    monkeypatch.setattr("emo_rt.serve.worker._PATIENCE", 0.1)
    monkeypatch.setattr(queue, "finish", full)
    assert ended(client, asked(client, voice)["id"])["status"] == "completed"
    before = set((tmp_path / "server" / "videos").iterdir())
    monkeypatch.setattr(queue, "add", lambda *_: full() or full())
    failures = iter([True])
    answer = client.post("/v1/videos", data={"portrait": "bundled"}, files={"audio": voice.read_bytes()})
    assert (answer.status_code, answer.json()["error"]["type"]) == (507, "overloaded")
    assert set((tmp_path / "server" / "videos").iterdir()) == before


def test_content_is_refused_until_it_is_complete(client: TestClient, voice: Path) -> None:
    video_id = asked(client, voice)["id"]
    for end in ("content", "provenance"):
        answer = client.get(f"/v1/videos/{video_id}/{end}")
        assert answer.status_code == 409
        assert "not completed yet" in answer.json()["error"]["message"]
    assert ended(client, video_id)["status"] == "completed"


def test_a_video_that_fails_says_why_and_the_next_one_is_made(
    client: TestClient, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_rt.errors import InputError

    session: Session = client.app.state.session  # type: ignore[attr-defined]
    make = session.make

    def failing(request, **options):  # type: ignore[no-untyped-def]
        if request.seed == 1:
            raise InputError(f"audio {request.audio}: is no voice")
        if request.seed == 2:
            raise RuntimeError("a secret of the server")
        return make(request, **options)

    monkeypatch.setattr(session, "make", failing)
    one, two, three = (ended(client, asked(client, voice, seed=seed)["id"]) for seed in (1, 2, 3))
    assert (one["status"], one["error"]["message"]) == ("failed", "audio hello.wav: is no voice")
    assert (two["status"], two["error"]["message"]) == ("failed", "the server made a mistake; ask for the video again")
    assert three["status"] == "completed"
    answer = client.get(f"/v1/videos/{one['id']}/stream")
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == "the video failed: audio hello.wav: is no voice"
    assert 'emo_rt_videos_total{outcome="failed"} 2.0' in client.get("/metrics").text


def test_fragments_come_in_the_order_in_which_they_play(client: TestClient, voice: Path) -> None:
    """A player that gets the file from the network shows it without going back."""
    content = client.get(f"/v1/videos/{asked(client, voice)['id']}/stream").content
    with av.open(io.BytesIO(content)) as container:
        times = [float(packet.dts * packet.time_base) for packet in container.demux() if packet.dts is not None]
    assert max(max(times[:index], default=0) - time for index, time in enumerate(times)) < 0.25
