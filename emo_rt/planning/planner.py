"""The planner: chooses the best preset that this machine is fast enough for, by the costs of clips on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.planning.costs import Costs
from emo_rt.planning.presets import Preset

#: Factor by which a plan must be faster than asked for: no two runs take the same time.
MARGIN = 1.1
#: Seconds that a clip takes at least, whatever was measured.
SHORTEST = 1e-6
QUALITIES = ("best", "balanced", "fast")


@dataclass(frozen=True)
class Plan:
    """How a video is made.

    Attributes:
        backend: name of the backend, a key of `emo_rt.engines.registry.BACKENDS`
        preset: preset that clips are denoised with
        frames_per_second: predicted speed of a long video; NaN without a prediction
        first_frame: predicted seconds until the first clip is written, engines loaded; NaN without a prediction
        faster: faster plans with the same backend to fall back to, the fastest one last
    """

    backend: str
    preset: Preset
    frames_per_second: float = math.nan
    first_frame: float = math.nan
    faster: tuple[Plan, ...] = ()

    @property
    def sampling(self) -> Sampling:
        """How clips are denoised."""
        return self.preset.sampling

    def __str__(self) -> str:
        predicted = "" if math.isnan(self.frames_per_second) else f": {self.frames_per_second:.1f} frames per second"
        return f"{self.backend}, {self.preset}{predicted}"


def choose(
    presets: Sequence[Preset],
    costs: Mapping[str, Costs],
    config: RuntimeConfig,
    *,
    quality: str = "balanced",
    target_fps: float | None = None,
    max_latency: float | None = None,
) -> Plan:
    """Chooses the first preset that meets what is asked for, with the backend that is fastest at it.

    Args:
        presets: presets of the bundle, best first
        costs: costs of clips by backend
        config: facts of the model
        quality: `best` takes the first preset at any speed, `balanced` the first one that plays while it is made, and
            `fast` the fastest; where no preset is fast enough, `balanced` takes the fastest, too
        target_fps: frames per second that the plan must reach, whatever the quality; None for no such target
        max_latency: seconds to the first frame that the plan must keep to, engines loaded; None for no such limit

    Raises:
        InputError: if no preset reaches a target; the message says what comes nearest.
    """
    plans = [_fastest_plan(preset, costs, config) for preset in presets]
    fastest = max(plans, key=lambda plan: plan.frames_per_second)
    wanted = target_fps or (config.frames_per_second if quality == "balanced" else 0)
    fit = [plan for plan in plans if plan.frames_per_second >= wanted * MARGIN]
    if target_fps is not None and not fit:
        most = math.floor(10 * fastest.frames_per_second / MARGIN) / 10
        raise InputError(
            f"target fps is {target_fps:g}: this machine makes at most {most:g} ({fastest.backend}, "
            f"{fastest.sampling}); choose that or less"
        )
    fit = fit or [fastest]
    if max_latency is not None:
        soon = [plan for plan in fit if plan.first_frame * MARGIN <= max_latency]
        if not soon:
            least = math.ceil(100 * min(plan.first_frame for plan in fit) * MARGIN) / 100
            raise InputError(
                f"max latency is {max_latency:g} s: this machine takes at least {least:g} s to the first frame; "
                "choose that or more"
            )
        fit = soon
    best = fastest if quality == "fast" and target_fps is None else fit[0]
    same_backend = [plan for plan in plans if plan.backend == best.backend]
    faster = [plan for plan in same_backend if plan.frames_per_second > best.frames_per_second]
    return replace(best, faster=tuple(sorted(faster, key=lambda plan: plan.frames_per_second)))


def _fastest_plan(preset: Preset, costs: Mapping[str, Costs], config: RuntimeConfig) -> Plan:
    """The plan for a preset with the backend that is fastest at it."""
    backend, cost = min(costs.items(), key=lambda item: item[1].clip_seconds(preset.sampling))
    frames_per_second = config.clip_frames / max(cost.clip_seconds(preset.sampling), SHORTEST)
    return Plan(backend, preset, frames_per_second, cost.first_frame(preset.sampling))
