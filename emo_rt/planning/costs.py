"""What clips cost on this machine, measured by making some, once, and kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import platformdirs

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.registry import BACKENDS
from emo_rt.media.boxes import Box
from emo_rt.media.video import encode_clip

#: Clips of each measurement; the first fills the stages and is not counted.
CLIPS = 5


@dataclass(frozen=True)
class Costs:
    """Seconds that clips take while all stages are at work.

    Attributes:
        start: what comes before the first clip, and after its denoising.
        clip: everything of a clip but its steps.
        backbone, guided_backbone, cached_backbone, cached_guided_backbone: a step with that graph.
    """

    start: float
    clip: float
    backbone: float
    guided_backbone: float
    cached_backbone: float
    cached_guided_backbone: float

    def clip_seconds(self, sampling: Sampling) -> float:
        """What one clip takes after another."""
        return self.clip + sum(getattr(self, graph) for graph in sampling.graphs)

    def first_frame(self, sampling: Sampling) -> float:
        """What the first clip takes until it is written, engines loaded."""
        return self.start + self.clip_seconds(sampling)


def measure_costs(cascade: Cascade) -> Costs:
    """Makes clips of noise in five ways, which tell the costs apart."""
    config = cascade.config
    portrait = np.random.default_rng(0).integers(256, size=(config.resolution, config.resolution, 3), dtype=np.uint8)
    face = Box(config.resolution // 4, config.resolution // 4, config.resolution // 2, config.resolution // 2)
    chunk = np.random.default_rng(0).standard_normal(config.samples_per_frame * config.clip_frames).astype(np.float32)

    def seconds(steps: int, guided_steps: int, cache_interval: int = 1) -> tuple[float, float]:
        """Of the first clip, and of each after it."""
        sampling = Sampling(steps, config.guidance_scale, guided_steps, cache_interval)
        clips = cascade.denoise(portrait, face, itertools.repeat(0.1 * chunk), sampling)
        times = [time.perf_counter()]
        with closing(decoded_clips(cascade, clips)) as decoded:
            for _, frames in itertools.islice(decoded, CLIPS):
                encode_clip(frames, config.frames_per_second)
                times.append(time.perf_counter())
        first, *others = np.diff(times)
        return float(first), statistics.median(others)

    seconds(1, 1)  # engines are slow at first
    first, few = seconds(2, 2)
    guided, plain, cached_guided, cached = (
        seconds(8, guided_steps, interval)[1] for interval in (1, 8) for guided_steps in (8, 0)
    )
    guided_step = max(guided - few, 0.0) / 6
    clip = max(few - 2 * guided_step, 0.0)
    plain_step = max(plain - clip, 0.0) / 8
    return Costs(
        start=max(first - few, 0.0),
        clip=clip,
        backbone=plain_step,
        guided_backbone=guided_step,
        cached_backbone=max(cached - clip - plain_step, 0.0) / 7,
        cached_guided_backbone=max(cached_guided - clip - guided_step, 0.0) / 7,
    )


def cost_of(bundle: Bundle, backend: str, threads: int | None, load: Callable[[], Cascade]) -> Costs:
    """The costs of a bundle with a backend, from the cache or measured now.

    They are measured again when the bundle, the processor, the number of cores or the backend's version changed.

    Args:
        threads: CPU threads, or None for one per core.
        load: gives the engines, if they are needed.
    """
    path = cache_file()
    key = _key(bundle, backend, threads)
    known = _read(path)
    if key not in known:
        known[key] = asdict(measure_costs(load()))
        _write({**_read(path), key: known[key]})
    return Costs(**known[key])


def correct(bundle: Bundle, backend: str, threads: int | None, factor: float) -> None:
    """Multiplies known costs by what a long run tells of them."""
    known, key = _read(cache_file()), _key(bundle, backend, threads)
    if key in known:
        _write({**known, key: {name: factor * seconds for name, seconds in known[key].items()}})


def cache_file() -> Path:
    """Where costs are kept."""
    return Path(platformdirs.user_cache_dir("emo-rt", appauthor=False)) / "costs.json"


def _write(known: Mapping[str, Mapping[str, float]]) -> None:
    path = cache_file()
    with contextlib.suppress(OSError):  # a cache that cannot be written is none
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(known, indent=1))
        temporary.replace(path)


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(path.read_text())
        return {key: value for key, value in found.items() if set(value) == {f.name for f in fields(Costs)}}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _key(bundle: Bundle, backend: str, threads: int | None) -> str:
    package = importlib.import_module(BACKENDS[backend].packages[0])
    return " | ".join(
        [
            f"{backend} {getattr(package, '__version__', '')}",
            f"{threads or len(os.sched_getaffinity(0))} of {os.cpu_count()} threads",
            _processor(),
            f"{bundle.manifest.name} {bundle.digest[:16]}",
        ]
    )


def _processor() -> str:
    """The processor's name and abilities, by which engines choose what they do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = hashlib.sha256(facts.get("flags", "").encode()).hexdigest()[:8]
    return f"{facts.get('model name', platform.machine())} {flags}"
