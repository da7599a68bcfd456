"""Every failure is said in plain words, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.stub import Refusal, Stub
from tests.browser.watching import PLAYED, make, until

#: A browser whose devices fail with an error of a name.
FAILING = "navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('no', '{}'); }}"


def said(page: Page, words: str) -> None:
    expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The browser may not use the microphone. Allow it"),
        ("NotFoundError", "There is no microphone. Connect one"),
        ("NotReadableError", "The microphone is in use. Close the other program"),
        ("OtherError", "The microphone does not work"),
    ],
)
def test_a_microphone_that_fails(open_page: OpenPage, error: str, words: str) -> None:
    page = open_page(before=FAILING.format(error))
    page.get_by_role("button", name="Record a voice").click()
    said(page, words)
    page.get_by_role("tab", name="Talk live").click()
    page.get_by_role("button", name="Start talking").click()
    expect(page.locator("#live-failure")).to_contain_text(words)
    expect(page.get_by_role("button", name="Start talking")).to_be_visible()


def test_a_camera_that_may_not_be_used(open_page: OpenPage) -> None:
    page = open_page(before=FAILING.format("NotAllowedError"))
    page.get_by_role("button", name="Use the camera").click()
    said(page, "The browser may not use the camera. Allow it")
    expect(page.get_by_role("button", name="Take the picture")).to_be_disabled()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_page_without_https_has_no_devices(open_page: OpenPage) -> None:
    page = open_page(before="Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.get_by_role("button", name="Record a voice").click()
    said(page, "A browser gives the microphone only to pages on https or on localhost.")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            Refusal(400, "voice hello.wav: holds no sound; give another"),
            "Voice hello.wav: holds no sound; give another.",
        ),
        (Refusal(413, "voice hello.wav: has 90 MB; give 20 MB or less"), "Voice hello.wav: has 90 MB"),
        (Refusal(429, "too many of your videos wait", 12), "Too many of your videos wait. Try again in 12 s."),
        (Refusal(503, "", 130), "The server is busy. Try again in 2 min."),
        (Refusal(500, ""), "The server failed (500)."),
        (Refusal(502, ""), "The server cannot be reached just now."),
    ],
)
def test_a_video_that_is_refused(open_page: OpenPage, stub: Stub, refusal: Refusal, words: str) -> None:
    page = open_page()
    stub.refusals["POST /v1/videos"] = [refusal]
    make(page)
    said(page, words)
    if refusal.status < 500 and refusal.status != 429:
        expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    else:
        page.get_by_role("button", name="Try again").click()
        until(page, f"{PLAYED} > 0.1")


def test_a_server_that_is_gone(open_page: OpenPage) -> None:
    page = open_page()
    page.context.set_offline(True)
    make(page)
    said(page, "The server does not answer. Check that it is running")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    until(page, f"{PLAYED} > 0.1")


def test_a_video_that_fails(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds, stub.failure = 1.0, "voice hello.wav: no speech is in it; record again"
    page = open_page()
    make(page)
    said(page, "Voice hello.wav: no speech is in it; record again.")


def test_a_file_that_is_too_large_is_not_sent(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    stub.limits["max_upload_bytes"] = 100
    page = open_page()
    page.get_by_label("Choose a picture").set_input_files(picture)
    said(page, "this server takes at most 0.0 MB. Choose a smaller file.")
    page.get_by_label("Choose a sound").set_input_files(picture)
    expect(page.locator("#voice-failure")).to_contain_text("Choose a smaller file.")
    assert list(stub.portraits) == ["bundled"]


def test_a_guarded_server_asks_for_its_token_once(open_page: OpenPage, stub: Stub) -> None:
    stub.token, stub.seconds = "open sesame", 0.5
    page = open_page(wait=False)
    page.get_by_label("Token", exact=True).fill("wrong")
    page.get_by_role("button", name="Go on").click()
    said(page, "This token was not accepted.")
    page.get_by_label("Token", exact=True).fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#picture")).to_have_attribute("alt", "The example portrait")
    make(page)
    until(page, f"{PLAYED} > 0.1")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the video").click()
    assert Path(download.value.path()).stat().st_size > 1000
    stored = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.href].join()")
    assert "sesame" not in stored
    assert stored.startswith("0,0,")


def test_without_its_token_a_guarded_server_says_what_to_do(open_page: OpenPage, stub: Stub) -> None:
    stub.token = "open sesame"
    page = open_page(wait=False)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#portrait-failure")).to_contain_text("The server asks for a token. Reload the page")


def test_a_browser_that_plays_no_h264_says_so(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds, stub.content = 0.3, b"coded as nothing that is known"
    page = open_page(before="MediaSource.isTypeSupported = () => false")
    make(page)
    said(page, "This browser cannot play H.264 video. Download the video")


def test_a_browser_without_webrtc_says_so(open_page: OpenPage) -> None:
    page = open_page(before="delete globalThis.RTCPeerConnection")
    page.get_by_role("tab", name="Talk live").click()
    page.get_by_role("button", name="Start talking").click()
    said(page, "This browser cannot talk live")


def test_names_of_files_are_text_and_no_markup(open_page: OpenPage, tmp_path: Path) -> None:
    bad = tmp_path / "<img src=x onerror=alert(1)>.wav"
    bad.write_bytes(b"no sound")
    page = open_page()
    page.get_by_label("Choose a sound").set_input_files(bad)
    expect(page.get_by_text("Your sound file: <img src=x onerror=alert(1)>.wav")).to_be_visible()
    assert page.locator("#voice-state img").count() == 0
