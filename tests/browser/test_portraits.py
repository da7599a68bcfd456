"""The portrait: chosen, dropped, taken with the camera, and the box of its face."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from playwright.sync_api import Page, expect

from emo_rt.bundled import VOICE
from tests.browser.conftest import OpenPage
from tests.browser.stub import Refusal, Stub, box
from tests.browser.watching import PLAYED, until

BOX = "[aria-roledescription='movable box']"


def choose(page: Page, picture: Path) -> None:
    page.get_by_label("Choose a picture").set_input_files(picture)
    expect(page.locator("#picture")).to_have_attribute("alt", "Your portrait")


def make(page: Page) -> None:
    page.get_by_role("button", name="Make the video").click()
    page.locator("#progress").wait_for()


def sent_box(stub: Stub) -> dict[str, float]:
    """The face box of the portrait of the newest video."""
    return stub.portraits[stub.sent[-1]["portrait"]]["face_box"]


def drop(page: Page, path: Path, kind: str) -> None:
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([data, name, type]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type }));
          for (const event of ["dragover", "drop"]) {
            document.body.dispatchEvent(
              new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true }));
          }
        }""",
        [data, path.name, kind],
    )


def test_a_dropped_portrait_and_voice_are_taken(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    page = open_page()
    drop(page, picture, "image/png")
    expect(page.locator("#picture")).to_have_attribute("alt", "Your portrait")
    drop(page, VOICE, "audio/wav")
    expect(page.get_by_text("Your sound file: voice.wav")).to_be_visible()
    make(page)
    assert stub.sent[0]["portrait"].startswith("portrait_")
    assert stub.sent[0]["audio"] == "voice.wav"


def test_three_clicks_are_enough_for_ones_own_picture_and_voice(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    page = open_page()
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose a picture").click()
    chooser.value.set_files(picture)
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose a sound").click()
    chooser.value.set_files(VOICE)
    page.get_by_role("button", name="Make the video").click()  # the third
    until(page, f"{PLAYED} > 0.2")
    assert stub.sent[0]["audio"] == "voice.wav"


def test_keys_move_and_resize_the_box(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    page = open_page()
    choose(page, picture)
    page.locator(BOX).focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "Alt+ArrowLeft", "Shift+ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator(BOX)).to_have_attribute(
        "aria-label", "Face: 32 pixels from the left, 43 from the top, 63 wide, 67 high"
    )
    make(page)
    assert sent_box(stub) == box(32, 43, 63, 67)


def test_the_box_stays_inside_the_picture(open_page: OpenPage, picture: Path) -> None:
    page = open_page()
    choose(page, picture)
    page.locator(BOX).focus()
    for _ in range(80):
        page.keyboard.press("ArrowLeft")
    for _ in range(80):
        page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(BOX)).to_have_attribute(
        "aria-label", "Face: 0 pixels from the left, 40 from the top, 200 wide, 70 high"
    )


def test_the_mouse_moves_and_resizes_the_box(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    page = open_page()
    choose(page, picture)
    area = page.locator("#faces").bounding_box()
    assert area
    scale = area["width"] / 200

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        assert area
        page.mouse.move(area["x"] + start[0] * scale, area["y"] + start[1] * scale)
        page.mouse.down()
        page.mouse.move(area["x"] + end[0] * scale, area["y"] + end[1] * scale, steps=4)
        page.mouse.up()

    drag((60, 70), (80, 60))
    drag((110, 100), (130, 120))
    make(page)
    assert close(sent_box(stub), box(50, 30, 80, 90))
    drag((5, 5), (45, 65))  # beside the box: a new one
    make(page)
    assert close(sent_box(stub), box(5, 5, 40, 60))


def close(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(abs(one[key] - other[key]) <= 1.5 for key in other)


def test_a_finger_moves_the_box(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    choose(page, picture)
    page.locator(BOX).scroll_into_view_if_needed()
    area = page.locator(BOX).bounding_box()
    assert area
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, points in [
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x + 15, "y": y}]),
        ("touchMove", [{"x": x + 30, "y": y}]),
        ("touchEnd", []),
    ]:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    make(page)
    assert sent_box(stub)["x"] > 40
    assert sent_box(stub)["width"] == 60


def test_a_picture_without_a_face_says_so_and_takes_a_drawn_box(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    stub.faces = []
    page = open_page()
    choose(page, picture)
    expect(page.get_by_text("No face was found. Move the box onto the face, or draw a new one.")).to_be_visible()
    area = page.locator("#faces").bounding_box()
    assert area
    page.mouse.move(area["x"] + 10, area["y"] + 10)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2, steps=4)
    page.mouse.up()
    make(page)
    scale = 200 / area["width"]
    assert close(sent_box(stub), box(10 * scale, 10 * scale, 100 - 10 * scale, 80 - 10 * scale))


def test_one_of_several_faces_is_chosen(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    stub.faces = [box(10, 40, 40, 50), box(70, 40, 60, 70), box(150, 40, 40, 50)]
    page = open_page()
    choose(page, picture)
    expect(page.get_by_text("3 faces were found. Choose one")).to_be_visible()
    page.get_by_role("button", name="Choose face 3 of 3, from the left").click()
    expect(page.get_by_role("button", name="Choose face 2 of 3")).to_be_visible()
    make(page)
    assert sent_box(stub) == box(150, 40, 40, 50)


def test_the_bundled_portrait_takes_a_box_as_a_copy(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.locator(BOX).press("ArrowRight")
    make(page)
    assert stub.sent[0]["portrait"].startswith("portrait_")
    assert sent_box(stub)["x"] == 156
    assert stub.portraits["bundled"]["face_box"]["x"] == 146


def test_the_camera_takes_a_picture(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.locator("#picture")).to_have_attribute("alt", "Your portrait")
    assert len(stub.portraits) == 2
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()
    page.get_by_role("button", name="Use the example").click()
    expect(page.locator("#picture")).to_have_attribute("alt", "The example portrait")


def test_the_camera_is_left_without_a_picture(open_page: OpenPage, stub: Stub) -> None:
    page = open_page()
    page.get_by_role("button", name="Use the camera").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert list(stub.portraits) == ["bundled"]


def test_the_earlier_portrait_stays_when_a_new_one_is_refused(open_page: OpenPage, stub: Stub, tmp_path: Path) -> None:
    notes = tmp_path / "notes.png"
    notes.write_text(json.dumps({"no": "picture"}))
    page = open_page()
    page.get_by_label("Choose a picture").set_input_files(notes)
    expect(page.get_by_role("alert").filter(has_text="Picture notes.png: cannot be read;")).to_be_visible()
    expect(page.locator("#picture")).to_have_attribute("alt", "The example portrait")
    make(page)
    assert stub.sent[0]["portrait"] == "bundled"


def test_a_refusal_that_passes_can_be_tried_again(open_page: OpenPage, stub: Stub, picture: Path) -> None:
    page = open_page()
    stub.refusals["POST /v1/portraits"] = [Refusal(503, "", 7)]
    page.get_by_label("Choose a picture").set_input_files(picture)
    expect(page.get_by_role("alert").filter(has_text="The server is busy. Try again in 7 s.")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#picture")).to_have_attribute("alt", "Your portrait")
