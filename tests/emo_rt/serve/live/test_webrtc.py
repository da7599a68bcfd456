"""WebRTC with a server that listens at a port, and a client of aiortc."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from serving import listening, until

from benchmarks.live.clients import WebRtcClient
from emo_rt.jobs.session import Session
from emo_rt.planning.planner import Plan
from emo_rt.serve.app import create_app
from emo_rt.serve.live import sessions, webrtc
from emo_rt.serve.settings import Settings

TONE = (0.3 * np.sin(0.05 * np.arange(48000))).astype(np.float32)  # 1 s
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def server(settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(Session, "live_plan", lambda self: Plan("onnxruntime", self.presets[0], 100.0, 0.01))
    monkeypatch.setattr(sessions, "MOST", 1)
    with listening(create_app(settings, session)) as client:
        until(lambda: free(client) == 1)
        yield client


def free(client: httpx.Client) -> int:
    return int(client.get("/v1/limits").json()["live"]["free"])


def address(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def test_a_microphone_is_answered_with_picture_and_voice(server: httpx.Client) -> None:
    async def talk() -> WebRtcClient:
        client = WebRtcClient(address(server))
        await client.start()
        await client.say(TONE)
        await asyncio.sleep(2.5)
        assert free(server) == 0
        await client.clear()
        await asyncio.sleep(0.3)
        await client.stop()
        return client

    client = asyncio.run(talk())
    kinds = [message["type"] for message in client.messages]
    assert [message["speaking"] for message in client.messages if message["type"] == "state"][:2] == [True, False]
    assert "cleared" in kinds
    assert kinds[-1] == "closing"
    record = client.record
    assert record.pictures[-1].picture.shape == (32, 32, 3)
    assert 40 <= len(record.pictures) <= 100
    assert sum(sound.seconds for sound in record.sounds) == pytest.approx(len(record.pictures) / 25, abs=0.6)
    until(lambda: free(server) == 1)


def test_one_more_than_fit_gets_503_and_one_that_has_gone_makes_room(
    server: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webrtc, "GONE", 2.0)

    async def vanish() -> None:
        client = WebRtcClient(address(server))
        await client.start()
        one_more = WebRtcClient(address(server))
        with pytest.raises(Exception, match="503"):
            await one_more.start()
        await one_more.close()
        await client.close()  # without a word to the server

    asyncio.run(vanish())
    until(lambda: free(server) == 1, 10)


def test_a_client_that_never_comes_makes_room(server: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECTED", 1.0)

    async def offer() -> str:
        return await WebRtcClient(address(server)).offer()

    answer = server.post("/v1/live", content=asyncio.run(offer()), headers=SDP)
    assert answer.status_code == 201
    assert answer.headers["content-type"].startswith("application/sdp")
    assert "a=candidate" in answer.text
    started = time.monotonic()
    until(lambda: free(server) == 1, 8)
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "offer", [b"", b"nothing of the kind", b"\xff\xfe", b"v=0\r\no=- 0 0 IN IP4 0\r\ns=-\r\nt=0 0\r\n"]
)
def test_what_is_no_offer_is_refused(server: httpx.Client, offer: bytes) -> None:
    answer = server.post("/v1/live", content=offer, headers=SDP)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the offer ")
    assert free(server) == 1


def test_a_huge_offer_and_wrong_values_are_refused(server: httpx.Client) -> None:
    assert server.post("/v1/live", content=b"v" * 10**6, headers=SDP).status_code == 413
    assert server.post("/v1/live?seed=x", content=b"v=0", headers=SDP).json()["error"]["param"] == "seed"
    assert server.post("/v1/live?speed=99", content=b"v=0", headers=SDP).json()["error"]["param"] == "speed"
    assert server.post("/v1/live?portrait=nobody", content=b"v=0", headers=SDP).status_code == 404
    assert server.post("/v1/live/nobody/clear").status_code == 404
    assert server.delete("/v1/live/nobody").status_code == 404


def test_no_other_server_is_asked(server: httpx.Client) -> None:
    from emo_rt.serve.live.sessions import LiveSessions

    async def servers() -> list[object]:
        call = webrtc._Call(LiveSessions.__new__(LiveSessions))
        found = call.connection._RTCPeerConnection__configuration.iceServers  # type: ignore[attr-defined]
        await call.connection.close()
        return list(found)

    assert asyncio.run(servers()) == []


def test_a_microphone_is_heard_without_much_waiting() -> None:
    async def waited_for() -> int:
        connection = webrtc.RTCPeerConnection()
        receiver = connection.addTransceiver("audio").receiver
        buffer = receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
        assert buffer._prefetch == 4  # aiortc's own
        webrtc.hear_sooner(receiver)
        await connection.close()
        return int(buffer._prefetch)

    assert asyncio.run(waited_for()) == webrtc.PREFETCH
