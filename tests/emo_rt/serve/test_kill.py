"""A server that is killed at any moment loses nothing, and makes the same videos."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import httpx
from fastapi.testclient import TestClient
from serving import Serve, ServerProcess, asked, decoded_stream, ended, running, until

from emo_rt.jobs.session import Session
from emo_rt.serve.queue import FAILED, QUEUED, Queue
from emo_rt.serve.settings import Settings


def progress_of(client: object, video_id: str) -> int:
    progress: int = client.get(f"/v1/videos/{video_id}").json()["progress"]  # type: ignore[attr-defined]
    return progress


def contents(client: object, ids: list[str]) -> list[bytes]:
    return [client.get(f"/v1/videos/{each}/content").content for each in ids]  # type: ignore[attr-defined]


def test_videos_of_a_server_that_was_killed_are_those_of_one_that_was_not(
    client: TestClient, bundle: Path, long_voice: Path, voice: Path, tmp_path: Path
) -> None:
    voices = [long_voice, voice, voice]
    ids = [asked(client, each, seed=seed)["id"] for seed, each in enumerate(voices)]
    assert all(ended(client, each)["status"] == "completed" for each in ids)
    expected = contents(client, ids)
    folder = tmp_path / "killed"
    facts = None
    with ServerProcess(folder, bundle, before="import slowly") as first:
        ids = [asked(first, each, seed=seed)["id"] for seed, each in enumerate(voices)]
        job = folder / "videos" / ids[0] / "video.mp4.job"
        until(lambda: progress_of(first, ids[0]) > 10)
    facts = os.stat(job / "job.json").st_mtime_ns
    with ServerProcess(folder, bundle, before="import slowly") as second:  # killed as it begins to go on
        assert [each["id"] for each in second.get("/v1/videos?order=asc").json()["data"]] == ids
        until(lambda: progress_of(second, ids[0]) > 30)
        assert os.stat(job / "job.json").st_mtime_ns == facts, "it started over in place of going on"
    with ServerProcess(folder, bundle):
        pass  # killed at its first answer
    third = ServerProcess(folder, bundle)
    with third as client_of_third:
        watched = decoded_stream(client_of_third.get(f"/v1/videos/{ids[0]}/stream").content, tmp_path)
        assert len(watched) == 100, "whoever watches after a restart misses what was made before"
        videos = [ended(client_of_third, each) for each in ids]
        assert [each["status"] for each in videos] == ["completed"] * 3
        assert contents(client_of_third, ids) == expected
        code, log = third.end(signal.SIGTERM)
    assert code == 0, log
    finished = [line for line in log.splitlines() if '"outcome": "completed"' in line]
    assert [next(each for each in ids if each in line) for line in finished] == ids[-len(finished) :], "another order"


def test_a_video_that_kills_the_server_three_times_is_given_up(
    bundle: Path, voice: Path, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    deadly = "import os; from emo_rt.jobs import sinks; sinks.encode_clip = lambda *_: os._exit(9)"
    server = ServerProcess(folder, bundle, before=deadly)
    with server as client:
        with suppress(httpx.TransportError):  # it may die before it has answered
            asked(client, voice)
        assert server.process.wait(20) == 9
    for _ in range(2):
        assert ServerProcess(folder, bundle, before=deadly).end()[0] == 9
    client = serve()
    (video,) = client.get("/v1/videos").json()["data"]
    assert video["status"] == "failed"
    assert "ended the server 3 times in a row" in video["error"]["message"]
    assert ended(client, asked(client, voice)["id"])["status"] == "completed"


def test_attempts_that_get_further_do_not_count(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite")
    queue.add("one", "here", {})
    for _ in range(5):
        row = queue.claim(0)
        assert row is not None
        queue.got_further("one")
        queue.recover()
    for status in (QUEUED, QUEUED, FAILED):
        assert queue.claim(0) is not None
        queue.recover()
        row = queue.get("one")
        assert row is not None
        assert row.status == status
    queue.close()


def test_a_video_is_made_by_one_thread_until_it_is_released(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite")
    for video_id in ("one", "two"):
        queue.add(video_id, "here", {})
    claimed = [queue.claim(0), queue.claim(0), queue.claim(0)]
    assert [row and row.id for row in claimed] == ["one", "two", None]
    queue.release("one")  # its end could not be noted
    queue.finish("two")
    queue.release("two")
    assert [row and row.id for row in (queue.claim(0), queue.claim(0))] == ["one", None]
    queue.close()


def test_a_video_that_was_complete_is_not_made_again(settings: Settings, session: Session, voice: Path) -> None:
    """The process is killed after the video is in its place, and before the queue knows."""
    with running(settings, session) as client:
        video_id = ended(client, asked(client, voice)["id"])["id"]
    path = settings.folder / "videos" / video_id / "video.mp4"
    before = path.stat().st_mtime_ns
    with closing(sqlite3.connect(settings.folder / "queue.sqlite")) as database, database:
        database.execute("UPDATE videos SET status = 'in_progress', completed_at = NULL")
    with running(settings, session) as client:
        assert ended(client, video_id)["status"] == "completed"
        assert path.stat().st_mtime_ns == before


def test_what_was_accepted_by_half_is_removed(serve: Serve, tmp_path: Path) -> None:
    orphan = tmp_path / "server" / "videos" / ("video_" + "a" * 24)
    orphan.mkdir(parents=True)
    (tmp_path / "server" / "incoming" / "half").mkdir(parents=True)
    serve()
    assert not orphan.exists()
    assert not any((tmp_path / "server" / "incoming").iterdir())


def test_a_video_that_was_begun_with_other_options_starts_over(
    bundle: Path, long_voice: Path, serve: Serve, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "server", bundle, "--guidance-scale", "3", before="import slowly") as client:
        video_id = asked(client, long_voice, max_seconds=3)["id"]
        until(lambda: progress_of(client, video_id) > 10)
    client = serve()
    assert ended(client, video_id)["status"] == "completed"
    assert client.get(f"/v1/videos/{video_id}/provenance").json()["plan"]["guidance_scale"] == 1.5
