"""The bundled voice is heard, and videos are made of it without sending it."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from serving import ended

from emo_rt.bundled import VOICE


def test_the_bundled_voice_is_heard(client: TestClient) -> None:
    answer = client.get("/v1/voices/bundled/content")
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.content == VOICE.read_bytes()


def test_a_video_is_made_of_the_bundled_portrait_and_voice(client: TestClient) -> None:
    asked = client.post("/v1/videos", json={"portrait": "bundled", "voice": "bundled", "max_seconds": 0.2})
    assert asked.status_code == 202, asked.text
    assert ended(client, asked.json()["id"])["status"] == "completed"


def test_other_voices_are_refused(client: TestClient, voice: Path) -> None:
    refused = client.post("/v1/videos", json={"portrait": "bundled", "voice": "someone"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "voice"
    two = {"portrait": "bundled", "voice": "bundled"}
    assert client.post("/v1/videos", data=two, files={"audio": voice.read_bytes()}).status_code == 400
    assert client.post("/v1/videos", json={"portrait": "bundled"}).json()["error"]["param"] == "audio"
