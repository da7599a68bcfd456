"""The command `emo-rt serve`: how it starts, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from serving import ServerProcess, asked, ended, until

from emo_rt.__main__ import main

TOKEN = "a-token-that-nobody-guesses"


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for words in ("\n  emo-rt serve\n", "--token-file token.txt", "curl -F image=@me.jpg", "--quota", "--backend"):
        assert words in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "99999"], "--port '99999' is out of range: choose 0 to 65535"),
        (["--quota", "much"], "--quota 'much' is out of range or no such quantity: give one such as 100M or 10G"),
        (["--token", "x"], "unrecognized arguments: --token x; see emo-rt serve --help"),
        (["--token-file", "/nowhere"], "token file /nowhere: cannot be read (No such file or directory)"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid --port 8000: cannot be listened at"),
        (["--bundle", "/nowhere"], "/nowhere"),
        (["--steps", "5000"], "5000"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: list[str], message: str, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--folder", str(tmp_path / "server"), "--bundle", str(bundle)]
    assert main(["serve", *options, *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "server").exists()


def test_what_is_in_use_is_named(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["serve", "--folder", str(tmp_path / "server"), "--bundle", str(bundle)]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert main([*options, "--port", str(listener.getsockname()[1])]) == 2
    assert "cannot be listened at (Address already in use); choose others" in capsys.readouterr().err
    with ServerProcess(tmp_path / "server", bundle):
        assert main([*options, "--port", "0"]) == 2
        assert "another server uses it" in capsys.readouterr().err
        assert os.stat(tmp_path / "server").st_mode & 0o777 == 0o700, "others can read it"


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, bundle: Path) -> None:
    server = ServerProcess(tmp_path / "server", bundle, before="sys.modules['fastapi'] = None")
    code, text = server.end()
    assert code == 2
    assert text == "emo_rt: error: the server needs packages that are not installed: pip install 'emo-rt[serve]'\n"


def test_a_signal_stops_it_and_its_video_goes_on_the_next_time(bundle: Path, long_voice: Path, tmp_path: Path) -> None:
    folder = tmp_path / "server"
    server = ServerProcess(folder, bundle, before="import slowly")
    with server as client:
        video_id = asked(client, long_voice)["id"]
        until(lambda: client.get(f"/v1/videos/{video_id}").json()["progress"] > 10)
        with client.stream("GET", f"/v1/videos/{video_id}/stream"):
            code, log = server.end(signal.SIGTERM)
    assert code == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["event"] for line in lines} == {"request"}, log
    stream = next(line for line in lines if line["route"] == "/v1/videos/{video_id}/stream")
    assert stream["complete"] is False
    clips = folder / "videos" / video_id / "video.mp4.job" / "clips.bin"
    assert clips.stat().st_size > 0
    with closing(sqlite3.connect(folder / "queue.sqlite")) as database:
        assert database.execute("SELECT status, attempts FROM videos").fetchall() == [("queued", 0)]
    server = ServerProcess(folder, bundle)
    with server as client:
        assert ended(client, video_id)["status"] == "completed"
        code, log = server.end(signal.SIGINT)
    assert code == 0
    (finished,) = (line for line in map(json.loads, log.splitlines()) if line["event"] == "video")
    assert (finished["video"], finished["outcome"], finished["frames"]) == (video_id, "completed", 100)


def test_a_second_signal_ends_it_at_once(bundle: Path, voice: Path, tmp_path: Path) -> None:
    """The first one waits for the clip, which takes a minute here."""
    endless = "import time; from emo_rt.jobs import sinks; sinks.encode_clip = lambda *_: time.sleep(60)"
    server = ServerProcess(tmp_path / "server", bundle, before=endless)
    with server as client:
        video_id = asked(client, voice)["id"]
        until(lambda: client.get(f"/v1/videos/{video_id}").json()["status"] == "in_progress")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not answers(client.base_url.port))
        assert server.process.poll() is None
        assert server.end(signal.SIGTERM)[0] == 130


def answers(port: int | None) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port or 0)) == 0


@pytest.mark.parametrize("has_token", [True, False])
def test_an_open_server_without_a_token_warns(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_token: bool
) -> None:
    monkeypatch.delenv("EMO_RT_TOKEN", raising=False)
    (tmp_path / "token").write_text(TOKEN + "\n")
    words = ["--host", "0.0.0.0", *(["--token-file", str(tmp_path / "token")] if has_token else [])]
    server = ServerProcess(tmp_path / "server", bundle, *words)
    with server as client:
        address = f"http://127.0.0.1:{client.base_url.port}/v1/limits"
        assert client.get(address).status_code == (401 if has_token else 200)
        assert client.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        _, log = server.end(signal.SIGTERM)
    assert ("emo_rt: warning: everybody who reaches 0.0.0.0 can use this server" in log) is not has_token
    assert TOKEN not in log


def test_the_log_is_json_and_nothing_of_a_client_is_in_it(
    bundle: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMO_RT_TOKEN", TOKEN)
    server = ServerProcess(tmp_path / "server", bundle)
    with server as client:
        assert client.get("/v1/videos").status_code == 401, "the token of the environment is not asked for"
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        client.get('/v1/evil"%0A{"event": "fake"}')
        client.request("\u0041EVIL", "/v1/limits")
        files = {"audio": ('"}\n{"event": "fake"}\x1b[31m', voice.read_bytes())}
        client.post("/v1/videos", data={"portrait": "bundled", "seed": "evil\n"}, files=files)
        code, log = server.end(signal.SIGTERM)
    assert code == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines] == ["request"] * 4
    assert [line["route"] for line in lines] == ["other", "other", "/v1/limits", "/v1/videos"]
    assert [line["status"] for line in lines] == [401, 404, 405, 400]
    assert "evil\\" not in log
    assert "fake" not in log
    assert log.isascii()
