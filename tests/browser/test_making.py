"""Making a video: from opening the page to watching, and what is around it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from emo_rt.bundled import VOICE
from tests.browser.conftest import OpenPage
from tests.browser.stub import Refusal, Stub
from tests.browser.watching import PLAYED, make, until


def status(stub: Stub) -> str:
    (video,) = stub.videos.values()
    return stub.state(video)["status"]


def test_one_click_and_the_video_plays_while_it_is_made(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    began = time.monotonic()
    make(page)
    until(page, f"{PLAYED} > 0.2")
    assert status(stub) == "in_progress"
    assert time.monotonic() - began < 5
    assert stub.sent == [{"voice": "bundled", "seed": "0", "framing": "crop", "portrait": "bundled"}]
    expect(page.locator("#progress-text")).to_have_text(re.compile(r"\d+ of 100 frames, about \d+ s left"))
    expect(page.get_by_text("The video is ready.")).to_be_visible()
    until(page, f"{PLAYED} > 3.9")  # all four seconds are there
    assert page.evaluate("document.getElementById('video').duration") == pytest.approx(4, abs=0.1)


def test_a_slow_video_waits_for_its_frames_and_goes_on(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds = 8.0  # half as fast as it plays
    page = open_page()
    make(page)
    until(page, f"{PLAYED} > 2")
    assert status(stub) == "in_progress"
    until(page, f"{PLAYED} > 3.9", 20)


def test_a_video_that_waits_says_so(open_page: OpenPage, stub: Stub) -> None:
    stub.queued = 1.5
    page = open_page()
    make(page)
    expect(page.get_by_text("Waiting for its turn.")).to_be_visible()
    expect(page.get_by_text("2 videos are before yours.")).to_be_visible()
    until(page, f"{PLAYED} > 0.2")


def test_a_video_is_downloaded_and_says_what_it_was_made_from(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds = 0.5
    page = open_page()
    make(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the video").click()
    assert download.value.suggested_filename.startswith("video_")
    assert b"ftyp" in Path(download.value.path()).read_bytes()[:12]
    page.get_by_text("What this was made from").click()
    expect(page.locator("#provenance-facts")).to_contain_text("found by itself")
    expect(page.locator("#provenance-facts")).to_contain_text("2 steps, guidance 3")


def test_a_video_is_cancelled(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds = 60.0
    page = open_page()
    make(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled. Nothing of the video is kept.")).to_be_visible()
    assert not stub.videos
    expect(page.get_by_text("None yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Make the video")).to_be_focused()


def test_options_go_with_the_video(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.get_by_text("Options").click()
    page.get_by_label("the whole picture").check()
    page.get_by_label("Head speed").select_option("lively")
    page.get_by_label("Seed").fill("7")
    make(page)
    page.locator("#progress").wait_for()
    assert stub.sent == [{"voice": "bundled", "seed": "7", "framing": "original", "speed": "1", "portrait": "bundled"}]


def test_a_seed_that_is_none_is_refused_in_words(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.get_by_text("Options").click()
    page.get_by_label("Seed").fill("-3")
    make(page)
    expect(page.get_by_role("alert").filter(has_text="The seed is a whole number")).to_be_visible()
    expect(page.get_by_label("Seed")).to_be_focused()
    assert not stub.sent


def test_a_voice_is_recorded_and_sent(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.get_by_role("button", name="Record a voice").click()
    expect(page.get_by_role("timer")).to_have_text("0:01")
    make(page)
    expect(page.get_by_role("alert").filter(has_text="Stop the recording first.")).to_be_visible()
    until(page, "document.getElementById('recording-level').value > 0.3")  # the fake microphone beeps
    page.get_by_role("button", name="Stop recording").click()
    expect(page.get_by_text("Your recording")).to_be_visible()
    until(page, "document.getElementById('voice-player').readyState > 0")
    make(page)
    page.locator("#progress").wait_for()
    assert stub.sent[0]["audio"] == "recording.webm"


def test_the_longest_recording_ends_by_itself(open_page: OpenPage, stub: Stub) -> None:
    stub.limits["max_seconds"] = 1
    page = open_page()
    page.get_by_role("button", name="Record a voice").click()
    expect(page.get_by_text("Your recording, 2 s.")).to_be_visible()


def test_a_sound_file_is_chosen_and_the_example_comes_back(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.get_by_label("Choose a sound").set_input_files(VOICE)
    expect(page.get_by_text("Your sound file: voice.wav")).to_be_visible()
    make(page)
    page.locator("#progress").wait_for()
    assert stub.sent[0]["audio"] == "voice.wav"
    page.locator("section", has=page.get_by_role("heading", name="Voice")).get_by_text("Use the example").click()
    make(page)
    until(page, "document.querySelectorAll('#earlier li').length === 2")
    assert stub.sent[1]["voice"] == "bundled"


def test_earlier_videos_are_watched_and_deleted(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds = 0.3
    page = open_page()
    make(page)
    expect(page.get_by_text("The video is ready.")).to_be_visible()
    page = open_page()
    page.get_by_role("button", name="Watch").click()
    until(page, f"{PLAYED} > 0.2")
    page.get_by_role("button", name="Delete the video").click()
    assert len(stub.videos) == 1
    page.get_by_role("button", name="for good?").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert not stub.videos
    expect(page.locator("#video")).to_be_hidden()


def test_a_video_that_nobody_watches_becomes_ready_in_the_list(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds = 3.0
    page = open_page()
    make(page)
    page.locator("#progress").wait_for()
    page = open_page()
    expect(page.get_by_text("being made")).to_be_visible()
    expect(page.get_by_text("ready · 4.0 s")).to_be_visible(timeout=9_000)


def test_more_earlier_videos_come_when_asked_for(open_page: OpenPage, stub: Stub) -> None:
    stub.seconds = 0.0
    page = open_page()
    for count in range(1, 13):
        make(page)
        until(page, f"document.querySelectorAll('#earlier li').length === {count}")
    page = open_page()
    expect(page.locator("#earlier li")).to_have_count(10)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#earlier li")).to_have_count(12)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_stream_that_breaks_off_goes_on(open_page: OpenPage, stub: Stub) -> None:
    stub.breaks = 4000
    page = open_page()
    make(page)
    until(page, f"{PLAYED} > 3.9")
    assert stub.breaks is None
    assert page.evaluate("document.getElementById('video').duration") == pytest.approx(4, abs=0.1)


def test_while_the_server_is_away_the_page_waits(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    make(page)
    until(page, f"{PLAYED} > 0.1")
    (name,) = stub.videos
    stub.refusals[f"GET /v1/videos/{name}"] = [Refusal(502, "") for _ in range(2)]
    expect(page.get_by_role("alert").filter(has_text="The page goes on by itself.")).to_be_visible()
    expect(page.get_by_text("The video is ready.")).to_be_visible()
    expect(page.locator("#watch-failure")).to_be_hidden()


@pytest.mark.parametrize("lacks", ["MediaSource", "types"])
def test_a_browser_that_plays_no_growing_video_shows_the_complete_one(
    open_page: OpenPage, stub: Stub, lacks: str
) -> None:
    gone = {
        "MediaSource": "delete globalThis.MediaSource; delete globalThis.ManagedMediaSource",
        "types": "MediaSource.isTypeSupported = () => false",
    }
    stub.seconds = 2.0
    page = open_page(before=gone[lacks])
    make(page)
    expect(page.locator("#empty-stage")).to_contain_text("This browser cannot play")
    expect(page.get_by_text("The video is ready.")).to_be_visible()
    until(page, f"{PLAYED} > 0.2")


def test_an_iphone_has_another_kind_of_source(open_page: OpenPage, stub: Stub) -> None:
    page = open_page(before="globalThis.ManagedMediaSource = MediaSource; delete globalThis.MediaSource")
    make(page)
    until(page, f"{PLAYED} > 0.2")
    assert status(stub) == "in_progress"
    assert page.evaluate("document.getElementById('video').disableRemotePlayback")
