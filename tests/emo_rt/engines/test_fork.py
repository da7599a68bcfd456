"""A fork of a process that runs a backend has none of the backend's threads: it is told, and does not hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emo_rt import run

ROOT = Path(run.__file__).parents[1]
#: Loads an engine, forks, and uses that engine or a new one in the child.
PROGRAM = """
import os, sys
import numpy as np
if sys.argv[1] == "tensorrt":
    import fake_gpu
    fake_gpu.install()
    import emo_rt.engines.tensorrt
    emo_rt.engines.tensorrt.cached_engine = fake_gpu.fake_cached_engine
from emo_rt.bundle import Bundle
from emo_rt.engines.registry import load_engine
from emo_rt.errors import InputError

backend, bundle, threads, child = sys.argv[1], Bundle.load(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
latents = {"latents": np.ones((4, 4, 8, 8), np.float32)}
if child != "loads_first":
    engine = load_engine(bundle, "vae_decoder", backend, threads)
    engine.run(latents)
process = os.fork()
if not process:
    try:
        if child != "uses":
            engine = load_engine(bundle, "vae_decoder", backend, threads)
        print(*engine.run(latents))
    except InputError as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(process, 0)
if child != "loads_first":
    engine.run(latents)
"""


def said_in_fork(bundle: Path, backend: str, child: str, threads: int = 2) -> str:
    command = [sys.executable, "-c", PROGRAM, backend, str(bundle), str(threads), child]
    paths = ":".join(str(ROOT / name) for name in ("", "tests/emo_rt", "tests/emo_rt/engines"))
    environment = {"PYTHONPATH": paths, "PATH": "", "HOME": str(bundle.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("child", ["uses", "loads"])
@pytest.mark.parametrize(
    ("backend", "name"), [("openvino", "OpenVINO"), ("onnxruntime", "ONNX Runtime"), ("tensorrt", "CUDA")]
)
def test_a_fork_is_refused_in_one_line(bundle: Path, backend: str, name: str, child: str) -> None:
    said = said_in_fork(bundle, backend, child)
    assert said.startswith(f"{name} was loaded before this process was forked")
    assert "multiprocessing.get_context('spawn')" in said
    assert "\n" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize(
    ("backend", "child", "threads"),
    [("openvino", "loads_first", 2), ("onnxruntime", "loads_first", 2), ("onnxruntime", "uses", 1)],
)
def test_a_fork_that_works_stays_one(bundle: Path, backend: str, child: str, threads: int) -> None:
    assert said_in_fork(bundle, backend, child, threads) == "frames"
