"""The bars that a model of talking faces has to clear, each with its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What a verdict needs at least: videos of held-out people, and seconds of each.
NEEDED_VIDEOS, NEEDED_SECONDS = 50, 5.0


@dataclass(frozen=True)
class Threshold:
    """One row of the table."""

    what: str
    bar: str
    measured: str = "not measured"
    control: str = "-"
    passed: bool | None = None  # the bar and its control; None if nothing was measured


def thresholds(result: Mapping[str, Any]) -> list[Threshold]:
    """The rows of what ``training.evaluate`` has measured; of an experiment that was left out nothing was measured."""
    family = result.get("voice_family")
    return [
        _sync("mouth opening against truth", result["opening"], 0.85),
        _lips(result["lips_closed_on_p_b_m"]),
        _sync("another synthesizer's voices", family["opening"] if family else None, 0.7),
        _identity(result["identity"]),
        *_speed(result.get("speeds")),
        *_region(result["face_in_region"], result.get("regions")),
        _borders(result["borders_over_inside"]),
        *_long(result.get("long")),
        _blinks(result["blinks_per_minute"]),
    ]


def threshold_table(rows: Sequence[Threshold]) -> str:
    """Plain text: a line for each row, ``ok`` or ``FAIL`` before what was measured."""
    marks = {True: "ok", False: "FAIL", None: ""}
    cells = [("", "what", "measured", "bar", "control")]
    cells += [(marks[row.passed], row.what, row.measured, row.bar, row.control) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _sync(what: str, opening: Mapping[str, Any] | None, needed: float) -> Threshold:
    bar = f"r >= {needed}; control <= 0.15"
    if not opening:
        return Threshold(what, bar)
    read, control = opening["best_lag_correlation"], opening["control_best_lag"]
    measured = f"r = {read:.2f} at lag {opening['best_lag']}"
    return Threshold(what, bar, measured, f"another sentence {control:.2f}", read >= needed and control <= 0.15)


def _lips(lips: Mapping[str, float | None]) -> Threshold:
    control = f"another sentence {_percent(lips['control'])}, renders {_percent(lips['on_renders'])}"
    return _share("lips closed on p, b, m", 0.9, lips["share"], control)


def _identity(identity: Mapping[str, Any]) -> Threshold:
    control = f"renders {_percent(identity['nearest_of_renders'])}, chance {_percent(identity['chance'])}"
    return _share(f"portrait is the nearest of {identity['people']}", 0.95, identity["nearest"], control)


def _speed(speeds: Mapping[str, Any] | None) -> list[Threshold]:
    whats = ("head speed asked and measured", "sync at all these speeds")
    needed = ("rho >= 0.9", "range <= 0.05")
    if not speeds:
        return [Threshold(*pair) for pair in zip(whats, needed, strict=True)]
    rank, spread, slow, fast = (
        speeds["rank_correlation"], speeds["sync_range"], speeds["measured"][0], speeds["measured"][-1]
    )  # fmt: skip
    span = f"{slow:.2f} to {fast:.2f} degrees per frame"
    sync = f"r = {min(speeds['sync']):.2f} to {max(speeds['sync']):.2f}"
    return [
        Threshold(whats[0], needed[0], f"rho = {rank:.2f}", span, rank >= 0.9),
        Threshold(whats[1], needed[1], f"range {spread:.3f}", sync, spread <= 0.05),
    ]


def _region(inside: Mapping[str, float], regions: Mapping[str, Any] | None) -> list[Threshold]:
    what, bar = "face wanders less in a small region", "small < large"
    share = _share("face centre in the face region", 0.99, inside["share"], f"renders {_percent(inside['of_renders'])}")
    if not regions:
        return [share, Threshold(what, bar)]
    small, large = regions["small"], regions["large"]
    return [share, Threshold(what, bar, f"{small:.4f} widths", f"large {large:.4f} widths", small < large)]


def _borders(borders: Mapping[str, float | None]) -> Threshold:
    what, bar, ratio = "difference across clip borders / inside", "<= 1.2", borders["generated"]
    if ratio is None:
        return Threshold(what, bar)
    return Threshold(what, bar, f"{ratio:.2f}", f"renders {borders['of_renders']:.2f}", ratio <= 1.2)


def _long(long: Mapping[str, Any] | None) -> list[Threshold]:
    whats = ("long video: identity, last sixth", "long video: sync, last sixth", "long video: colour drift")
    needed = ("3 points less at most", "0.03 less at most", "Delta E <= 2")
    if not long:
        return [Threshold(*pair) for pair in zip(whats, needed, strict=True)]
    identity, sync = ((long[f"{name}_first"], long[f"{name}_last"]) for name in ("identity", "sync"))
    drift = long["colour_drift"]
    return [
        Threshold(
            whats[0], needed[0], _percent(identity[1]), f"first sixth {_percent(identity[0])}", _holds(*identity)
        ),
        Threshold(whats[1], needed[1], f"r = {sync[1]:.2f}", f"first sixth {sync[0]:.2f}", _holds(*sync)),
        Threshold(whats[2], needed[2], f"Delta E {drift:.1f}", "-", drift <= 2),
    ]


def _blinks(blinks: Mapping[str, float]) -> Threshold:
    rate = blinks["generated"]
    return Threshold(
        "blinks per minute", "5 to 40", f"{rate:.0f}", f"renders {blinks['of_renders']:.0f}", 5 <= rate <= 40
    )


def _share(what: str, needed: float, share: float | None, control: str) -> Threshold:
    bar = f">= {needed:.0%}"
    return Threshold(what, bar) if share is None else Threshold(what, bar, _percent(share), control, share >= needed)


def _holds(first: float, last: float) -> bool:
    return last >= first - 0.03


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
