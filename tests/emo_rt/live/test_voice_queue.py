from __future__ import annotations

import numpy as np
import pytest
from fake_bundle import CONFIG

from emo_rt.errors import InputError
from emo_rt.live.voice_queue import VoiceQueue


def tone(seconds: float, rate: int = 48000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 24000, 44100, 48000])
def test_a_frame_is_there_as_soon_as_its_sound_is(rate: int) -> None:
    queue = VoiceQueue(CONFIG, rate)
    for pushed in range(1, 9):  # half a frame each
        queue.push(tone(0.02, rate))
        assert len(queue) == pushed // 2


def test_frames_hold_all_of_the_sound_in_its_order() -> None:
    queue, sound = VoiceQueue(CONFIG, 48000), tone(0.5)
    for chunk in np.array_split(sound, 7):
        queue.push(chunk)
    queue.complete()
    frames = list(queue)
    assert [frame.end for frame in frames] == [min(1920 * (i + 1), 24000) for i in range(13)]
    np.testing.assert_array_equal(np.concatenate([frame.sound for frame in frames])[:24000], sound)
    assert all(frame.voice.shape == (640,) and frame.sound.shape == (1920,) for frame in frames)


def test_the_voice_is_the_sound_at_the_rate_of_the_model() -> None:
    queue = VoiceQueue(CONFIG, 48000)
    queue.push(tone(1.0))
    voice = np.concatenate([frame.voice for frame in queue])
    lag = int(np.argmax([np.dot(voice[shift:8000], tone(1.0, 16000)[: 8000 - shift]) for shift in range(70)]))
    assert 32 <= lag <= 64  # the head start of 4 ms, less what the resampler takes
    np.testing.assert_allclose(voice[lag + 1000 : 9000], tone(1.0, 16000)[1000 : 9000 - lag], atol=0.05)


def test_silence_is_told_from_speech() -> None:
    queue = VoiceQueue(CONFIG, 16000)
    assert queue.first_loud() is None
    queue.push(np.concatenate([np.full(640 * 3, 1e-3, np.float32), tone(0.04, 16000)]))
    assert [frame.silent for frame in queue] == [True, True, True, False]
    assert queue.first_loud() == 3


def test_an_empty_queue_gives_silence_that_nobody_pushed() -> None:
    frame = VoiceQueue(CONFIG, 48000).next()
    assert frame.silent
    assert frame.end == 0
    assert not frame.sound.any()


def test_padding_and_clearing() -> None:
    queue = VoiceQueue(CONFIG, 48000)
    queue.push(tone(0.05))
    queue.pad(2)
    assert [frame.silent for frame in queue] == [False, False, True, True]
    queue.push(tone(0.03))
    queue.clear()
    assert len(queue) == 0
    queue.push(tone(0.04))
    assert [frame.end for frame in queue] == [queue.pushed]  # the half frame before is forgotten


@pytest.mark.parametrize("rate", [48001, 0, -16000])
def test_a_rate_that_frames_do_not_divide_is_refused(rate: int) -> None:
    with pytest.raises(InputError, match="sample rate is"):
        VoiceQueue(CONFIG, rate)


def test_what_is_no_sound_is_refused() -> None:
    queue = VoiceQueue(CONFIG, 48000)
    for wrong in (np.zeros((2, 4), np.float32), np.zeros(4, np.int16), np.full(4, np.nan, np.float32)):
        with pytest.raises(InputError, match="voice"):
            queue.push(wrong)
    assert queue.pushed == 0
