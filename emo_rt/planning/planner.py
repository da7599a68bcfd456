"""Chooses how a video is made: the best quality that this machine makes fast enough, by what clips cost here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.planning.costs import Costs
from emo_rt.planning.presets import Preset

#: A plan must promise this much more than is asked for: no two runs take the same time.
MARGIN = 1.1
QUALITIES = ("best", "balanced", "fast")


@dataclass(frozen=True)
class Plan:
    """How a video is made.

    Attributes:
        backend: a key of `emo_rt.engines.registry.BACKENDS`.
        offer: how clips are denoised.
        frames_per_second: predicted, of a long video; NaN where nothing was.
        first_frame: predicted seconds until the first clip is there, engines loaded; or NaN.
        faster: what to fall back to, fastest last, with the predicted frames per second.
    """

    backend: str
    offer: Preset
    frames_per_second: float = math.nan
    first_frame: float = math.nan
    faster: tuple[tuple[Sampling, float], ...] = ()

    def __str__(self) -> str:
        return f"{self.backend}, {self.offer}: {self.frames_per_second:.1f} frames per second"


def choose(
    offered: Sequence[Preset],
    costs: Mapping[str, Costs],
    config: RuntimeConfig,
    *,
    quality: str = "balanced",
    target_fps: float | None = None,
    max_latency: float | None = None,
) -> Plan:
    """The first of the offers, each with the backend that makes it fastest, that does what is asked for.

    Args:
        offered: best first.
        costs: of each backend.
        quality: the best whatever it takes, the best that plays while it is made, or the fastest; the last two give
            the fastest where nothing else would do.
        target_fps: frames per second that the plan must promise, whatever the quality.
        max_latency: seconds to the first frame that it must promise, engines loaded.

    Raises:
        InputError: if nothing reaches a target; says what comes nearest.
    """
    plans = [_plan(offer, costs, config) for offer in offered]
    fastest = max(plans, key=lambda plan: plan.frames_per_second)
    wanted = target_fps or (config.frames_per_second if quality == "balanced" else 0)
    fit = [plan for plan in plans if plan.frames_per_second >= wanted * MARGIN]
    if target_fps is not None and not fit:
        most = math.floor(10 * fastest.frames_per_second / MARGIN) / 10
        raise InputError(
            f"target fps is {target_fps:g}: this machine makes at most {most:g} ({fastest.backend}, "
            f"{fastest.offer.sampling}); choose that or less"
        )
    if max_latency is not None:
        soon = [plan for plan in fit or [fastest] if plan.first_frame * MARGIN <= max_latency]
        if not soon:
            least = math.ceil(100 * min(plan.first_frame for plan in fit or [fastest]) * MARGIN) / 100
            raise InputError(
                f"max latency is {max_latency:g} s: this machine takes at least {least:g} s to the first frame; "
                "choose that or more"
            )
        fit = soon
    best = fastest if quality == "fast" and target_fps is None else (fit or [fastest])[0]
    slower_to_faster = sorted(plans, key=lambda plan: plan.frames_per_second)
    return replace(
        best,
        faster=tuple(
            (plan.offer.sampling, plan.frames_per_second)
            for plan in slower_to_faster
            if plan.backend == best.backend and plan.frames_per_second > best.frames_per_second
        ),
    )


def _plan(offer: Preset, costs: Mapping[str, Costs], config: RuntimeConfig) -> Plan:
    backend, cost = min(costs.items(), key=lambda item: item[1].clip_seconds(offer.sampling))
    frames_per_second = config.clip_frames / cost.clip_seconds(offer.sampling)
    return Plan(backend, offer, frames_per_second, cost.first_frame(offer.sampling))
