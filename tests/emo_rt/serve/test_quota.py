"""The folder stays within its quota, and nothing is kept longer than it should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving import Serve, asked, ended

from emo_rt.serve.answers import ApiError
from emo_rt.serve.store import Store


def store_of(client: TestClient) -> Store:
    store: Store = client.app.state.store  # type: ignore[attr-defined]
    return store


def statuses(client: TestClient, ids: list[str]) -> list[int]:
    return [client.get(f"/v1/videos/{each}").status_code for each in ids]


def test_the_oldest_finished_videos_make_room_and_then_portraits(serve: Serve, voice: Path, portrait: Path) -> None:
    client = serve()
    store = store_of(client)
    picture = client.post("/v1/portraits", files={"image": portrait.read_bytes()}).json()["id"]
    ids = [asked(client, voice, seed=seed)["id"] for seed in range(3)]
    assert all(ended(client, each) for each in ids)
    sizes = [sum(path.stat().st_size for path in store.video(each).iterdir()) for each in ids]
    store.make_room(store.settings.quota_bytes - store.used())
    assert statuses(client, ids) == [200] * 3, "what fits removes nothing"
    store.make_room(store.settings.quota_bytes - store.used() + sizes[0])
    assert statuses(client, ids) == [404, 200, 200]
    store.make_room(store.settings.quota_bytes - store.used() + sizes[1] + 1)
    assert statuses(client, ids) == [404, 404, 404]
    assert client.get(f"/v1/portraits/{picture}").status_code == 200
    store.make_room(store.settings.quota_bytes - store.used() + 1)
    assert client.get(f"/v1/portraits/{picture}").status_code == 404
    with pytest.raises(ApiError, match="folder is full"):
        store.make_room(store.settings.quota_bytes)


@pytest.mark.usefixtures("slow")
def test_where_nothing_can_be_removed_the_upload_is_refused(serve: Serve, voice: Path, tmp_path: Path) -> None:
    client = serve(quota_bytes=4_500_000)
    video_id = asked(client, voice)["id"]
    audio = {"audio": bytes(4_400_000)}
    refused = client.post("/v1/videos", data={"portrait": "bundled"}, files=audio)
    assert (refused.status_code, refused.json()["error"]["type"]) == (507, "overloaded")
    assert ended(client, video_id)["status"] == "completed", "what is made was removed"
    assert not any((tmp_path / "server" / "incoming").iterdir())
    refused = client.post("/v1/videos", data={"portrait": "bundled"}, files={"audio": bytes(4_250_000)})
    assert refused.status_code == 400, "the finished video did not make room"
    assert client.get(f"/v1/videos/{video_id}").status_code == 404


def test_uploads_at_the_same_time_share_the_quota(serve: Serve) -> None:
    store = store_of(serve(quota_bytes=1_000_000))
    with store.incoming(600_000):
        with pytest.raises(ApiError), store.incoming(600_000):
            pass
        with store.incoming(200_000):
            pass
    with store.incoming(600_000):
        pass


def test_what_is_old_is_removed(serve: Serve, voice: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(keep_seconds=100)
    picture = client.post("/v1/portraits", files={"image": portrait.read_bytes()}).json()
    video = ended(client, asked(client, voice)["id"])
    assert video["expires_at"] - video["completed_at"] == 100
    addresses = (f"/v1/videos/{video['id']}", f"/v1/portraits/{picture['id']}")
    for later, status in ((90, 200), (110, 404)):
        with monkeypatch.context() as patch:
            patch.setattr("emo_rt.serve.store.time.time", lambda: video["completed_at"] + later)  # noqa: B023
            store_of(client).expire()
        assert [client.get(each).status_code for each in addresses] == [status, status]
