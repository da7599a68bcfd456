"""Nothing of a run is reported to anyone: no socket is opened, no name looked up, no identity kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emo_rt.engines.registry import BACKENDS

CHECKOUT = Path(__file__).parents[3]
#: Runs its first argument, and prints what Python's own sockets were asked for. On Linux the kernel ends the process
#: when anything in it asks for a socket: a filter of system calls (seccomp) knows the number of `socket`.
WATCHED = """
import ctypes, platform, struct, sys, threading

def forbid_sockets(number):
    load, equal, answer, allow, kill = 0x20, 0x15, 0x06, 0x7FFF0000, 0x80000000
    steps = (load, 0, 0, 0), (equal, 0, 1, number), (answer, 0, 0, kill), (answer, 0, 0, allow)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    for order in ((no_new_privileges, 1, 0, 0, 0), (seccomp, by_filter, ctypes.addressof(program), 0, 0)):
        assert ctypes.CDLL(None).prctl(*map(ctypes.c_ulong, order)) == 0

if sys.platform == "linux":
    forbid_sockets({"x86_64": 41, "aarch64": 198}[platform.machine()])
asked = []
sys.addaudithook(lambda event, arguments: asked.append(event) if event.startswith("socket.") else None)
exec(sys.argv[1])
for thread in threading.enumerate():
    if thread is not threading.main_thread() and not thread.daemon and "openvino" not in thread.name:
        thread.join(5)
print(asked)
"""


def watched(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with a home directory of its own, and without sockets."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environment = {**known, "HOME": str(home), "PYTHONPATH": str(CHECKOUT), **environment}
    command = [sys.executable, "-c", WATCHED, code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def run(code: str, home: Path, **environment: str) -> str:
    """What a program prints that opens no socket."""
    result = watched(code, home, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


#: Asks for a socket without Python's knowledge, and for the address of a name.
NATIVE = "import ctypes; print(ctypes.CDLL(None).socket({family}, 1, 0))"
LOOKED_UP = "import ctypes; ctypes.CDLL(None).gethostbyname(b'example.org')"


@pytest.mark.parametrize("code", [NATIVE.format(family=1), NATIVE.format(family=2), LOOKED_UP])
def test_a_socket_would_be_seen(code: str, tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert watched(code, tmp_path).returncode == -signal.SIGSYS
    assert run("import socket; sys.audit('socket.connect')", tmp_path) == "['socket.connect']"


@pytest.mark.parametrize(
    "code",
    [
        "import emo_rt; [getattr(emo_rt, name) for name in emo_rt.__all__]",
        "import emo_rt.engines.onnxruntime",
        "import emo_rt.engines.openvino",
        "from emo_rt.engines.registry import planned_backends; planned_backends()",
    ],
)
def test_importing_asks_nobody_and_leaves_nothing_at_home(code: str, tmp_path: Path) -> None:
    assert run(code, tmp_path) == "[]"
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_run_that_measures_the_machine_asks_nobody(
    backend: str, bundle: Path, portrait: Path, voice: Path, tmp_path: Path
) -> None:
    home, out = tmp_path / "home", tmp_path / "out.mp4"
    words = ["--bundle", bundle, "--image", portrait, "--audio", voice, "--out", out, "--backend", backend]
    code = f"from emo_rt import run; assert run.main({[*map(str, words), '--target-fps', '1']}) == 0"
    assert backend in BACKENDS
    assert run(code, home) == "[]"
    assert out.exists()
    assert {path.parent.name for path in home.rglob("*") if path.is_file()} == {"emo-rt"}


def test_what_a_user_set_stays(tmp_path: Path) -> None:
    code = """
import os, sys, types
mine = sys.modules["openvino_telemetry"] = types.ModuleType("openvino_telemetry")
from emo_rt.engines.telemetry import without_telemetry
with without_telemetry():
    assert sys.modules["openvino_telemetry"] is mine
assert sys.modules["openvino_telemetry"] is mine
assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
del sys.modules["openvino_telemetry"]
with without_telemetry():
    assert sys.modules["openvino_telemetry"] is None
assert "openvino_telemetry" not in sys.modules
"""
    assert run(code, tmp_path, ORT_DISABLE_TELEMETRY="0") == "[]"
