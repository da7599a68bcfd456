"""What the tests of the server share: servers that listen, requests for videos, and waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from samples import read_video

from emo_rt.jobs.session import Session
from emo_rt.serve.app import create_app
from emo_rt.serve.command import listen, make_server
from emo_rt.serve.settings import Settings

#: Address that a client in this process gives as its server's.
HERE = "http://127.0.0.1:8000"
#: A function that starts a server with some settings and gives a client of it.
Serve = Callable[..., TestClient]


@contextmanager
def listening(app: FastAPI) -> Iterator[httpx.Client]:
    """A server of its own thread that listens at a port, and a client of it."""
    with listen(replace(app.state.settings, port=0)) as listener:
        server = make_server(app, app.state.settings)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started)
            port = listener.getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                yield client
        finally:
            app.state.workers.stop()
            server.should_exit = True
            thread.join()


@contextmanager
def running(settings: Settings, session: Session) -> Iterator[TestClient]:
    """A server in this process, without a network, and a client of it."""
    with TestClient(create_app(settings, session), HERE, raise_server_exceptions=False) as client:
        yield client


class ServerProcess:
    """`emo-rt serve` in a process of its own; a context manager that kills it in the end.

    Args:
        folder: folder of the server; its log lies beside it
        bundle: bundle that it serves
        before: Python that is run before the server starts
        words: further options
    """

    def __init__(self, folder: Path, bundle: Path, *words: str, before: str = "pass") -> None:
        here = Path(__file__).resolve().parent
        options = ["--folder", str(folder), "--bundle", str(bundle), "--port", "0", "--backend", "onnxruntime"]
        options += ["--threads", "1", "--steps", "2", *words]
        path = os.pathsep.join([str(here.parents[2]), str(here)])
        # Jobs in the background of a shell ignore Ctrl-C, and hand that on: to the tests, and to their processes.
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = (
            f"{heard}; import sys; from emo_rt.__main__ import main; {before}; sys.argv[1:] = ['serve', *sys.argv[1:]]"
        )
        self.log = folder.with_name(f"{folder.name}.log")
        with open(self.log, "w") as log:  # a pipe that nobody reads would stop it
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", f"{code}; sys.exit(main())", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
            )

    def __enter__(self) -> httpx.Client:
        assert self.process.stdout
        line = self.process.stdout.readline()  # says where it is, once it answers
        assert line.startswith("emo-rt serves "), line + self.log.read_text()
        self.client = httpx.Client(base_url=line.split(" at ")[1].split()[0], timeout=20)
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Sends a signal, if one is given, and waits for the end; returns the exit code and what went to stderr."""
        if number is not None:
            self.process.send_signal(number)
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # its log then says what every thread waits for
            self.process.communicate(timeout=30)
            raise AssertionError(f"it did not end: {self.log.read_text()}") from None
        return self.process.returncode, self.log.read_text()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Waits until a condition holds, and gives what it gave."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
    return value


def files(portrait: Path, voice: Path) -> dict[str, Any]:
    """The files of a request for a video."""
    return {"image": ("me.png", portrait.read_bytes()), "audio": ("hello.wav", voice.read_bytes())}


def asked(client: Any, voice: Path, **fields: Any) -> dict[str, Any]:
    """Asks for a video of the bundled portrait; returns its object."""
    data = {"portrait": "bundled", **{name: str(value) for name, value in fields.items()}}
    answer = client.post("/v1/videos", data=data, files={"audio": ("hello.wav", voice.read_bytes())})
    assert answer.status_code == 202, answer.text
    video: dict[str, Any] = answer.json()
    return video


def ended(client: Any, video_id: str, seconds: float = 30.0) -> dict[str, Any]:
    """Waits for the end of a video; returns its object."""

    def finished() -> Any:
        video = client.get(f"/v1/videos/{video_id}").json()
        return video if video["status"] in ("completed", "failed") else None

    video: dict[str, Any] = until(finished, seconds)
    return video


def decoded_stream(content: bytes, folder: Path) -> np.ndarray:
    """The frames of a fragmented MP4 (k, height, width, 3); its sound is as long."""
    assert b"moof" in content
    path = folder / "watched.mp4"
    path.write_bytes(content)
    facts = read_video(path)
    frames: np.ndarray = facts["frames"]
    seconds = facts["sound"].shape[1] / facts["rate"]
    assert abs(seconds - len(frames) / 25) < 0.15, "the sound is not as long as the picture"
    return frames
