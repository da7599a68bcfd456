"""Rate control holds the frame rate with faster presets."""

from __future__ import annotations

from fake_bundle import CONFIG

from emo_rt.cascade.sampling import Sampling
from emo_rt.planning.costs import Costs
from emo_rt.planning.planner import choose
from emo_rt.planning.presets import Preset
from emo_rt.planning.rate_control import WINDOW, RateControl

PRESETS = BEST, GOOD, POOR = [Preset(Sampling(*counts)) for counts in ((8, 2.0, 8), (4, 2.0, 4), (4, 2.0, 1))]
# 4 frames at 25 per second: 0.16 s
FAST = Costs(0.2, 0.02, 0.01, 0.02, 0.005, 0.01)


def test_a_machine_that_slows_is_given_less_to_do_and_more_when_it_is_back() -> None:
    now, lines = 0.0, []
    plan = choose(PRESETS, {"fast": FAST}, CONFIG, target_fps=25)
    assert plan.preset == GOOD
    control = RateControl(plan, 25, lines.append, clock=lambda: now)

    def clips(count: int, slowness: float) -> None:
        nonlocal now
        for _ in range(count):
            now += slowness * FAST.clip_seconds(control())
            control.wrote(CONFIG.clip_frames)

    clips(10, 1.0)
    assert control() == GOOD.sampling
    clips(WINDOW + 1, 1.7)
    assert control() == POOR.sampling
    assert lines == ["23.5 frames per second, slower: on with 4 steps, 1 guided"]
    clips(10, 1.7)
    assert control() == POOR.sampling
    clips(10, 1.0)
    assert control() == GOOD.sampling
    assert len(lines) == 2
    clips(50, 3.0)
    assert control() == POOR.sampling  # there is nothing faster
    assert len(lines) == 3
