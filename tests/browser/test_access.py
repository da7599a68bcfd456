"""For everybody: no violations that axe finds, no scrolling sideways, the keyboard alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.stub import Refusal, Stub, box
from tests.browser.stub_app import PAGE
from tests.browser.watching import PLAYED, make, until

SIZES = {"desktop": {"width": 1280, "height": 900}, "telephone": {"width": 360, "height": 740}}
#: Where pictures of every state are put, if it is set.
SHOTS = os.environ.get("SHOTS")


def check(page: Page, name: str) -> None:
    """Neither violations nor anything that is wider than the window."""
    page.wait_for_timeout(200)  # transitions
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_state_is_for_everybody(open_page: OpenPage, stub: Stub, picture: Path, theme: str, size: str) -> None:
    page = open_page(viewport=SIZES[size], color_scheme=theme)
    name = f"{size}-{theme}"
    check(page, f"{name}-1-first")
    make(page)
    until(page, f"{PLAYED} > 1")
    check(page, f"{name}-2-making")
    expect(page.get_by_text("The video is ready.")).to_be_visible()
    page.get_by_text("What this was made from").click()
    page.get_by_text("Options").click()
    expect(page.locator("#provenance-facts")).to_contain_text("openvino")
    check(page, f"{name}-3-done")

    stub.faces = [box(10, 30, 50, 60), box(80, 40, 60, 70)]
    page.get_by_label("Choose a picture").set_input_files(picture)
    expect(page.get_by_text("2 faces were found.")).to_be_visible()
    check(page, f"{name}-4-two-faces")
    page.get_by_role("button", name="Record a voice").click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    stub.refusals["POST /v1/portraits"] = [Refusal(400, "picture notes.png: cannot be read; give a PNG or JPEG")]
    page.get_by_label("Choose a picture").set_input_files(picture)
    expect(page.get_by_role("alert").filter(has_text="cannot be read")).to_be_visible()
    check(page, f"{name}-5-recording-and-refused")
    page.get_by_role("button", name="Stop recording").click()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("button", name="Take the picture")).to_be_enabled()
    check(page, f"{name}-6-camera")
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Talk live").click()
    check(page, f"{name}-7-live")
    page.get_by_role("button", name="Start talking").click()
    expect(page.locator("#live-state")).to_have_text("Speaking.")
    page.wait_for_timeout(600)
    check(page, f"{name}-8-talking")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_failure_is_for_everybody(open_page: OpenPage, stub: Stub, picture: Path, theme: str, size: str) -> None:
    stub.faces = []
    page = open_page(viewport=SIZES[size], color_scheme=theme)
    name = f"{size}-{theme}"
    page.get_by_label("Choose a picture").set_input_files(picture)
    expect(page.get_by_text("No face was found.")).to_be_visible()
    page.locator("[role=application]").focus()
    check(page, f"{name}-a-no-face")
    stub.refusals["POST /v1/videos"] = [Refusal(503, "busy", 30)]
    make(page)
    page.get_by_role("button", name="Try again").wait_for()
    check(page, f"{name}-b-busy")
    stub.refusals["POST /v1/live"] = [Refusal(503, "all 2 live sessions are in use; come back later", 60)]
    page.get_by_role("tab", name="Talk live").click()
    page.get_by_role("button", name="Start talking").click()
    expect(page.get_by_text("All 2 live sessions are in use")).to_be_visible()
    check(page, f"{name}-c-full")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_question_for_the_token_is_for_everybody(open_page: OpenPage, stub: Stub, theme: str) -> None:
    stub.token = "open sesame"
    page = open_page(wait=False, viewport=SIZES["telephone"], color_scheme=theme)
    page.get_by_role("dialog").wait_for()
    check(page, f"telephone-{theme}-9-token")


def test_the_checks_can_fail(open_page: OpenPage) -> None:
    page = open_page()
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    with pytest.raises(AssertionError, match="button-name"):
        check(page, "a button without a name")
    page.evaluate("document.querySelector('footer').style.width = '3000px'")
    with pytest.raises(AssertionError, match="a wide footer"):
        check(page, "a wide footer")


def test_the_keyboard_alone_makes_a_video(open_page: OpenPage) -> None:
    page = open_page()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "make-button":
            break
    page.keyboard.press("Enter")
    until(page, f"{PLAYED} > 0.2")


def test_keys_change_tabs(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("tab", name="Make a video").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Talk live")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Talk live")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="Make a video")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Make a video")).to_be_focused()
    assert page.url.endswith("#make")
    page = open_page(f"{page.url.partition('#')[0]}#live")
    expect(page.get_by_role("tabpanel", name="Talk live")).to_be_visible()
    assert page.evaluate("scrollY") == 0


def test_every_file_is_small_and_writes_no_markup() -> None:
    scripts = sorted(PAGE.rglob("*.js"))
    assert len(scripts) > 10
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 300, path
        assert not any(word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write")), (
            path
        )
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "style=" not in page
    assert "<script>" not in page
    assert "//" not in page.replace("<!doctype html>", "")  # nothing comes from elsewhere
