"""Stages that overlap give the frames, bit for bit, that one after another gives."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from samples import drawn_face, tones

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box

PORTRAIT = np.asarray(drawn_face(32))
FACE = Box(8, 8, 14, 16)


@pytest.fixture(scope="module")
def cascade(bundle: Path) -> Cascade:
    return Cascade.load(Bundle.load(bundle), threads=1)


def test_overlap_changes_no_bit(cascade: Cascade) -> None:
    voice = tones(2.01)[0]
    expected = list(cascade.generate(PORTRAIT, FACE, [voice], seed=3))
    clips = cascade.denoise(PORTRAIT, FACE, [voice], Sampling.of(cascade.config), seed=3)
    pairs = list(decoded_clips(cascade, clips))
    assert [clip.clip.index for clip, _ in pairs] == list(range(len(expected)))
    for (_, frames), alone in zip(pairs, expected, strict=True):
        np.testing.assert_array_equal(frames, alone)


def test_stopping_early_ends_an_endless_voice_and_its_threads(cascade: Cascade) -> None:
    closed: list[bool] = []

    def endless() -> Iterator[np.ndarray]:
        try:
            while True:
                yield np.zeros(640, np.float32)
        finally:
            closed.append(True)

    before = threading.active_count()
    clips = cascade.denoise(PORTRAIT, FACE, endless(), Sampling.of(cascade.config))
    with closing(decoded_clips(cascade, clips)) as decoded:
        assert len(list(itertools.islice(decoded, 3))) == 3
    assert threading.active_count() == before
    del clips
    assert closed == [True]


def test_a_voice_that_breaks_off_raises_after_the_clips_before_it(cascade: Cascade) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield tones(0.5)[0]
        raise InputError("audio: cut short")

    decoded = decoded_clips(cascade, cascade.denoise(PORTRAIT, FACE, broken(), Sampling.of(cascade.config)))
    assert len(next(decoded)[1]) == 4
    with pytest.raises(InputError, match="cut short"):
        list(decoded)


def test_going_on_after_some_clips_changes_no_bit(cascade: Cascade) -> None:
    """Also with a voice in pieces of which whole ones come before the first clip that is made."""
    voice = tones(1.5)[0]
    sampling = Sampling.of(cascade.config)
    whole = list(cascade.denoise(PORTRAIT, FACE, [voice], sampling))
    for done in (1, 4, 9):
        for size in (100, 5000, len(voice)):
            pieces = (voice[start : start + size] for start in range(0, len(voice), size))
            after = (done, whole[done - 1].motion_latents)
            rest = list(cascade.denoise(PORTRAIT, FACE, pieces, sampling, after=after))
            assert [clip.clip for clip in rest] == [clip.clip for clip in whole[done:]]
            for clip, expected in zip(rest, whole[done:], strict=True):
                np.testing.assert_array_equal(cascade.decode(clip), cascade.decode(expected))


def test_fewer_guided_steps_are_another_video_between_all_and_none(cascade: Cascade) -> None:
    def video(**options: float) -> np.ndarray:
        clips = cascade.generate(PORTRAIT, FACE, [tones(0.5)[0]], guidance_scale=6.0, **options)  # type: ignore[arg-type]
        return np.concatenate(list(clips)).astype(float)

    every, two, none = video(), video(guided_steps=2), video(guided_steps=0)
    np.testing.assert_array_equal(every, video(guided_steps=3))
    assert np.abs(every - two).mean() > 0
    assert np.abs(two - none).mean() > 0
    with pytest.raises(InputError, match="guided steps is -1"):
        video(guided_steps=-1)
