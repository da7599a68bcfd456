"""Backends are imported without what reports their use to their makers."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

#: Module by which OpenVINO reports. Its Python tools do without it where it is not installed.
_OPENVINO_REPORTS = "openvino_telemetry"


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Lets a backend's package be imported in the block without reporting anything.

    ONNX Runtime is told by its own switch, `ORT_DISABLE_TELEMETRY`; a user who set it decides. OpenVINO looks up a host
    and writes a number into the home directory as soon as it is imported: in the block it finds nothing to report with,
    unless the program has imported that before.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if _OPENVINO_REPORTS in sys.modules:
        yield
        return
    sys.modules[_OPENVINO_REPORTS] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_OPENVINO_REPORTS]
