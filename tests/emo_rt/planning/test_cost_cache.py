"""The cache of costs is checked when it is read, and two processes never measure at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emo_rt.planning import cost_cache
from emo_rt.planning.cost_cache import cache_file, kept_or_measured

CHECKOUT = Path(cost_cache.__file__).parents[2]
GOOD = {"clip": 0.5, "step": 0.0}


def write(text: str | bytes) -> None:
    cache_file().parent.mkdir(parents=True, exist_ok=True)
    cache_file().write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    "costs",
    [
        "NaN", "Infinity", "-0.5", '"0.5"', "null", "true", "[]", "{}", "1e300", "1" + "0" * 400, "1e999", "0",
    ],
)  # fmt: skip
def test_costs_that_can_be_none_are_measured_again_and_spoil_no_others(costs: str) -> None:
    write(f'{{"other": {{"clip": 2.0}}, "key": {{"clip": {costs}, "step": 0}}}}')
    assert kept_or_measured("key", GOOD, lambda: (GOOD, True)) == GOOD
    assert json.loads(cache_file().read_text()) == {"other": {"clip": 2.0}, "key": GOOD}


@pytest.mark.parametrize(
    "text",
    ["", "{ torn", "[]", "3", "null", '{"key": 3}', '{"key": {}}', '{"key": []}', '{"key": {"clip": 1}}', "[" * 10_000,
     b"\xff\xfe", b"\x00"],
    ids=range(12),
)  # fmt: skip
def test_a_cache_that_is_none_is_written_anew(text: str | bytes) -> None:
    write(text)
    assert kept_or_measured("key", GOOD, lambda: (GOOD, True)) == GOOD
    assert kept_or_measured("key", GOOD, lambda: pytest.fail("the costs are known")) == GOOD


def test_without_a_cache_costs_are_measured_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    measured: list[int] = []
    for _ in range(2):
        assert kept_or_measured("key", GOOD, lambda: measured.append(1) or (GOOD, True)) == GOOD
    assert len(measured) == 2


def test_what_is_not_worth_keeping_is_measured_again() -> None:
    disturbed = {"clip": 9.0, "step": 9.0}
    assert kept_or_measured("key", GOOD, lambda: (disturbed, False)) == disturbed
    assert not cache_file().exists()
    assert kept_or_measured("key", GOOD, lambda: (GOOD, True)) == GOOD


COLD_START = """
import json, os, sys, time
from pathlib import Path
from emo_rt.planning.cost_cache import kept_or_measured
log = Path(sys.argv[1])
def measure():
    with log.open("a") as file: file.write("begin\\n")
    time.sleep(0.4)
    with log.open("a") as file: file.write("end\\n")
    return {"clip": 0.25}, True
print(kept_or_measured("one" if len(sys.argv) < 3 else sys.argv[2], ["clip"], measure)["clip"])
"""


@pytest.mark.parametrize("keys", [("one", "one", "one"), ("one", "two", "three")])
def test_cold_starts_at_once_measure_one_after_another(tmp_path: Path, keys: tuple[str, ...]) -> None:
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", COLD_START, str(log)]
    started = [subprocess.Popen([*command, key], env=environment, stdout=subprocess.PIPE, text=True) for key in keys]
    assert [process.communicate(timeout=60)[0] for process in started] == ["0.25\n"] * 3
    assert log.read_text().split() == ["begin", "end"] * len(set(keys))
    assert set(json.loads(cache_file().read_text())) == set(keys)


HURRIED = """
from emo_rt.planning import cost_cache
cost_cache.WHILE_MEASURING = 0.1
print(cost_cache.kept_or_measured("key", ["clip"], lambda: ({"clip": 1.0}, True)))
"""


def test_who_waits_for_a_process_that_hangs_goes_on_after_a_while() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with cost_cache._alone("measuring", 1.0):
        run = subprocess.run(
            [sys.executable, "-c", HURRIED], env=environment, capture_output=True, text=True, timeout=60
        )
    assert run.stdout == "{'clip': 1.0}\n"


def test_the_costs_of_one_backend_leave_those_of_another() -> None:
    for key in ("one", "two"):
        kept_or_measured(key, GOOD, lambda: (GOOD, True))
    assert set(json.loads(cache_file().read_text())) == {"one", "two"}
