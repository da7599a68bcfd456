"""Frames at 25 Hz and sound at 16 kHz are those of their time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from footage_videos import write_video

from training.footage.timeline import UnreadableVideo, read_frames, read_sound


def rising(times: np.ndarray) -> np.ndarray:
    """Frames whose brightness is their time: 200 a second."""
    levels = (20 + 200 * times).round().astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(times), 32, 32, 3))


def times_at(rate: str) -> np.ndarray:
    if rate == "variable":
        steps = np.random.default_rng(0).uniform(0.012, 0.07, 24)
        return np.concatenate([[0], np.cumsum(steps)])
    return np.arange(0, 1, 1 / float(rate))


@pytest.mark.parametrize("rate", ["25", "30", "29.97", "60", "12.5", "variable"])
def test_frames_are_those_nearest_in_time(rate: str, tmp_path: Path) -> None:
    times = times_at(rate)
    frames = list(read_frames(write_video(tmp_path / "rising.mkv", rising(times), times)))
    shown = np.array([(frame.pixels.mean() - 20) / 200 for frame in frames])
    wanted = np.arange(len(frames)) / 25
    nearest = np.abs(times[None] - wanted[:, None]).min(1)
    assert times[-1] <= len(frames) / 25 <= times[-1] + 0.08 + 0.04
    assert (np.abs(shown - wanted) <= nearest + 0.012).all()
    assert not any(frame.stale for frame in frames)


def test_a_stretch_begins_and_ends_where_it_is_asked_to(tmp_path: Path) -> None:
    times = times_at("30")
    path = write_video(tmp_path / "rising.mp4", rising(times), times)
    shown = [(frame.pixels.mean() - 20) / 200 for frame in read_frames(path, 0.4, 0.8)]
    np.testing.assert_allclose(shown, 0.4 + np.arange(10) / 25, atol=0.025)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("late", [0.0, 0.2])
def test_a_flash_and_a_click_stay_together(suffix: str, late: float, tmp_path: Path) -> None:
    times = np.arange(0, 1.5, 1 / 30)
    frames = np.where(times[:, None, None, None] > 0.99, 220, 30).astype(np.uint8) * np.ones((1, 32, 32, 3), np.uint8)
    click = np.zeros(24000 - round(16000 * late), np.float32)
    click[16000 - round(16000 * late) :][:400] = 0.8
    path = write_video(tmp_path / f"flash{suffix}", frames, times, click, sound_start=late)
    bright = [frame.pixels.mean() > 128 for frame in read_frames(path)]
    sound = read_sound(path)
    assert sound is not None
    assert bright.index(True) == 25
    assert int(np.argmax(np.abs(sound) > 0.3)) == pytest.approx(16000, abs=80)  # 5 ms


def test_a_file_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "noise.mp4", np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableVideo):
        list(read_frames(path))
