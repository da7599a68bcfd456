"""Importing this makes every clip take 50 ms longer, so that a test finds a video while it is made."""

from __future__ import annotations

import time

from emo_rt.jobs import sinks

_encode = sinks.encode_clip


def encode_slowly(*arguments: object) -> list[bytes]:
    time.sleep(0.05)
    return _encode(*arguments)  # type: ignore[arg-type]


sinks.encode_clip = encode_slowly  # type: ignore[assignment]
