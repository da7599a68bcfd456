"""A voice is cut into windows, one for each clip."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fake_bundle import CONFIG

from emo_rt.cascade.audio import clip_audio, clip_window, frame_count, samples_per_frame, window
from emo_rt.cascade.clips import Clip


def test_a_frame_is_a_whole_number_of_samples() -> None:
    assert samples_per_frame(16000, 25) == 640
    with pytest.raises(ValueError, match="30 frames"):
        samples_per_frame(16000, 30)


def test_frames_are_rounded_up() -> None:
    assert [frame_count(samples, 640) for samples in (0, 1, 640, 641, 1600)] == [1, 1, 1, 2, 3]


def test_a_clip_hears_margin_and_context_on_both_sides() -> None:
    around = {"audio_margin": 2, "audio_context": 8, "samples_per_frame": 640}
    assert clip_window(0, clip_frames=12, **around) == (-10 * 640, 22 * 640)
    assert clip_window(24, clip_frames=12, **around) == (14 * 640, 46 * 640)


def test_outside_of_the_voice_there_is_silence() -> None:
    voice = np.arange(1, 5, dtype=np.float32)
    np.testing.assert_array_equal(window(voice, -2, 6), [0, 0, 1, 2, 3, 4, 0, 0])
    np.testing.assert_array_equal(window(voice, 2, 4), [3, 4])
    np.testing.assert_array_equal(window(voice, 9, 11), [0, 0])
    np.testing.assert_array_equal(window(voice, -5, -3), [0, 0])


@pytest.mark.parametrize("samples", [0, 1, 640, 4 * 640, 4 * 640 + 1, 5000, 12345])
@pytest.mark.parametrize("chunk", [1, 37, 1024, 100_000])
def test_a_streamed_voice_gives_the_windows_of_the_whole_array(samples: int, chunk: int) -> None:
    config = dataclasses.replace(CONFIG, sample_rate=25 * 64)  # 64 samples a frame: quick one by one
    voice = np.random.default_rng(0).standard_normal(samples // 10 or samples).astype(np.float32)
    pieces = list(clip_audio((voice[i : i + chunk] for i in range(0, len(voice), chunk)), config))
    assert sum(piece.clip.frames for piece in pieces) == frame_count(len(voice), 64)
    assert all(piece.clip.frames == config.clip_frames for piece in pieces[:-1])
    assert [piece.clip.index for piece in pieces] == list(range(len(pieces)))
    assert [piece.clip.first_frame for piece in pieces] == [4 * index for index in range(len(pieces))]
    for piece in pieces:
        start, stop = clip_window(
            piece.clip.first_frame, clip_frames=4, audio_margin=1, audio_context=1, samples_per_frame=64
        )
        np.testing.assert_array_equal(piece.waveform, window(voice, start, stop))
        assert piece.waveform.shape == (config.window_samples,)


def test_clips_cover_every_frame_once_and_only_the_last_is_trimmed() -> None:
    config = dataclasses.replace(CONFIG, clip_frames=12)

    def clips(frames: int) -> list[Clip]:
        return [piece.clip for piece in clip_audio([np.zeros(frames * 640, np.float32)], config)]

    assert clips(26) == [Clip(0, 0, 12), Clip(1, 12, 12), Clip(2, 24, 2)]
    assert clips(12) == [Clip(0, 0, 12)]
    assert clips(1) == [Clip(0, 0, 1)]


def test_no_more_of_the_voice_is_read_than_the_next_clip_needs() -> None:
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 640
            yield np.zeros(640, np.float32)

    pieces = clip_audio(endless(), CONFIG)
    for _ in range(50):
        piece = next(pieces)
        assert read == (piece.clip.first_frame + 4 + 2) * 640
