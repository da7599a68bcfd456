"""The page with the real server, which makes real videos."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, VOICE
from emo_rt.jobs.request import GenerationOptions
from emo_rt.jobs.session import Session
from emo_rt.serve.app import create_app
from emo_rt.serve.settings import Settings
from tests.browser.conftest import OpenPage
from tests.browser.stub import serving
from tests.browser.watching import PLAYED, make, until

#: Steps that are fast on every machine.
FAST = GenerationOptions(backend="openvino", steps=2, guidance_scale=1.0)
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(Bundle.load(DEFAULT_BUNDLE), FAST, provenance=True)


@pytest.fixture(scope="module")
def server(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(create_app(Settings(tmp_path_factory.mktemp("server")), session)) as address:
        yield address


def statuses(page: Page) -> list[str]:
    """The status of each video of the server, newest first."""
    return page.evaluate("fetch('/v1/videos').then((r) => r.json()).then((list) => list.data.map((v) => v.status))")


def test_from_opening_the_page_to_watching(server: str, open_page: OpenPage) -> None:
    for turn in ("the first, which loads the engines", "the second"):
        began = time.monotonic()
        page = open_page(server)
        opened = time.monotonic()
        page.get_by_label("Choose a sound").set_input_files(VOICE)
        make(page)
        until(page, f"{PLAYED} > 0.1", 60)
        watched = time.monotonic()
        status = statuses(page)[0]
        until(page, f"{PLAYED} > 1", 60)
        expect(page.get_by_text("The video is ready.")).to_be_visible(timeout=60_000)
        until(page, f"{PLAYED} > document.getElementById('video').duration - 0.2", 60)
        print(f"{turn}: opened in {opened - began:.2f} s, played {watched - opened:.2f} s after the click ({status})")
    assert watched - opened < 5
