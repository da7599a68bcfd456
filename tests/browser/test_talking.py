"""Talking live: connects, shows the portrait, is interrupted, and comes back when the connection is lost."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.stub import Refusal, Stub
from tests.browser.watching import FRAMES, until


def talk(open_page: OpenPage, **options: object) -> Page:
    page = open_page(**options)
    page.get_by_role("tab", name="Talk live").click()
    page.get_by_role("button", name="Start talking").click()
    return page


def state(page: Page, words: str) -> None:
    expect(page.locator("#live-state")).to_have_text(words)


def test_picture_and_voice_come(open_page: OpenPage, stub: Stub) -> None:
    page = talk(open_page)
    state(page, "Speaking.")
    until(page, f"{FRAMES} > 25")
    kinds = "document.getElementById('live-video').srcObject.getTracks().map((track) => track.kind).sort().join()"
    assert page.evaluate(kinds) == "audio,video"
    until(page, "document.getElementById('live-level').value > 0.3")  # the fake microphone beeps
    page.get_by_role("button", name="Stop talking").click()
    state(page, "Not connected.")
    expect(page.get_by_role("button", name="Interrupt")).to_be_disabled()
    page.wait_for_timeout(300)
    assert not stub.calls  # the session was ended, not left behind


def test_on_a_telephone_the_portrait_comes_into_view(open_page: OpenPage) -> None:
    page = talk(open_page, viewport={"width": 360, "height": 740})
    state(page, "Speaking.")
    expect(page.locator("#live-video")).to_be_in_viewport(ratio=0.9)
    expect(page.get_by_role("button", name="Interrupt")).to_be_in_viewport()


def test_the_voice_is_off_until_it_is_switched_on(open_page: OpenPage) -> None:
    page = talk(open_page)
    state(page, "Speaking.")
    switch = page.get_by_role("switch", name="Hear the voice")
    expect(switch).to_have_attribute("aria-checked", "false")
    assert page.evaluate("document.getElementById('live-video').muted")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    assert not page.evaluate("document.getElementById('live-video').muted")
    expect(page.get_by_text("The voice is on. Without headphones you hear yourself")).to_be_visible()


def test_the_portrait_is_interrupted(open_page: OpenPage, stub: Stub) -> None:
    page = talk(open_page)
    state(page, "Speaking.")
    page.get_by_role("button", name="Interrupt").click()
    state(page, "Listening.")
    assert [call.cleared for call in stub.calls.values()] == [1]


def test_a_lost_connection_is_opened_anew(open_page: OpenPage, stub: Stub) -> None:
    page = talk(open_page)
    state(page, "Speaking.")
    for call in stub.calls.values():
        call.drop()
    expect(page.locator("#live-state")).to_contain_text("Connecting again")
    state(page, "Speaking.")
    until(page, f"{FRAMES} > 10")
    assert stub.offers == 2


def test_it_gives_up_after_a_few_tries(open_page: OpenPage, stub: Stub) -> None:
    page = open_page(before="globalThis.realTimeout = setTimeout; setTimeout = (f, ms) => realTimeout(f, ms / 20)")
    stub.refusals["POST /v1/live"] = [Refusal(502, "") for _ in range(9)]
    page.get_by_role("tab", name="Talk live").click()
    page.get_by_role("button", name="Start talking").click()
    expect(page.locator("#live-failure")).to_contain_text("The server cannot be reached just now.")
    state(page, "Not connected.")
    assert len(stub.refusals["POST /v1/live"]) == 3


def test_a_full_server_is_asked_again_when_it_says(open_page: OpenPage, stub: Stub) -> None:
    stub.refusals["POST /v1/live"] = [Refusal(503, "all 2 live sessions are in use; come back later", 2)]
    page = talk(open_page)
    state(page, "All 2 live sessions are in use; come back later. This page tries again in 2 s.")
    state(page, "Speaking.")


def test_a_talk_that_the_server_ends_is_over(open_page: OpenPage, stub: Stub) -> None:
    page = talk(open_page)
    state(page, "Speaking.")
    for call in stub.calls.values():
        call.tell({"type": "closing", "reason": "the server stops"})
    expect(page.locator("#live-failure")).to_have_text("The server stops. Start again when you like.")
    state(page, "Not connected.")
    assert stub.offers == 1


def test_another_tab_ends_the_talk(open_page: OpenPage, stub: Stub) -> None:
    page = talk(open_page)
    state(page, "Speaking.")
    page.get_by_role("tab", name="Make a video").click()
    page.wait_for_timeout(500)
    assert not stub.calls


def test_the_microphone_is_asked_for_without_echo(open_page: OpenPage) -> None:
    page = talk(
        open_page,
        before="""const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (asked) => { globalThis.asked = asked; return real(asked); }""",
    )
    state(page, "Speaking.")
    assert page.evaluate("asked.audio.echoCancellation && asked.audio.noiseSuppression")
