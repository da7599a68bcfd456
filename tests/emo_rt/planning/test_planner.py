"""The plan is the best quality that is fast enough, by costs that are measured."""

from __future__ import annotations

import pytest
from fake_bundle import CONFIG

from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.planning.costs import Costs
from emo_rt.planning.planner import MARGIN, Plan, choose
from emo_rt.planning.presets import Preset

PRESETS = BEST, GOOD, POOR = [Preset(Sampling(*counts)) for counts in ((8, 2.0, 8), (4, 2.0, 4), (4, 2.0, 1))]
# 4 frames at 25 per second: 0.16 s
SLOW, FAST = Costs(0.1, 0.02, 0.02, 0.04, 0.01, 0.02), Costs(0.2, 0.02, 0.01, 0.02, 0.005, 0.01)


@pytest.mark.parametrize(
    ("options", "backend", "preset"),
    [
        ({}, "fast", GOOD),  # 0.1 s; the best takes 0.18
        ({"quality": "best"}, "fast", BEST),
        ({"quality": "fast"}, "fast", POOR),
        ({"target_fps": 20.0}, "fast", BEST),  # 22.2
        ({"target_fps": 21.0}, "fast", GOOD),  # 22.2 is no more than promised
        ({"target_fps": 45.0}, "fast", POOR),
        ({"target_fps": 45.0, "quality": "best"}, "fast", POOR),
        ({"max_latency": 0.5}, "fast", GOOD),
        ({"max_latency": 0.5, "quality": "best"}, "fast", BEST),
        ({"max_latency": 0.4, "quality": "best"}, "fast", GOOD),
    ],
)
def test_the_best_that_is_fast_enough(options: dict[str, float], backend: str, preset: Preset) -> None:
    plan = choose(PRESETS, {"slow": SLOW, "fast": FAST}, CONFIG, **options)  # type: ignore[arg-type]
    assert (plan.backend, plan.preset) == (backend, preset)


def test_another_engine_may_be_the_fastest_for_other_steps() -> None:
    by_clip, by_step = Costs(0, 0.0, 0.1, 0.1, 0.1, 0.1), Costs(0, 0.5, 0.01, 0.01, 0.01, 0.01)
    plans = [choose([preset], {"a": by_clip, "b": by_step}, CONFIG, quality="best") for preset in (BEST, POOR)]
    assert [plan.backend for plan in plans] == ["b", "a"]


def test_what_cannot_be_held_is_said_with_what_can() -> None:
    with pytest.raises(InputError, match=r"target fps is 1000: .* at most 51\.9 \(fast, 4 steps, 1 guided\)"):
        choose(PRESETS, {"slow": SLOW, "fast": FAST}, CONFIG, target_fps=1000)
    assert choose(PRESETS, {"fast": FAST}, CONFIG, target_fps=51.9).preset == POOR
    with pytest.raises(InputError, match=r"max latency is 0.01 s: .* at least 0\.3 s"):
        choose(PRESETS, {"fast": FAST}, CONFIG, max_latency=0.01)
    assert choose(PRESETS, {"fast": FAST}, CONFIG, max_latency=0.3).preset == POOR
    behind = choose(PRESETS, {"slow": Costs(0, 1, 1, 1, 1, 1)}, CONFIG)
    assert behind.preset.sampling.steps == 4
    assert behind.frames_per_second < CONFIG.frames_per_second


def test_a_plan_knows_what_to_fall_back_to() -> None:
    plan = choose(PRESETS, {"slow": SLOW, "fast": FAST}, CONFIG, quality="best")
    assert [faster.preset for faster in plan.faster] == [GOOD, POOR]
    assert {faster.backend for faster in plan.faster} == {plan.backend}
    assert choose(PRESETS, {"fast": FAST}, CONFIG, quality="fast").faster == ()


def test_a_plan_promises_more_than_is_asked_for() -> None:
    exact = Costs(0, CONFIG.clip_frames / 25, 0, 0, 0, 0)
    assert MARGIN > 1
    with pytest.raises(InputError):
        choose([GOOD], {"only": exact}, CONFIG, target_fps=25)
    assert isinstance(choose([GOOD], {"only": exact}, CONFIG, target_fps=25 / MARGIN), Plan)
