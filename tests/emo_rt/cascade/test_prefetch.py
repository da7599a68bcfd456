"""Prefetch gives the same items, bit for bit, as without it, and ends when nobody wants more."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from samples import drawn_face, tones

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips, prefetch
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.media.boxes import Box

PORTRAIT = np.asarray(drawn_face(32))
FACE = Box(8, 8, 14, 16)


@pytest.fixture(scope="module")
def cascade(bundle: Path) -> Cascade:
    return Cascade.load(Bundle.load(bundle), threads=1)


def test_everything_comes_in_order() -> None:
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([None, None]))) == [None, None]


def test_it_runs_while_its_results_are_used_but_not_far_ahead() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    items = prefetch(numbers(), size=2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # one used, two ready, one waits
    assert list(items) == list(range(1, 10))


def test_an_error_comes_where_the_next_item_would_have() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="broken"):
        next(items)


def test_closing_closes_what_is_inside_and_leaves_no_thread() -> None:
    closed: list[str] = []

    def endless(name: str, inner: Iterator[int]) -> Iterator[int]:
        try:
            for item in inner:
                yield item + 1
        finally:
            closed.append(name)

    before = threading.active_count()
    inner = prefetch(endless("inner", iter(range(10**9))))
    outer = prefetch(endless("outer", inner))
    assert [next(outer), next(outer)] == [2, 3]
    outer.close()
    inner.close()
    assert closed == ["outer", "inner"]
    assert threading.active_count() == before


def test_prefetch_changes_no_bit(cascade: Cascade) -> None:
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


UNFINISHED = """
import itertools
import subprocess
import sys
import numpy as np
import emo_rt
from emo_rt.cascade import prefetch
prefetch.AT_EXIT = 600  # nothing is waited for in vain
bundle = emo_rt.Bundle.load(emo_rt.DEFAULT_BUNDLE)
cascade = emo_rt.Cascade.load(bundle, "onnxruntime", 1)
portrait, face = np.zeros((256, 256, 3), np.uint8), emo_rt.Box(64, 64, 128, 128)
voice = itertools.repeat(np.zeros(640, np.float32))
decoded = prefetch.decoded_clips(cascade, cascade.denoise(portrait, face, voice, emo_rt.Sampling(4, 3.0, 4)))
next(decoded)
print("one clip")
"""


def test_a_program_may_end_while_clips_are_made() -> None:
    """As after a second Ctrl-C: the first one was being waited for."""
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", UNFINISHED], cwd=root, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "one clip\n", "")
