"""Ctrl-C and `kill`, once or twice, end a command within two seconds and in one line; what is done stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import tones, write_sound

import emo_rt

CHECKOUT = Path(emo_rt.__path__[0]).parent
#: Seconds that a command may take to end: two, and some for a machine that runs other tests.
SOON = 4.0
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def started() -> Any:
    """Starts Python; whoever runs the tests may ignore Ctrl-C, but what is started does not."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        program = "import signal, os, sys; signal.signal(2, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
        command = [sys.executable, "-c", program, sys.executable, *words]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        running.append(subprocess.Popen(command, cwd=CHECKOUT, env=environment, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def ends_soon(process: subprocess.Popen[bytes]) -> str:
    """The last line on stderr of a process that has been sent a signal; checks how it ends."""
    started = time.monotonic()
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130, errors
    assert time.monotonic() - started < SOON
    assert "Traceback" not in errors
    assert "terminate called" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("emo_rt: stopped; ")
    return last


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()


@pytest.mark.parametrize(
    ("backend", "number", "times"),
    [("onnxruntime", signal.SIGINT, 2), ("onnxruntime", signal.SIGTERM, 1), ("openvino", signal.SIGINT, 2)],
)
def test_a_run_stops_while_engines_work(
    started: Any, tmp_path: Path, backend: str, number: signal.Signals, times: int
) -> None:
    voice = write_sound(tmp_path / "voice.wav", np.tile(tones(2.0), 30), 16000)
    options = ["--audio", str(voice), "--out", str(tmp_path / "out.mp4"), "--resume", "--backend", backend]
    process = started("-m", "emo_rt.run", *options, "--threads", "1", "--steps", "20")
    wait_for(tmp_path / "out.mp4.job" / "progress.npz")
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    last = ends_soon(process)
    assert " of 1500 frames are done, and the same command goes on from there" in last


INTERRUPTED_IMPORT = """
import importlib, os, signal, sys
from emo_rt import __main__
real = importlib.import_module
def interrupted(name, *more):
    if name == "emo_rt.run":
        os.kill(os.getpid(), {number})
    return real(name, *more)
importlib.import_module = interrupted
sys.argv = ["emo-rt", "run"]
sys.exit(__main__.main())
"""


@BOTH
def test_a_command_stops_before_it_has_begun(started: Any, number: signal.Signals) -> None:
    process = started("-c", INTERRUPTED_IMPORT.format(number=int(number)))
    assert ends_soon(process) == "emo_rt: stopped; nothing written"


EARLY = """
import os, runpy, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {imported!r}:
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["emo-rt", *{words}]
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("imported", ["threading", "argparse", "numpy"])
@pytest.mark.parametrize(("module", "words"), [("emo_rt", ["run"]), ("emo_rt.run", [])])
def test_a_command_hears_signals_before_it_imports_anything_heavy(
    started: Any, module: str, words: list[str], imported: str
) -> None:
    """An interrupt while NumPy is imported would become another error."""
    process = started("-c", EARLY.format(imported=imported, module=module, words=words))
    assert ends_soon(process) == "emo_rt: stopped; nothing written"


LOST = """
import time
from emo_rt.interrupts import interruptible
from emo_rt.stopping import own_process
own_process()
with interruptible():
    for last in (False, True):
        try:
            print("ready" if not last else "lost", flush=True)
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            pass
"""


def test_a_signal_that_gets_lost_in_a_library_ends_the_command_all_the_same(started: Any) -> None:
    process = started("-c", LOST)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert ends_soon(process) == "emo_rt: stopped; what is done of the video stays"


AFTERWARDS = """
import os, sys
from emo_rt import run
from emo_rt.stopping import own_process
own_process()
run.Session = lambda *_, **__: type("Session", (), {"make": lambda *_, **__: None})()
run._report = lambda *_, **__: None
run.main([])
os.kill(os.getpid(), 2)
"""


def test_a_signal_after_the_command_does_not_call_the_video_unwritten(started: Any) -> None:
    assert ends_soon(started("-c", AFTERWARDS)) == "emo_rt: stopped; the command had ended"


def test_an_interrupt_while_engines_unload_does_not_call_the_video_unwritten(
    bundle: Path, portrait: Path, voice: Path, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is raised when the library that unloads them has returned: behind the block that catches others."""
    from emo_rt import run

    @contextlib.contextmanager
    def interrupted_at_its_end() -> Iterator[None]:
        yield
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "interruptible", interrupted_at_its_end)
    files = ["--bundle", bundle, "--image", portrait, "--audio", voice, "--out", tmp_path / "out.mp4"]
    options = ["--backend", "onnxruntime", "--threads", "1", "--steps", "1"]
    assert run.main([*map(str, files), *options]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "emo_rt: stopped; the command had ended"
    assert (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("sent", [b"", b"RIFF", b"ID3\x03" + bytes(2000)])
@BOTH
def test_a_silent_pipe_is_not_waited_for(
    started: Any, bundle: Path, portrait: Path, tmp_path: Path, number: signal.Signals, sent: bytes
) -> None:
    options = ["--bundle", str(bundle), "--image", str(portrait), "--audio", "-", "--out", str(tmp_path / "out.mp4")]
    process = started("-m", "emo_rt", "run", *options, "--backend", "onnxruntime", "--threads", "1")
    process.stdin.write(sent)
    process.stdin.flush()
    time.sleep(1.5)
    process.send_signal(number)
    assert ends_soon(process) == "emo_rt: stopped; nothing written"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_that_a_library_makes_another_error_of_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from emo_rt import run

    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr(run, "Session", interrupted)
    assert run.main([]) == 130
    assert capsys.readouterr().err == "emo_rt: stopped; nothing written\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
