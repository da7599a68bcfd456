"""Options of command lines that say how videos are generated, for every command that generates some."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial

from emo_rt.engines.registry import BACKENDS
from emo_rt.jobs.parsing import MAX_THREADS, parse_guidance_scale, parse_threads, parse_whole
from emo_rt.jobs.request import AUTO, GenerationOptions
from emo_rt.planning.planner import QUALITIES

#: `add_argument` of a parser or of a group of one.
AddArgument = Callable[..., argparse.Action]


def add_plan_options(add: AddArgument) -> None:
    """Adds what the plan is chosen by: `--quality`, `--backend` and `--threads`."""
    quality = "best: however slow; balanced: plays while it is made; fast: the fastest (default: %(default)s)"
    add("--quality", choices=QUALITIES, default="balanced", help=quality)
    backend = "what runs the graphs (default: the fastest that is installed)"
    add("--backend", choices=[AUTO, *sorted(BACKENDS)], default=AUTO, help=backend)
    threads = f"CPU threads, 1 to {MAX_THREADS} (default: one per core)"
    add("--threads", type=partial(parse_threads, name="--threads"), help=threads)


def add_sampling_options(add: AddArgument) -> None:
    """Adds what replaces the plan's preset: steps and guidance."""
    steps = "denoising steps per clip: more is slower and finer (default: the plan's)"
    add("--steps", type=partial(parse_whole, name="--steps", smallest=1), help=steps)
    guidance = "how strictly the video follows the voice, 0 to 20; 1 is no guidance (default: the bundle's)"
    add("--guidance-scale", type=partial(parse_guidance_scale, name="--guidance-scale"), metavar="SCALE", help=guidance)
    guided = "guide only the first STEPS steps (default: the plan's)"
    add("--guided-steps", type=partial(parse_whole, name="--guided-steps", smallest=0), metavar="STEPS", help=guided)
    cached = "make every Nth step a full one; the others reuse its deep features (default: the plan's)"
    add("--cache-interval", type=partial(parse_whole, name="--cache-interval", smallest=1), metavar="N", help=cached)


def generation_options(options: argparse.Namespace) -> GenerationOptions:
    """The generation options that a command line gives; what it has no option for is as without it."""
    names = [field.name for field in dataclasses.fields(GenerationOptions) if hasattr(options, field.name)]
    return GenerationOptions(**{name: getattr(options, name) for name in names})
