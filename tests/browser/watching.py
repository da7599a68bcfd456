"""What a reader of the page does and waits for."""

from __future__ import annotations

import time

from playwright.sync_api import Page

#: The place of the video that is shown, seconds.
PLAYED = "document.getElementById('video').currentTime"
#: How many frames of the live portrait were shown.
FRAMES = "document.getElementById('live-video').getVideoPlaybackQuality().totalVideoFrames"


def until(page: Page, expression: str, seconds: float = 10) -> None:
    """Waits until JavaScript is true. The page's policy lets Playwright's own waiting evaluate nothing."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {seconds} s: {expression}"
        page.wait_for_timeout(30)


def make(page: Page) -> None:
    """Presses the one button."""
    page.get_by_role("button", name="Make the video").click()
