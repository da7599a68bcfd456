"""Times are those of a machine that has nothing else to do, also where it has."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from emo_rt.planning import own_time
from emo_rt.planning.own_time import Usage

START = Usage(wall=100.0, own=7.0, used=500.0, processors=2, threads={"1": (5.0, 1.0), "old": (2.0, 0.0)})


def after(passed: float, others: float, *threads: tuple[float, float]) -> float:
    """The seconds alone after some time in which others used the processors and threads of ours ran and waited."""
    ran = sum(ran for ran, _ in threads)
    counts = {"1": (5.0 + threads[0][0], 1.0 + threads[0][1])}
    counts |= {f"new {index}": thread for index, thread in enumerate(threads[1:])}
    return Usage(100.0 + passed, 7.0 + ran, 500.0 + ran + others, 2, counts).alone_since(START)


@pytest.mark.parametrize(
    ("passed", "others", "threads", "alone"),
    [
        (2.0, 0.0, [(1.0, 0.0)], 2.0),  # quiet, and not always busy itself
        (2.0, 0.0, [(1.0, 1.0)] * 4, 2.0),  # quiet: four threads on two processors wait for each other
        (2.0, 0.1, [(0.9, 0.6)], 1.9),  # they cannot have taken more than they used
        (2.0, 3.0, [(1.0, 1.0)], 1.0),  # two busy loops beside one thread
        (2.0, 2.0, [(1.0, 1.0)] * 2, 1.0),  # the same beside two
        (2.0, 2.0, [(0.5, 1.5)] * 4, 1.0),  # and beside four, which alone would wait for each other
        (2.0, 2.0, [(0.5, 0.5)], 1.0),  # half of the time it does not want to run
        (2.0, 3.0, [(0.0, 2.0)], 2.0),  # nothing is known where nothing was done
    ],
)
def test_what_others_take_is_left_out(
    passed: float, others: float, threads: list[tuple[float, float]], alone: float
) -> None:
    assert after(passed, others, *threads) == pytest.approx(alone)


def work() -> float:
    """Some milliseconds of work; what `alone_since` makes of them, as a share of the time that passed."""
    before = Usage.now()
    while time.process_time() < before.own + 0.02:
        pass
    after = Usage.now()
    return after.alone_since(before) / (after.wall - before.wall)


def test_this_machine_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.0 < work() <= 1.0
    monkeypatch.setattr(own_time, "_PROCESSORS", Path("no such file"))  # as on macOS and Windows
    assert work() == 1.0


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "25000 100000\n"}, 0.25),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_waits_for_itself_where_it_is_held_back(
    files: dict[str, str], processors: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(own_time, "_LIMITS", tmp_path)
    if sys.platform == "linux":
        assert Usage.now().processors == (processors or len(os.sched_getaffinity(0)))
    held_back = replace(START, wall=102.0, own=7.5, used=504.0, processors=0.25, threads={"1": (5.5, 8.0)})
    assert held_back.alone_since(START) == 2.0
