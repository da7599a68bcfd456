"""What is offered is measured, loses little, and costs less than what loses less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from export.presets import LEAST_PSNR, parse_way, worth_offering


def row(
    steps: int, guided: int, psnr: float = 40.0, sync: float = 0.8, identity: float = 1.0, cache_interval: int = 1
) -> dict[str, float]:
    sampling = {"steps": steps, "guidance_scale": 2.0, "guided_steps": guided, "cache_interval": cache_interval}
    return {**sampling, "psnr": psnr, "sync": sync, "identity": identity}


def test_what_loses_too_much_or_saves_nothing_is_not_offered() -> None:
    full = row(40, 40, 100.0)
    good, cached, cheaper = row(8, 8, 42), row(8, 8, 40, cache_interval=2), row(4, 4, 38)
    rows = [
        full,
        row(8, 4, 41, sync=0.76),  # does not speak
        cheaper,
        good,
        row(9, 9, 41),  # neither better nor faster than 8
        row(6, 6, 39),  # nor than 8 of which 4 are whole
        cached,
        row(2, 2, LEAST_PSNR - 0.1),
        row(3, 3, 37, identity=0.98),
    ]
    assert worth_offering(rows) == [full, good, cached, cheaper]


def test_ways_are_read() -> None:
    assert parse_way("8:2", 2.0) == Sampling(8, 2.0, 2)
    assert parse_way("4:1:3.5", 2.0) == Sampling(4, 3.5, 1)
    assert parse_way("8:8/2", 2.0) == Sampling(8, 2.0, 8, 2)
    for text in ("8", "a:b", "8:2:x", "8:8/x", "8/2", ""):
        with pytest.raises(InputError, match="not of the form"):
            parse_way(text, 2.0)
    with pytest.raises(InputError, match="guided steps is 9"):
        parse_way("8:9", 2.0)
    with pytest.raises(InputError, match="cache interval is 0"):
        parse_way("8:8/0", 2.0)


def test_the_bundled_offers_are_those_that_its_measurements_are_worth() -> None:
    path = Path(__file__).parents[2] / "models" / "emo-tiny" / "bundle" / "presets.json"
    found = json.loads(path.read_text())
    assert found["videos"] >= 10
    assert found["presets"] == worth_offering(found["measured"])
    assert len(found["presets"]) >= 4
