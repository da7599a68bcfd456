"""What follows from the figures of a row, and the table of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_rt.cascade.sampling import Sampling

#: Any scale but 1, which would mean no guidance.
_GUIDANCE_SCALE = 2.0
_ONCE = ("conditions", "audio_encoder")
_TITLES = ("row", "a step", "of peak", "decoder", "once", "error", "GiB", "prepared")


def clip_samplings(few: int, many: int) -> list[Sampling]:
    """How clips are denoised whose time is worked out: all steps guided, half of them, and half of them cached too."""
    return [
        Sampling(few, _GUIDANCE_SCALE, few),
        Sampling(many, _GUIDANCE_SCALE, many),
        Sampling(many, _GUIDANCE_SCALE, many // 2),
        Sampling(many, _GUIDANCE_SCALE, many // 2, 2),
    ]


def clip_seconds(milliseconds: Mapping[str, float], samplings: list[Sampling]) -> dict[str, float]:
    """Seconds of a clip for each sampling whose graphs have been timed: steps, decoder and what is computed once."""
    extra = [milliseconds.get(graph) for graph in ("vae_decoder", *_ONCE)]
    seconds = {}
    for sampling in samplings:
        parts = [*(milliseconds.get(graph) for graph in sampling.graphs), *extra]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            seconds[str(sampling)] = sum(known) / 1e3
    return seconds


def gpu_table(result: Mapping[str, Any]) -> str:
    """The rows of all models as Markdown: times of a guided step, the decoder and once per clip in milliseconds."""
    lines = []
    for model, rows in result["models"].items():
        samplings = [str(sampling) for sampling in clip_samplings(*result["steps"])]
        titles = [*_TITLES, *(f"s/clip: {sampling}" for sampling in samplings)]
        lines += [f"### {model}", "", _line(titles), "|" + "---|" * len(titles)]
        peaks = result.get("rates", {}).get("matmul_tflops", {})
        lines += [_line([name, *_cells(figures, peaks, samplings)]) for name, figures in rows.items()]
        lines.append("")
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(figures: Mapping[str, Any], peaks: Mapping[str, float], samplings: list[str]) -> list[str]:
    """The cells of a row behind its name."""
    times = figures.get("milliseconds", {})
    step = times.get("guided_backbone", times.get("step"))
    if step is None:
        return [next((str(figures[name]) for name in ("error", "left_out", "stopped") if name in figures), "")]
    peak, work = peaks.get(figures.get("precision", "")), figures.get("step_tflop")
    errors = [
        *([f"{figures['step_error']:.1e}"] if "step_error" in figures else []),
        *([f"{figures['frames_psnr']:.1f} dB"] if "frames_psnr" in figures else []),
    ]
    clips = figures.get("clip_seconds", {})
    return [
        f"{step:.2f} ms",
        f"{work / step * 1e3 / peak:.1%}" if work and peak else "",
        f"{times['vae_decoder']:.1f} ms" if "vae_decoder" in times else "",
        f"{sum(times[graph] for graph in _ONCE):.1f} ms" if set(_ONCE) <= times.keys() else "",
        ", ".join(errors),
        f"{figures['memory_gib']:.1f}" if "memory_gib" in figures else "",
        f"{figures['prepare_seconds']:.0f} s",
        *(f"{clips[sampling]:.3f} s" if sampling in clips else "" for sampling in samplings),
    ]
