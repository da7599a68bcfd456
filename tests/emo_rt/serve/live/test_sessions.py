from __future__ import annotations

from dataclasses import replace

import pytest
from fake_bundle import CONFIG

from emo_rt.cascade.sampling import Sampling
from emo_rt.planning.planner import Plan
from emo_rt.planning.presets import Preset
from emo_rt.serve.live.sessions import MOST, rated_sessions


@pytest.mark.parametrize(("clip_seconds", "sessions"), [(0.1, 2), (0.04, 5), (0.3, 1), (0.4, 0), (1e-6, 13)])
def test_sessions_are_rated_by_the_share_of_time_that_each_takes(clip_seconds: float, sessions: int) -> None:
    plan = Plan("onnxruntime", Preset(Sampling(1, 1.0, 0)), first_frame=clip_seconds)
    assert rated_sessions(plan, replace(CONFIG, clip_frames=12)) == min(sessions, MOST)
