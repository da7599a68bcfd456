"""Servers for the tests: in this process without a network, or listening at a port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import tones, write_sound
from serving import Serve, running

from emo_rt.bundle import Bundle
from emo_rt.jobs.request import GenerationOptions
from emo_rt.jobs.session import Session
from emo_rt.serve.settings import Settings


@pytest.fixture(scope="session")
def session(bundle: Path) -> Session:
    """A maker of videos with the fake bundle, whose engines are loaded once."""
    options = GenerationOptions(backend="onnxruntime", threads=1, steps=2)
    return Session(Bundle.load(bundle), options, provenance=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "server", requests_per_minute=10**6)


@pytest.fixture
def serve(settings: Settings, session: Session) -> Iterator[Serve]:
    """A function that starts a server with some settings and gives a client of it; all end with the test."""
    with ExitStack() as stack:

        def start(**changes: Any) -> TestClient:
            return stack.enter_context(running(replace(settings, **changes), session))

        yield start


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()


@pytest.fixture(scope="session")
def long_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s of sound: 100 frames, 25 clips."""
    return write_sound(tmp_path_factory.mktemp("sounds") / "long.wav", tones(4.0), 16000)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every clip takes 50 ms longer, so that a test finds a video while it is made."""
    from emo_rt.jobs import sinks

    encode = sinks.encode_clip

    def encode_slowly(*arguments: Any) -> list[bytes]:
        time.sleep(0.05)
        return encode(*arguments)

    monkeypatch.setattr(sinks, "encode_clip", encode_slowly)
