"""The page with the real server, which makes real videos."""

from __future__ import annotations

import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE, PORTRAIT, VOICE
from emo_rt.jobs.request import GenerationOptions
from emo_rt.jobs.session import Session
from emo_rt.serve.app import create_app
from emo_rt.serve.settings import Settings
from tests.browser.conftest import OpenPage
from tests.browser.stub_app import serving
from tests.browser.watching import FRAMES, PLAYED, make, until

#: Steps that are fast on every machine.
FAST = GenerationOptions(backend="openvino", steps=2, guidance_scale=1.0)
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(Bundle.load(DEFAULT_BUNDLE), FAST, provenance=True)


@pytest.fixture(scope="module")
def server(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    app = create_app(Settings(tmp_path_factory.mktemp("server")), session)
    with serving(app) as address:
        for thread in threading.enumerate():
            if thread.name == "live":
                thread.join()  # it measures this machine
        app.state.live.sessions = max(app.state.live.sessions, 1)  # however busy the machine is
        yield address


@pytest.fixture
def short_voice(tmp_path: Path) -> Path:
    """The first second of the bundled voice."""
    path = tmp_path / "hello.wav"
    with wave.open(str(VOICE)) as voice, wave.open(str(path), "wb") as short:
        short.setparams(voice.getparams())
        short.writeframes(voice.readframes(voice.getframerate()))
    return path


def newest(page: Page) -> dict[str, object]:
    """The newest video of the server."""
    return page.evaluate("fetch('/v1/videos').then((answer) => answer.json()).then((list) => list.data[0])")


def ready(page: Page) -> None:
    expect(page.get_by_text("The video is ready.")).to_be_visible(timeout=60_000)


def test_from_opening_the_page_to_watching(server: str, open_page: OpenPage) -> None:
    for turn in ("the first, which loads the engines", "the second"):
        began = time.monotonic()
        page = open_page(server)
        opened = time.monotonic()
        make(page)  # the only click
        until(page, f"{PLAYED} > 0.1", 60)
        watched = time.monotonic()
        assert newest(page)["status"] == "in_progress"  # it is watched while it is made
        assert page.evaluate("document.getElementById('voice-player').duration") == pytest.approx(5.7, abs=0.1)
        print(f"{turn}: opened in {opened - began:.2f} s, watched {watched - opened:.2f} s after the click")
        ready(page)
        until(page, f"{PLAYED} > document.getElementById('video').duration - 0.2", 60)
        assert page.evaluate("document.getElementById('video').duration") == pytest.approx(5.7, abs=0.1)
    assert watched - opened < 5


def test_a_chosen_picture_with_a_moved_box(server: str, open_page: OpenPage, short_voice: Path) -> None:
    page = open_page(server)
    page.get_by_label("Choose a picture").set_input_files(PORTRAIT)
    expect(page.get_by_text("Move the box if it does not fit the face.")).to_be_visible()
    box = page.get_by_role("application")
    found = box.get_attribute("aria-label")
    box.press("ArrowRight")
    assert box.get_attribute("aria-label") != found
    page.get_by_label("Choose a sound").set_input_files(short_voice)
    make(page)
    ready(page)
    page.get_by_text("What this was made from").click()
    expect(page.locator("#provenance-facts")).to_contain_text("the box")
    expect(page.locator("#provenance-facts")).to_contain_text("openvino")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the video").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"


def test_a_picture_without_a_face_takes_a_drawn_box(
    server: str, open_page: OpenPage, picture: Path, short_voice: Path
) -> None:
    page = open_page(server)
    page.get_by_label("Choose a picture").set_input_files(picture)
    expect(page.get_by_text("No face was found.")).to_be_visible()
    page.get_by_text("Options").click()
    page.get_by_label("the whole picture").check()
    page.get_by_label("Choose a sound").set_input_files(short_voice)
    make(page)
    ready(page)
    assert newest(page)["framing"] == "original"
    assert newest(page)["size"] == "200x160"


def test_a_recorded_voice_is_understood(server: str, open_page: OpenPage) -> None:
    page = open_page(server)
    page.get_by_role("button", name="Record a voice").click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    page.get_by_role("button", name="Stop recording").click()
    make(page)
    ready(page)


def test_what_is_no_picture_and_no_sound_is_refused_in_words(server: str, open_page: OpenPage, tmp_path: Path) -> None:
    notes = tmp_path / "notes.png"
    notes.write_text("no picture")
    page = open_page(server)
    page.get_by_label("Choose a picture").set_input_files(notes)
    expect(page.locator("#portrait-failure")).to_contain_text("notes.png")
    page.get_by_label("Choose a sound").set_input_files(notes)
    make(page)
    expect(page.locator("#make-failure")).to_contain_text("notes.png")


def test_a_running_video_is_cancelled(server: str, open_page: OpenPage) -> None:
    page = open_page(server)
    page.get_by_label("Choose a sound").set_input_files(VOICE)
    make(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.")).to_be_visible()


def test_a_guarded_server(session: Session, open_page: OpenPage, tmp_path: Path, short_voice: Path) -> None:
    with serving(create_app(Settings(tmp_path / "guarded", token=TOKEN), session)) as address:
        page = open_page(address, wait=False)
        page.get_by_label("Token", exact=True).fill(TOKEN)
        page.keyboard.press("Enter")
        page.get_by_label("Choose a sound").set_input_files(short_voice)
        make(page)
        ready(page)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the video").click()
        assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"
        page.context.close()  # an open stream would hold the server


def test_the_portrait_talks_live(server: str, open_page: OpenPage) -> None:
    page = open_page(server)
    page.get_by_role("tab", name="Talk live").click()
    began = time.monotonic()
    page.get_by_role("button", name="Start talking").click()
    until(page, f"{FRAMES} > 0", 60)
    print(f"live: the first frame after {time.monotonic() - began:.2f} s")
    expect(page.locator("#live-state")).to_have_text("Speaking.", timeout=20_000)  # the fake microphone beeps
    shown, began = page.evaluate(FRAMES), time.monotonic()
    until(page, f"{FRAMES} > {shown + 50}", 30)
    print(f"live: {50 / (time.monotonic() - began):.1f} frames per second")
    page.get_by_role("button", name="Interrupt").click()
    expect(page.locator("#live-state")).to_contain_text("Listening.")
    page.get_by_role("button", name="Stop talking").click()
    expect(page.locator("#live-state")).to_have_text("Not connected.")
    free = "fetch('/v1/limits').then((answer) => answer.json()).then(({ live }) => live.free === live.sessions)"
    until(page, free, 20)
