"""The costs of clips on this machine: measured once by making some, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from emo_rt.bundle import STEP_GRAPHS, Bundle, RuntimeConfig
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.registry import describe
from emo_rt.media.boxes import Box
from emo_rt.media.framing import Canvas
from emo_rt.media.video import encode_clip
from emo_rt.planning.cost_cache import kept_or_measured
from emo_rt.planning.own_time import Usage
from emo_rt.planning.steady import measure_steadily

#: Clips of each measured run. The first one fills the prefetch threads; the second one counts.
CLIPS_PER_RUN = 2
#: Width and height of the picture that pasting is measured with, pixels, and the side of the square in it.
PICTURE, SQUARE = (1280, 720), 480


@dataclass(frozen=True)
class Costs:
    """The seconds that clips take while prefetch keeps all threads at work.

    Attributes:
        start: seconds that the first clip takes beyond what every clip takes
        clip: seconds of a clip without its steps
        backbone: seconds of a full step without guidance
        guided_backbone: seconds of a guided full step
        cached_backbone: seconds of a cached step without guidance
        cached_guided_backbone: seconds of a guided cached step
    """

    start: float
    clip: float
    backbone: float
    guided_backbone: float
    cached_backbone: float
    cached_guided_backbone: float

    def clip_seconds(self, sampling: Sampling) -> float:
        """The seconds from one clip to the next."""
        return self.clip + sum(getattr(self, graph) for graph in sampling.graphs)

    def first_frame(self, sampling: Sampling) -> float:
        """The seconds until the first clip is written, engines loaded."""
        return self.start + self.clip_seconds(sampling)

    def with_picture(self, seconds: float) -> Costs:
        """The costs where each clip is pasted into a picture, which takes it so many seconds more.

        That work is counted in full, as if nothing ran beside it: on a machine with idle cores it costs less.
        """
        return replace(self, clip=self.clip + seconds)


def measured_runs(guidance_scale: float) -> list[Sampling]:
    """The runs whose timings tell the costs of a clip and of each step graph apart.

    Against the first run, the second tells what a guided step costs and with it what a clip costs without its steps;
    the others put one other step graph to work each.
    """
    few_steps = Sampling(2, guidance_scale, guided_steps=2)
    guided = Sampling(8, guidance_scale, guided_steps=8)
    plain = Sampling(8, guidance_scale, guided_steps=0)
    cached_guided = Sampling(8, guidance_scale, guided_steps=8, cache_interval=8)
    cached = Sampling(8, guidance_scale, guided_steps=0, cache_interval=8)
    return [few_steps, guided, plain, cached_guided, cached]


def solve_costs(runs: Sequence[Sampling], seconds: Sequence[float], first_seconds: float) -> Costs:
    """Finds the costs by which the timings of some runs add up, in the sense of least squares; none is below 0.

    Args:
        runs: samplings of the runs
        seconds: seconds from one clip to the next in each run
        first_seconds: seconds until the first clip of the first run
    """
    # Rows: the runs' clips, then the first run's first clip. Columns: how often each cost occurs in that row.
    clips = [[0, 1, *(run.graphs.count(graph) for graph in STEP_GRAPHS)] for run in runs]
    first_clip = [1, *clips[0][1:]]
    design = np.array([*clips, first_clip], float)  # (runs + 1, 2 + step graphs)
    solution, *_ = np.linalg.lstsq(design, np.array([*seconds, first_seconds]), rcond=None)
    start, clip, *steps = np.maximum(solution, 0.0).tolist()
    return Costs(start, clip, **dict(zip(STEP_GRAPHS, steps, strict=True)))


def measure_costs(cascade: Cascade) -> tuple[Costs, bool]:
    """Measures the costs of a cascade by making clips of noise.

    Returns:
        The costs, and whether they are worth keeping: two measurements agreed.
    """
    runs = measured_runs(cascade.config.guidance_scale)
    warm_up = Sampling(1, cascade.config.guidance_scale, guided_steps=1)
    _time_clips(cascade, warm_up, clips=1)  # engines are slow at first
    times, steady = measure_steadily(lambda: np.array([_time_clips(cascade, run, CLIPS_PER_RUN) for run in runs]))
    return solve_costs(runs, times[:, -1].tolist(), first_seconds=float(times[0, 0])), steady


def _time_clips(cascade: Cascade, sampling: Sampling, clips: int) -> list[float]:
    """The seconds until the first clip of noise is encoded, and from each clip to the next, alone on the machine."""
    config = cascade.config
    portrait, face, chunk = _noise_inputs(config)
    # One clip more than is timed: while a clip is decoded, the next one is denoised.
    frames_at_most = (clips + 1) * config.clip_frames
    denoised = cascade.denoise(portrait, face, itertools.repeat(chunk), sampling, max_frames=frames_at_most)
    written = [Usage.now()]
    with closing(decoded_clips(cascade, denoised)) as decoded:
        for _, frames in itertools.islice(decoded, clips):
            encode_clip(frames, config.frames_per_second)
            written.append(Usage.now())
    return [after.alone_since(before) for before, after in itertools.pairwise(written)]


def _noise_inputs(config: RuntimeConfig) -> tuple[np.ndarray, Box, np.ndarray]:
    """A portrait of noise, uint8 (R, R, 3), a face box in its middle and the voice of a clip, float32 (samples,)."""
    side = config.resolution
    portrait = np.random.default_rng(0).integers(256, size=(side, side, 3), dtype=np.uint8)
    voice = np.random.default_rng(0).standard_normal(config.samples_per_frame * config.clip_frames).astype(np.float32)
    return portrait, Box(side // 4, side // 4, side // 2, side // 2), 0.1 * voice


def picture_seconds(config: RuntimeConfig, size: tuple[int, int]) -> float:
    """The seconds that a clip takes longer because it is pasted into a picture: from the cache, or measured now.

    They grow with the number of pixels, and are those of a picture with as much detail as a photograph has.

    Args:
        config: facts of the model
        size: width and height of the picture in the video, pixels
    """
    more = size[0] * size[1] - config.resolution**2
    if more <= 0:
        return 0.0
    key = f"pasting {config.clip_frames} frames of {config.resolution} pixels | {_threads(None)} | {_processor()}"
    return kept_or_measured(key, ["pixel"], lambda: _measure_pixel(config))["pixel"] * more


def _measure_pixel(config: RuntimeConfig) -> tuple[dict[str, float], bool]:
    seconds, steady = measure_pasting(config)
    return {"pixel": seconds / (PICTURE[0] * PICTURE[1])}, steady


def measure_pasting(config: RuntimeConfig) -> tuple[float, bool]:
    """Measures the seconds in which a clip is pasted into a picture of the size `PICTURE` and encoded.

    Returns:
        The seconds, and whether they are worth keeping.
    """
    random, (width, height) = np.random.default_rng(0), PICTURE
    shapes = Image.fromarray(random.integers(256, size=(height // 24, width // 24, 3), dtype=np.uint8))
    grain = random.integers(-4, 5, size=(height, width, 3))
    image = np.clip(np.asarray(shapes.resize(PICTURE, Image.Resampling.BICUBIC)) + grain, 0, 255).astype(np.uint8)
    x, y = (width - SQUARE) // 2, (height - SQUARE) // 2
    canvas = Canvas(image, Box(x, y, SQUARE, SQUARE), Box(x + SQUARE / 4, y + SQUARE / 4, SQUARE / 2, SQUARE / 2), "")
    portrait = np.asarray(shapes.resize((config.resolution, config.resolution)))
    moving = np.stack([np.roll(portrait, frame, axis=1) for frame in range(config.clip_frames)])

    def measure() -> np.ndarray:
        before = Usage.now()
        for _ in range(CLIPS_PER_RUN):
            encode_clip(canvas.paste(moving), config.frames_per_second)
        return np.array([[Usage.now().alone_since(before)]])

    seconds, steady = measure_steadily(measure)
    return float(seconds.sum()) / CLIPS_PER_RUN, steady


def cost_of(bundle: Bundle, backend: str, threads: int | None, load: Callable[[], Cascade]) -> Costs:
    """The costs of a bundle with a backend: those in the cache, or measured now.

    They are measured again when the bundle, the processor, the number of cores or the backend's version has changed.

    Args:
        bundle: verified bundle
        backend: name of the backend, a key of `emo_rt.engines.registry.BACKENDS`
        threads: number of CPU threads; None for one per core
        load: function that loads the cascade; called only if the costs are measured
    """
    names = [field.name for field in fields(Costs)]
    key = " | ".join(
        [describe(backend), _threads(threads), _processor(), f"{bundle.manifest.name} {bundle.digest[:16]}"]
    )
    return Costs(**kept_or_measured(key, names, lambda: _measure_as_dict(load())))


def _measure_as_dict(cascade: Cascade) -> tuple[dict[str, float], bool]:
    costs, steady = measure_costs(cascade)
    return asdict(costs), steady


def _threads(threads: int | None) -> str:
    return f"{threads or _cores()} of {os.cpu_count()} threads"


def _cores() -> int | None:
    """The number of cores that this process may use; macOS and Windows know only of all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor() -> str:
    """The processor's name and instruction sets, by which backends choose their kernels."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = hashlib.sha256(facts.get("flags", "").encode()).hexdigest()[:8]
    return f"{facts.get('model name', platform.machine())} {flags}"
