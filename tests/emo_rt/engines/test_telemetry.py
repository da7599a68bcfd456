"""Nothing of a run is reported to anyone: no socket is opened, no name looked up, no identity kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emo_rt.engines.registry import BACKENDS

CHECKOUT = Path(__file__).parents[3]
#: Runs its first argument, and prints what Python's own sockets were asked for.
WATCHED = """
import sys, threading
asked = []
sys.addaudithook(lambda event, arguments: asked.append(event) if event.startswith("socket.") else None)
exec(sys.argv[1])
for thread in threading.enumerate():
    if thread is not threading.main_thread() and not thread.daemon and "openvino" not in thread.name:
        thread.join(5)
print(asked)
"""


def run(code: str, home: Path, **environment: str) -> str:
    """What a program prints that runs with a home directory of its own."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environment = {**known, "HOME": str(home), "PYTHONPATH": str(CHECKOUT), **environment}
    command = [sys.executable, "-c", WATCHED, code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


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
def test_loading_engines_and_knowing_their_costs_asks_nobody(backend: str, bundle: Path, tmp_path: Path) -> None:
    code = f"""
import emo_rt
from emo_rt.planning import costs
bundle = emo_rt.Bundle.load({str(bundle)!r})
costs.cost_of(bundle, {backend!r}, 1, lambda: emo_rt.Cascade.load(bundle, {backend!r}, 1))
"""
    assert backend in BACKENDS
    assert run(code, tmp_path) == "[]"
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} == {"emo-rt"}


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
