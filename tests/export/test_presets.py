"""Presets are measured, lose little, and cost less than what loses less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from export.presets import CANDIDATES, LEAST_PRESET_PSNR, main, parse_candidate, worth_keeping


def measured(
    steps: int, guided: int, psnr: float = 40.0, sync: float = 0.8, identity: float = 1.0, cache_interval: int = 1
) -> dict[str, float]:
    sampling = {"steps": steps, "guidance_scale": 2.0, "guided_steps": guided, "cache_interval": cache_interval}
    return {**sampling, "psnr": psnr, "sync": sync, "identity": identity}


def test_what_loses_too_much_or_saves_nothing_is_dropped() -> None:
    full = measured(40, 40, 100.0)
    good, cached, cheaper = measured(8, 8, 42), measured(8, 8, 40, cache_interval=2), measured(4, 4, 38)
    rows = [
        full,
        measured(8, 4, 41, sync=0.76),  # does not speak
        cheaper,
        good,
        measured(9, 9, 41),  # neither better nor faster than 8
        measured(6, 6, 39),  # nor than 8 of which 4 are full
        cached,
        measured(2, 2, LEAST_PRESET_PSNR - 0.1),
        measured(3, 3, 37, identity=0.98),
    ]
    assert worth_keeping(rows) == [full, good, cached, cheaper]


def test_candidates_are_read() -> None:
    assert parse_candidate("8:2", 2.0) == Sampling(8, 2.0, 2)
    assert parse_candidate("4:1:3.5", 2.0) == Sampling(4, 3.5, 1)
    assert parse_candidate("8:8/2", 2.0) == Sampling(8, 2.0, 8, 2)
    for text in ("8", "a:b", "8:2:x", "8:8/x", "8/2", ""):
        with pytest.raises(InputError, match="not of the form"):
            parse_candidate(text, 2.0)
    with pytest.raises(InputError, match="guided steps is 9"):
        parse_candidate("8:9", 2.0)
    with pytest.raises(InputError, match="cache interval is 0"):
        parse_candidate("8:8/0", 2.0)


def test_the_bundled_presets_are_those_that_its_measurements_are_worth() -> None:
    path = Path(__file__).parents[2] / "models" / "emo-photo" / "bundle" / "presets.json"
    found = json.loads(path.read_text())
    assert found["videos"] >= 10
    assert found["presets"] == worth_keeping(found["measured"])
    assert len(found["presets"]) >= 2  # the planner has a choice


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--presets", "8"], "preset '8' is not of the form STEPS:GUIDED[:SCALE][/INTERVAL]"),
        (["--videos", "0"], "--videos is 0"),
        ([], "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Path(__file__).parents[2] / "models" / "emo-photo" / "bundle"
    assert main([str(bundle), "--data", "nowhere", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("presets: error: ")
    assert words in error
    assert error.count("\n") == 1


def test_the_default_candidates_are_of_the_form() -> None:
    assert all(parse_candidate(text, 2.0).steps for text in CANDIDATES)
