"""A server whose clips are made on a Ray cluster of this machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from processes import processes_of
from serving import Serve, ServerProcess, asked, ended, until

from emo_rt.bundled import PORTRAIT
from emo_rt.cascade.cascade import Cascade
from emo_rt.errors import ClusterError
from emo_rt.jobs.request import Request
from emo_rt.jobs.session import Session
from emo_rt.serve import command

REPLICAS = b"ServeReplica:emo-rt"  # in the names of their processes


def test_its_videos_are_those_of_one_machine_and_nothing_is_left_of_it(
    session: Session, bundle: Path, voice: Path, tmp_path: Path
) -> None:
    (tmp_path / "picture.png").write_bytes(PORTRAIT.read_bytes())  # its name becomes the title
    expected = []
    for seed in range(4):
        session.make(Request(tmp_path / "picture.png", voice, tmp_path / f"{seed}.mp4", seed=seed))
        expected.append((tmp_path / f"{seed}.mp4").read_bytes())
    server = ServerProcess(tmp_path / "server", bundle, "--ray", "local", "--replicas", "1")
    with server as client:
        until(lambda: client.get("/v1/limits").json()["live"]["sessions"])
        ids = [asked(client, voice, seed=seed)["id"] for seed in range(4)]
        assert all(ended(client, each)["status"] == "completed" for each in ids)
        assert [client.get(f"/v1/videos/{each}/content").content for each in ids] == expected
        assert processes_of(REPLICAS)
        code, log = server.end(signal.SIGTERM)
    assert code == 0, log
    assert "Traceback" not in log
    gone = time.monotonic() + 10
    while processes_of(REPLICAS) and time.monotonic() < gone:
        time.sleep(0.1)
    assert not processes_of(REPLICAS)


def test_replicas_without_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--replicas", "2"]) == 2
    assert "--replicas 2: they are on a cluster; give its address with --ray" in capsys.readouterr().err
    assert command.main(["--port", "0", "--ray", "127.0.0.1:1"]) == 2
    assert "no Ray cluster answers at '127.0.0.1:1'" in capsys.readouterr().err


def test_a_video_waits_while_no_replica_is_there(
    serve: Serve, session: Session, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emo_rt.serve.worker._PATIENCE", 0.05)
    around, tried = Cascade.denoise_one, []

    def away(*arguments: object) -> object:
        tried.append(1)
        if len(tried) in (3, 4):  # after two clips
            raise ClusterError("no replica of the cluster finished a clip")
        return around(*arguments)  # type: ignore[arg-type]

    client = serve()
    until(lambda: client.get("/v1/limits").json()["live"]["sessions"])  # the machine is measured
    monkeypatch.setattr(Cascade, "denoise_one", away)
    video = ended(client, asked(client, voice)["id"])
    assert video["status"] == "completed"
    assert len(tried) == 7 + 2  # the clips that were made were not made again
