"""The plan is the best quality that is fast enough, by costs that are measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_bundle import CONFIG

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import BundleError, InputError
from emo_rt.planning import costs
from emo_rt.planning.costs import Costs, cost_of
from emo_rt.planning.planner import MARGIN, Plan, choose
from emo_rt.planning.presets import Preset, read_presets
from emo_rt.planning.rate_control import WINDOW, RateControl

BEST, GOOD, POOR = (Preset(Sampling(*counts)) for counts in ((8, 2.0, 8), (4, 2.0, 4), (4, 2.0, 1)))
OFFERED = [BEST, GOOD, POOR]
# 4 frames at 25 per second: 0.16 s
SLOW, FAST = Costs(0.1, 0.02, 0.02, 0.04, 0.01, 0.02), Costs(0.2, 0.02, 0.01, 0.02, 0.005, 0.01)


def test_costs_add_up() -> None:
    assert SLOW.clip_seconds(POOR.sampling) == pytest.approx(0.02 + 0.04 + 3 * 0.02)
    assert SLOW.first_frame(POOR.sampling) == pytest.approx(0.22)
    cached = Sampling(6, 2.0, 4, 3)
    assert cached.graphs == [
        *("guided_backbone", "cached_guided_backbone", "cached_guided_backbone", "guided_backbone"),
        *("backbone", "cached_backbone"),  # no deep features without guidance are there yet
    ]
    assert SLOW.clip_seconds(cached) == pytest.approx(0.02 + 2 * 0.04 + 2 * 0.02 + 0.02 + 0.01)


@pytest.mark.parametrize(
    ("wishes", "backend", "offer"),
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
def test_the_best_that_is_fast_enough(wishes: dict[str, float], backend: str, offer: Preset) -> None:
    plan = choose(OFFERED, {"slow": SLOW, "fast": FAST}, CONFIG, **wishes)  # type: ignore[arg-type]
    assert (plan.backend, plan.offer) == (backend, offer)


def test_another_engine_may_be_the_fastest_for_other_steps() -> None:
    by_clip, by_step = Costs(0, 0.0, 0.1, 0.1, 0.1, 0.1), Costs(0, 0.5, 0.01, 0.01, 0.01, 0.01)
    plans = [choose([offer], {"a": by_clip, "b": by_step}, CONFIG, quality="best") for offer in (BEST, POOR)]
    assert [plan.backend for plan in plans] == ["b", "a"]


def test_what_cannot_be_held_is_said_with_what_can() -> None:
    with pytest.raises(InputError, match=r"target fps is 1000: .* at most 51\.9 \(fast, 4 steps, 1 guided\)"):
        choose(OFFERED, {"slow": SLOW, "fast": FAST}, CONFIG, target_fps=1000)
    assert choose(OFFERED, {"fast": FAST}, CONFIG, target_fps=51.9).offer == POOR
    with pytest.raises(InputError, match=r"max latency is 0.01 s: .* at least 0\.3 s"):
        choose(OFFERED, {"fast": FAST}, CONFIG, max_latency=0.01)
    assert choose(OFFERED, {"fast": FAST}, CONFIG, max_latency=0.3).offer == POOR
    behind = choose(OFFERED, {"slow": Costs(0, 1, 1, 1, 1, 1)}, CONFIG)
    assert behind.offer.sampling.steps == 4
    assert behind.frames_per_second < CONFIG.frames_per_second


def test_a_plan_knows_what_to_fall_back_to() -> None:
    plan = choose(OFFERED, {"slow": SLOW, "fast": FAST}, CONFIG, quality="best")
    assert [sampling for sampling, _ in plan.faster] == [GOOD.sampling, POOR.sampling]
    assert choose(OFFERED, {"fast": FAST}, CONFIG, quality="fast").faster == ()


def test_offers_are_the_bundles_measured_ones_or_its_own(bundle: Path, tmp_path: Path) -> None:
    own = read_presets(Bundle.load(bundle))
    assert [str(offer) for offer in own] == ["3 steps, all guided", "3 steps, 1 guided"]
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    row = {"steps": 9, "guidance_scale": 3.0, "guided_steps": 2, "cache_interval": 3, "psnr": 31.25, "sync": 0.8125}
    (copy / "presets.json").write_text(json.dumps({"presets": [row]}))
    (measured,) = read_presets(Bundle.load(copy))
    assert measured == Preset(Sampling(9, 3.0, 2, 3), 0.8125)
    assert str(measured) == "9 steps, 2 guided, 1 in 3 whole (mouth r = 0.81)"
    for text in ("{}", "[]", "{", json.dumps({"presets": [{**row, "guided_steps": 10}]})):
        (copy / "presets.json").write_text(text)
        with pytest.raises(BundleError, match=r"offers\.json cannot be read"):
            read_presets(Bundle.load(copy))


def test_costs_are_measured_once_for_a_machine_and_a_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load() -> Cascade:
        loaded.append("engines")
        return Cascade.load(fake, threads=1)

    fake = Bundle.load(bundle)
    first = cost_of(fake, "onnxruntime", 1, load)
    assert first.clip_seconds(GOOD.sampling) > 0
    assert cost_of(fake, "onnxruntime", 1, load) == first
    assert len(loaded) == 1
    cost_of(fake, "onnxruntime", 2, load)
    monkeypatch.setattr(costs, "_processor", lambda: "another")
    cost_of(fake, "onnxruntime", 1, load)
    monkeypatch.undo()
    other = Bundle(fake.directory, replace(fake.manifest, name="retrained"))
    cost_of(other, "onnxruntime", 1, load)
    assert len(loaded) == 4
    costs.cache_file().write_text("{ torn")
    cost_of(fake, "onnxruntime", 1, load)
    assert len(loaded) == 5


def test_a_machine_that_slows_is_given_less_to_do_and_more_when_it_is_back() -> None:
    now, lines = 0.0, []
    plan = choose(OFFERED, {"fast": FAST}, CONFIG, target_fps=25)
    assert plan.offer == GOOD
    pace = RateControl(plan, 25, lines.append, clock=lambda: now)

    def clips(count: int, slowness: float) -> None:
        nonlocal now
        for _ in range(count):
            now += slowness * FAST.clip_seconds(pace())
            pace.wrote(CONFIG.clip_frames)

    clips(10, 1.0)
    assert pace() == GOOD.sampling
    clips(WINDOW + 1, 1.7)
    assert pace() == POOR.sampling
    assert lines == ["23.5 frames per second, slower: on with 4 steps, 1 guided"]
    clips(10, 1.7)
    assert pace() == POOR.sampling
    clips(10, 1.0)
    assert pace() == GOOD.sampling
    assert len(lines) == 2
    clips(50, 3.0)
    assert pace() == POOR.sampling  # there is nothing faster
    assert len(lines) == 3


def test_a_plan_promises_more_than_is_asked_for() -> None:
    exact = Costs(0, CONFIG.clip_frames / 25, 0, 0, 0, 0)
    assert MARGIN > 1
    with pytest.raises(InputError):
        choose([GOOD], {"only": exact}, CONFIG, target_fps=25)
    assert isinstance(choose([GOOD], {"only": exact}, CONFIG, target_fps=25 / MARGIN), Plan)
