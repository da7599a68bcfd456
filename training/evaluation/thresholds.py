"""The thresholds that a model of talking faces must reach, each beside its control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.clips.rates import FRAMES_PER_SECOND
from training.evaluation.evaluation import Evaluation
from training.evaluation.experiments import Endurance, RegionResponse, SpeedResponse
from training.evaluation.sync_report import ClosedLips, OpeningSync, Recognition, SyncReport
from training.evaluation.video_measures import AgainstRenders

#: The least number of videos of held-out people for a verdict.
NEEDED_VIDEOS = 50

#: The least length of each of them, in seconds.
NEEDED_SECONDS = 5.0


@dataclass(frozen=True)
class Threshold:
    """One row of the table: what must be reached, and what was.

    Attributes:
        quantity: what is measured.
        required: values that pass.
        measured: measured value.
        control: what the value is to be compared with.
        passed: whether the value, and where it is required the control, passes; None if nothing was measured.
    """

    quantity: str
    required: str
    measured: str = "not measured"
    control: str = "-"
    passed: bool | None = None


def thresholds(evaluation: Evaluation) -> list[Threshold]:
    """The rows for all that an evaluation measures; those of an experiment that was left out are not measured."""
    sync, family = evaluation.sync, evaluation.voice_family
    return [
        _sync("mouth opening against truth", sync.opening, 0.85),
        _lips(sync.lips),
        _sync("another synthesizer's voices", family.opening if family else None, 0.7),
        _identity(sync.identity),
        *_speed(evaluation.speeds),
        *_region(sync.face_in_region, evaluation.regions),
        _borders(sync.border_ratio),
        *_long(evaluation.long),
        _blinks(sync.blinks_per_minute),
    ]


def threshold_table(rows: Sequence[Threshold]) -> str:
    """Plain text: a line for each row, with `ok` or `FAIL` before what was measured."""
    marks = {True: "ok", False: "FAIL", None: ""}
    cells = [("", "quantity", "measured", "required", "control")]
    cells += [(marks[row.passed], row.quantity, row.measured, row.required, row.control) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def evaluation_summary(evaluation: Evaluation) -> str:
    """Plain text: how much was generated, the table of thresholds, and the lip sync of groups."""
    sync = evaluation.sync
    seconds = sync.frames / FRAMES_PER_SECOND
    lines = [f"{sync.videos} videos of {seconds:g} s, {evaluation.steps} steps"]
    if sync.videos < NEEDED_VIDEOS or seconds < NEEDED_SECONDS:
        lines.append(f"a trial, no verdict: that takes {NEEDED_VIDEOS} videos of {NEEDED_SECONDS:g} s or more")
    return "\n".join([*lines, threshold_table(thresholds(evaluation)), *_groups(sync)])


def _groups(sync: SyncReport) -> list[str]:
    return [
        f"{kind} {name}: {group.videos} videos, r = {group.correlation:.2f}, "
        f"lips closed {'-' if group.lips_closed is None else f'{group.lips_closed:.0%}'}"
        for kind, groups in (("language", sync.by_language), ("style", sync.by_style), ("sound", sync.by_sound))
        for name, group in groups.items()
    ]


def _sync(quantity: str, opening: OpeningSync | None, needed: float) -> Threshold:
    required = f"r >= {needed}; control <= 0.15"
    if not opening:
        return Threshold(quantity, required)
    read, control = opening.best_lag_correlation, opening.control_best_lag
    measured = f"r = {read:.2f} at lag {opening.best_lag}"
    passed = read >= needed and control <= 0.15
    return Threshold(quantity, required, measured, f"another sentence {control:.2f}", passed)


def _lips(lips: ClosedLips) -> Threshold:
    control = f"another sentence {_percent(lips.control)}, renders {_percent(lips.renders)}"
    return _share("lips closed on p, b, m", 0.9, lips.generated, control)


def _identity(identity: Recognition) -> Threshold:
    control = f"renders {_percent(identity.share.renders)}, chance {_percent(identity.chance)}"
    return _share(f"portrait is the nearest of {identity.people}", 0.95, identity.share.generated, control)


def _speed(speeds: SpeedResponse | None) -> list[Threshold]:
    rank = Threshold("head speed asked and measured", "rho >= 0.9")
    spread = Threshold("sync at all these speeds", "range <= 0.05")
    if not speeds:
        return [rank, spread]
    rho, sync_range = speeds.rank_correlation, speeds.sync_range
    span = f"{speeds.measured[0]:.2f} to {speeds.measured[-1]:.2f} degrees per frame"
    sync = f"r = {min(speeds.sync):.2f} to {max(speeds.sync):.2f}"
    return [
        replace(rank, measured=f"rho = {rho:.2f}", control=span, passed=rho >= 0.9),
        replace(spread, measured=f"range {sync_range:.3f}", control=sync, passed=sync_range <= 0.05),
    ]


def _region(inside: AgainstRenders, regions: RegionResponse | None) -> list[Threshold]:
    share = _share("face centre in the face region", 0.99, inside.generated, f"renders {_percent(inside.renders)}")
    response = Threshold("face wanders less in a small region", "small < large")
    if regions:
        response = replace(
            response,
            measured=f"{regions.small:.4f} widths",
            control=f"large {regions.large:.4f} widths",
            passed=regions.small < regions.large,
        )
    return [share, response]


def _borders(ratio: AgainstRenders) -> Threshold:
    threshold = Threshold("difference across clip borders / inside", "<= 1.2")
    if ratio.generated is None:
        return threshold
    return replace(
        threshold,
        measured=f"{ratio.generated:.2f}",
        control=f"renders {ratio.renders:.2f}",
        passed=ratio.generated <= 1.2,
    )


def _long(long: Endurance | None) -> list[Threshold]:
    identity = Threshold("long video: identity, last sixth", "3 points less at most")
    sync = Threshold("long video: sync, last sixth", "0.03 less at most")
    drift = Threshold("long video: colour drift", "Delta E <= 2")
    if not long:
        return [identity, sync, drift]
    return [
        replace(
            identity,
            measured=_percent(long.identity_last),
            control=f"first sixth {_percent(long.identity_first)}",
            passed=_holds(long.identity_first, long.identity_last),
        ),
        replace(
            sync,
            measured=f"r = {long.sync_last:.2f}",
            control=f"first sixth {long.sync_first:.2f}",
            passed=_holds(long.sync_first, long.sync_last),
        ),
        replace(drift, measured=f"Delta E {long.colour_drift:.1f}", passed=long.colour_drift <= 2),
    ]


def _blinks(rate: AgainstRenders) -> Threshold:
    threshold = Threshold("blinks per minute", "5 to 40")
    if rate.generated is None:
        return threshold
    return replace(
        threshold,
        measured=f"{rate.generated:.0f}",
        control=f"renders {rate.renders:.0f}",
        passed=5 <= rate.generated <= 40,
    )


def _share(quantity: str, needed: float, share: float | None, control: str) -> Threshold:
    required = f">= {needed:.0%}"
    if share is None:
        return Threshold(quantity, required)
    return Threshold(quantity, required, _percent(share), control, share >= needed)


def _holds(first: float, last: float) -> bool:
    return last >= first - 0.03


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
