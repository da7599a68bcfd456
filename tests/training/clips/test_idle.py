"""Idle frames are those of long silences with closed lips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from small_clips import small_clip

from training.clips.idle import idle_frames


def test_only_long_silences_with_closed_lips_are_idle() -> None:
    said, opening = np.zeros(100, bool), np.zeros(100, np.float32)
    said[20:40] = said[51:60] = True
    opening[90:93] = 0.3
    clip = replace(small_clip(100), phoneme_class=5 * said.repeat(2), mouth_opening=opening)
    idle = np.zeros(100, bool)
    idle[:20] = idle[60:90] = True  # 11 frames between words and 7 at the end are too short
    np.testing.assert_array_equal(idle_frames(clip), idle)


def test_a_frame_in_which_a_sound_begins_is_not_idle() -> None:
    classes = np.zeros(80, np.int64)
    classes[41] = 3
    clip = replace(small_clip(40), phoneme_class=classes, mouth_opening=np.zeros(40, np.float32))
    assert np.flatnonzero(~idle_frames(clip)).tolist() == [20]
