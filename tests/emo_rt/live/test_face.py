from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import BundleError, InputError
from emo_rt.live.face import FADE_INTERRUPTED, MOST_MARKS, UNTIL_IDLE, LiveFace
from emo_rt.live.frame import LiveFrame
from emo_rt.media.boxes import Box

FRAME = 1920  # samples at 48 kHz


def tone(frames: int) -> np.ndarray:
    return (0.3 * np.sin(0.05 * np.arange(frames * FRAME))).astype(np.float32)


@pytest.fixture(scope="module")
def cascade(bundle: Path) -> Cascade:
    return Cascade.load(Bundle.load(bundle))


def new_face(cascade: Cascade, **options: bool) -> LiveFace:
    picture = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    return LiveFace(cascade, picture, Box(8, 8, 16, 16), Sampling(1, 1.0, 0), **options)  # type: ignore[arg-type]


@pytest.fixture
def face(cascade: Cascade) -> Iterator[LiveFace]:
    with new_face(cascade) as face:
        wait_for(lambda: len(face._idle) >= 200, "the idle loop")
        yield face


def wait_for(condition: object, what: str) -> None:
    until = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, f"no {what}"
        time.sleep(0.001)


def taken(face: LiveFace, frames: int) -> list[LiveFrame]:
    """The next frames, each taken when the face has made all that it can make."""
    result = []
    for _ in range(frames):
        time.sleep(0.002)  # so that it notices a voice
        wait_for(lambda: face.ahead or not face.speaking, "frame")
        result.append(face.take())
    return result


def said(frames: list[LiveFrame]) -> np.ndarray:
    """The sound of what was pushed, out of some frames."""
    return np.concatenate([frame.sound for frame in frames if frame.voice.end])


def test_it_idles_without_a_voice_and_without_an_end(face: LiveFace) -> None:
    frames = taken(face, 1000)
    assert not any(frame.speaking or frame.late or frame.sound.any() for frame in frames)
    pictures = {frame.picture.tobytes() for frame in frames}
    assert 20 < len(pictures) <= len(face._idle)


def test_it_says_all_that_is_pushed_in_order_and_then_idles(face: LiveFace) -> None:
    face.push(tone(30))
    face.end()
    wait_for(lambda: face.ahead, "speech")
    frames = taken(face, 60)
    np.testing.assert_array_equal(said(frames), tone(30))
    speaking = [frame.speaking for frame in frames]
    first, last = speaking.index(True), len(speaking) - speaking[::-1].index(True)
    assert all(speaking[first:last])
    assert 30 + UNTIL_IDLE <= last - first <= 30 + UNTIL_IDLE + 8
    assert not frames[-1].speaking
    assert face.late == 0


def test_a_voice_that_comes_bit_by_bit_is_said_as_a_whole(cascade: Cascade) -> None:
    sound, frames = tone(40), []
    with new_face(cascade, real_time=True) as face:
        started = time.monotonic()
        for number in range(80):
            if number < 40:
                face.push(sound[number * FRAME : (number + 1) * FRAME])
            frames.append(face.take())
            time.sleep(max(started + (number + 1) / 25 - time.monotonic(), 0))
    np.testing.assert_array_equal(said(frames), sound)
    first = next(number for number, frame in enumerate(frames) if frame.speaking)
    assert first * 0.04 <= 0.5
    assert face.late == 0


def test_clearing_drops_what_is_not_said_and_closes_the_mouth_in_a_few_frames(face: LiveFace) -> None:
    face.push(tone(100))
    wait_for(lambda: face.ahead, "speech")
    before = taken(face, 10)
    assert before[-1].speaking
    face.clear()
    after = taken(face, 50)
    assert not any(frame.speaking or frame.sound.any() for frame in after)
    idle = {pose.picture.tobytes() for pose in face._idle._poses}
    assert [frame.picture.tobytes() in idle for frame in after] == [False] * FADE_INTERRUPTED + [True] * (
        50 - FADE_INTERRUPTED
    )
    face.push(tone(12))  # and it can speak again
    face.end()
    np.testing.assert_array_equal(said(taken(face, 40)), tone(12))


def test_a_clip_that_is_under_way_when_all_is_cleared_is_not_shown(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, go_on = threading.Event(), threading.Event()
    with new_face(cascade) as face:
        wait_for(lambda: len(face._idle) >= 200, "the idle loop")
        denoise_one = cascade.denoise_one

        def slow(*arguments: object) -> object:
            held.set()
            go_on.wait(10)
            return denoise_one(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(cascade, "denoise_one", slow)
        face.push(tone(50))
        assert held.wait(10)
        face.clear()
        go_on.set()
        time.sleep(0.1)
        assert not any(frame.speaking for frame in taken(face, 30))


def test_marks_are_told_with_the_frame_that_plays_them(face: LiveFace) -> None:
    face.push(tone(8))
    face.mark("first")
    face.push(tone(8))
    face.mark("second")
    face.end()
    wait_for(lambda: face.ahead, "speech")
    frames = taken(face, 40)
    played = {name: frame.voice.end // FRAME for frame in frames for name in frame.played}
    assert played == {"first": 8, "second": 16}


def test_marks_of_what_is_dropped_are_told_at_once(face: LiveFace) -> None:
    face.push(tone(50))
    face.mark("never said")
    face.clear()
    assert face.take().played == ("never said",)


def test_marks_do_not_pile_up_without_end(face: LiveFace) -> None:
    face.push(tone(50))
    for number in range(MOST_MARKS):
        face.mark(str(number))
    with pytest.raises(InputError, match="1000 marks wait"):
        face.mark("one more")


def test_a_pause_is_as_long_as_it_was_pushed(face: LiveFace) -> None:
    sound = np.concatenate([tone(10), np.zeros(40 * FRAME, np.float32), tone(10)])
    face.push(sound)
    face.end()
    wait_for(lambda: face.ahead, "speech")
    frames = taken(face, 100)
    np.testing.assert_array_equal(said(frames), sound)
    assert any(not frame.speaking for frame in frames[20:40])  # it idles in the pause


def test_pauses_make_up_for_what_came_late_where_somebody_speaks_now(cascade: Cascade) -> None:
    with new_face(cascade, real_time=True) as face:
        face.push(np.full(50 * FRAME, 1e-4, np.float32))
        face.take()
        assert face.waiting <= 4


def test_frames_repeat_and_are_counted_where_clips_are_late(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_face(cascade) as face:
        wait_for(lambda: len(face._idle) >= 200, "the idle loop")
        face.push(tone(50))
        wait_for(lambda: face.ahead, "speech")
        stop = threading.Event()
        monkeypatch.setattr(cascade, "decode", lambda clip: stop.wait(10) and None)
        while not (frame := face.take()).late:
            last = frame
        assert face.late == 1
        assert frame.picture is last.picture
        assert not frame.sound.any()
        stop.set()


def test_it_says_what_engines_say(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise BundleError("bundle fake: it broke")

    with new_face(cascade) as face:
        wait_for(lambda: len(face._idle) >= 200, "the idle loop")
        monkeypatch.setattr(cascade, "denoise_one", broken)
        face.push(tone(20))
        wait_for(lambda: face._error, "error")
        with pytest.raises(BundleError, match="it broke"):
            face.take()
    with pytest.raises(BundleError, match="it broke"):
        new_face(cascade).__enter__()


def test_a_wrong_speed_is_refused(cascade: Cascade) -> None:
    with pytest.raises(InputError, match="speed is 11"):
        LiveFace(cascade, np.zeros((32, 32, 3), np.uint8), Box(8, 8, 16, 16), Sampling(1, 1.0, 0), speed=11)


def test_it_can_be_left_while_it_is_entered(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(cascade, "warm_up", lambda sampling: go_on.wait(10))
    face = new_face(cascade)
    entering = threading.Thread(target=face.__enter__)
    entering.start()
    wait_for(face._thread.is_alive, "thread")
    leaving = threading.Thread(target=face.__exit__)
    leaving.start()
    entering.join(5)
    assert not entering.is_alive()
    go_on.set()
    leaving.join(5)
    assert not leaving.is_alive()
