from __future__ import annotations

from pathlib import Path

import pytest

from emo_rt.bundle import Bundle
from emo_rt.jobs import session as session_module
from emo_rt.jobs.request import GenerationOptions
from emo_rt.jobs.session import FEWEST_STEPS, Session
from emo_rt.planning.costs import Costs


def costs(step: float) -> Costs:
    return Costs(0.0, 0.02, step, 2 * step, step / 4, step / 2)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    step = {"seconds": 0.01}
    monkeypatch.setattr(session_module, "cost_of", lambda *_: costs(step["seconds"]))
    return step


def test_it_is_the_best_preset_that_makes_clips_in_time(bundle: Path, measured: dict[str, float]) -> None:
    session = Session(Bundle.load(bundle), GenerationOptions(backend="onnxruntime"))
    plan = session.live_plan(0.15)
    assert plan.sampling == session.presets[0].sampling
    measured["seconds"] = 0.025  # three guided steps take 0.15 s, and the clip 0.02 s
    slower = session.live_plan(0.15)
    assert slower.sampling.steps == 3
    assert slower.sampling.guided_steps < 3


def test_where_no_preset_is_so_fast_it_takes_the_fewest_steps(bundle: Path, measured: dict[str, float]) -> None:
    measured["seconds"] = 1.0
    assert Session(Bundle.load(bundle), GenerationOptions(backend="onnxruntime")).live_plan().sampling == FEWEST_STEPS


def test_steps_that_are_asked_for_are_taken(bundle: Path, measured: dict[str, float]) -> None:
    measured["seconds"] = 1.0
    options = GenerationOptions(backend="onnxruntime", steps=2)
    assert Session(Bundle.load(bundle), options).live_plan().sampling.steps == 2
