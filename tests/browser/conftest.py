"""A real Chromium, and the server that its page talks to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.stub import Stub
from tests.browser.stub_app import create_stub, serving
from tests.browser.stub_video import moving_video
from tests.browser.watching import until

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns",  # no mDNS where the tests run
]

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stub, str]]:
    stub = Stub()
    with serving(create_stub(stub, moving_video(tmp_path_factory.mktemp("stub") / "test.mp4"))) as address:
        yield stub, address


@pytest.fixture
def stub(stub_server: tuple[Stub, str]) -> Stub:
    stub_server[0].reset()
    return stub_server[0]


@pytest.fixture
def open_page(stub_server: tuple[Stub, str], stub: Stub, browser: Browser) -> Iterator[OpenPage]:
    """Opens the page in a fresh profile; the test fails if the page has an error or breaks its own policy."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_it(address: str = "", *, before: str = "", wait: bool = True, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
        if before:
            page.add_init_script(before)
        page.goto(address or stub_server[1])
        if wait:
            page.locator("#picture").wait_for()
            until(page, "document.getElementById('picture').naturalWidth > 0")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not wrong, wrong


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture to choose: 200 x 160."""
    path = tmp_path / "me.png"
    Image.new("RGB", (200, 160), (120, 150, 140)).save(path)
    return path
