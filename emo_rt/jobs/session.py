"""A bundle that is ready to make videos: the plan chosen once, the engines loaded once, one video after another."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.cascade.schedule import ddim_timesteps
from emo_rt.engines.registry import check_runs_here, planned_backends
from emo_rt.errors import InputError, printable
from emo_rt.jobs.job import Job
from emo_rt.jobs.provenance import (
    Provenance,
    check_beside,
    metadata,
    plan_facts,
    plan_of,
    sign,
    write_beside,
)
from emo_rt.jobs.request import AUTO, GenerationOptions, Request, Source
from emo_rt.jobs.sinks import OnProgress, ResumableSink, Sink, StreamingSink, fill
from emo_rt.jobs.timing import Timing, counted_frames
from emo_rt.media.credentials import Signature
from emo_rt.planning.cost_cache import cache_file
from emo_rt.planning.costs import Costs, cost_of, picture_seconds
from emo_rt.planning.planner import Plan, choose
from emo_rt.planning.presets import Preset, read_presets
from emo_rt.planning.rate_control import RateControl

#: Seconds of video that are worth keeping when a run is stopped before its end.
WORTH_KEEPING = 60
#: Number of clips that tell what a machine can sustain.
CLIPS_TO_JUDGE = 20
#: Seconds in which a clip of a live face is made at most, so that it answers within half a second: before a clip, there
#: must be voice for as long as it takes.
CLIP_SECONDS = 0.15
#: The sampling that costs least: its mouths follow the voice as well as those of many steps, its pictures are softer.
FEWEST_STEPS = Sampling(1, 1.0, 0)
#: Share by which a prediction may be off without a word.
TOLERANCE = 0.15


@dataclass(frozen=True)
class Result:
    """A finished video; `str(result)` is one line that reports it.

    Attributes:
        out: file of the video
        frames: number of its frames
        frames_per_second: rate at which it plays
        target_fps: frames per second by which clips count as late; None if nobody watches while it is made
        timing: when this run wrote which clip; an earlier run that it went on from does not count
    """

    out: Path
    frames: int
    frames_per_second: int
    target_fps: float | None
    timing: Timing

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return self.frames / self.frames_per_second

    def __str__(self) -> str:
        return (
            f"{self.out}: {counted_frames(self.frames)}, {self.seconds:.2f} s of video in {self.timing.seconds:.2f} s; "
            f"{self.timing.report(self.target_fps)}"
        )


class Session:
    """Makes videos with a bundle, one after another, with engines that load once.

    Example:
        session = emo_rt.Session(emo_rt.Bundle.load(emo_rt.DEFAULT_BUNDLE))
        result = session.make(emo_rt.Request(Path("me.jpg"), Path("hello.wav"), Path("hello.mp4")))

    Args:
        bundle: verified bundle
        options: how the videos are generated
        signature: signer of the videos; None to leave them unsigned
        provenance: whether to write beside each video what it was made from, as JSON
        verbose: whether to show the plan, a progress bar and what changes on stderr
        plan: plan of all videos, where another machine has chosen it; None to choose one here
        cascade: what makes the clips in the place of engines on this machine; None to load these

    Attributes:
        around: what videos get in the place of the loaded engines, for a process that shares them with others

    Raises:
        InputError: for a backend that does not run here, or steps that the bundle does not have.
        BundleError: if the bundle's presets cannot be read.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: GenerationOptions | None = None,
        signature: Signature | None = None,
        *,
        provenance: bool = False,
        verbose: bool = False,
        plan: Plan | None = None,
        cascade: Cascade | None = None,
    ) -> None:
        self.bundle, self.options = bundle, options or GenerationOptions()
        self.around: Callable[[Cascade], Cascade] = lambda cascade: cascade
        self.signature, self.provenance, self.verbose = signature, provenance, verbose
        self._given_plan, self._given_cascade = plan, cascade
        if self.options.backend != AUTO:
            check_runs_here(self.options.backend)
        if any(value is not None for value in self.options.sampling):
            self.presets = [Preset(Sampling.of(bundle.config, *self.options.sampling))]
        else:
            self.presets = read_presets(bundle)
        for preset in self.presets:
            ddim_timesteps(bundle.noise_schedule, preset.sampling.steps)
        self._loading = threading.Lock()  # engines load once, whichever threads ask for them
        self._cascades: dict[str, Cascade] = {}
        self._plans: dict[tuple[int, int], Plan] = {}

    def make(
        self,
        request: Request,
        *,
        resume: bool | None = None,
        on_progress: OnProgress = lambda done, total: None,
    ) -> Result:
        """Makes a video.

        Args:
            request: what is asked for
            resume: whether to go on from an earlier run that was stopped, and to keep the finished clips if this one
                is; None to go on, but keep clips only of a video of `WORTH_KEEPING` seconds or more
            on_progress: called before the first clip and after each one with the number of frames that are done, and
                of all of them, None while the voice still comes; an exception that it raises stops the video there

        Raises:
            InputError: for whatever the user can put right. A note on it, as on a KeyboardInterrupt, says whether the
                same request goes on from the clips that are done.
        """
        if self.provenance and not request.streamed:
            check_beside(request.out)
        source = Source(request, self.bundle.config, self._say)
        if source.canvas and source.canvas.scaled:
            self._say(f"{request.image} is scaled down to {' x '.join(map(str, source.size))} pixels")
        if request.streamed:
            return self._stream(request, source, on_progress)
        return self._keep(request, source, resume, on_progress)

    def _stream(self, request: Request, source: Source, on_progress: OnProgress) -> Result:
        if self.signature or self.provenance:
            raise InputError(f"output {request.out}: a fragmented MP4 cannot be signed or have a JSON beside it")
        plan = self.plan(source.size, predicted=False)
        with StreamingSink(request.out, source, metadata(request, self.bundle, plan)) as sink:
            timing = self._fill(sink, request, source, plan, on_progress)
        return self._result(request, sink.progress.frames, timing)

    def _keep(self, request: Request, source: Source, resume: bool | None, on_progress: OnProgress) -> Result:
        assert source.frames is not None
        long = source.frames >= WORTH_KEEPING * self.bundle.config.frames_per_second
        provenance = Provenance.of(request, self.bundle, self.options)
        with Job(request.out, source.frames, keep=long if resume is None else resume) as job:
            plan = None if resume is False else self._earlier_plan(job, provenance)
            plan = plan or self._begin(job, provenance, source)
            sink = ResumableSink(job, source, metadata(request, self.bundle, plan))
            timing = self._fill(sink, request, source, plan, on_progress)
            facts = provenance.facts(self.bundle, plan, job.progress.frames)
            if self.signature is not None:
                sign(self.signature, job.video, request.out.name, facts)
            job.finish()
            if self.provenance:
                write_beside(request.out, facts)
        return self._result(request, job.progress.frames, timing)

    def _earlier_plan(self, job: Job, provenance: Provenance) -> Plan | None:
        """Goes on from an earlier run and returns its plan; None if there was none, or nothing of it can be used."""
        facts = job.earlier()
        if facts and (different := provenance.differences(facts)):
            raise InputError(
                f"output {job.out}: {job.directory} holds {counted_frames(job.progress.frames)} made with another "
                f"{' and '.join(different)}; give the same, or start over with --no-resume (resume=False in Python)"
            )
        plan = plan_of(facts.get("plan")) if facts else None
        latents = job.progress.motion_latents
        if plan is None or latents is None or latents.shape != self._motion_latents_shape:
            if facts or job.damaged:
                self._say(f"what is in {job.directory} is damaged: starting over")
            return None
        check_runs_here(plan.backend)
        damaged = f"clips in {job.directory} are damaged: " if job.damaged else ""
        self._say(f"{damaged}going on after {counted_frames(job.progress.frames)}")
        job.go_on()
        return plan

    @property
    def _motion_latents_shape(self) -> tuple[int, ...]:
        config = self.bundle.config
        return config.motion_frames, *config.latents_shape[1:]

    def _begin(self, job: Job, provenance: Provenance, source: Source) -> Plan:
        plan = self.plan(source.size, predicted=False)
        job.start({**asdict(provenance), "plan": plan_facts(plan)})
        return plan

    def _fill(self, sink: Sink, request: Request, source: Source, plan: Plan, on_progress: OnProgress) -> Timing:
        cascade = self.around(self.cascade(plan.backend))
        for each in (plan, *plan.faster):
            cascade.prepare(each.sampling)
        if source.stream.live:
            cascade.warm_up(plan.sampling)
        rate_control = RateControl(plan, self.options.target_fps or 0.0, self._say)
        timing = fill(sink, request, source, cascade, rate_control, bar=self.verbose, on_progress=on_progress)
        # A live voice comes, and the viewer of a fragmented MP4 takes it, no faster than it plays.
        # Time that went into pasting says little of what clips cost.
        if not (request.streamed or rate_control.changed or source.canvas):
            self._judge(plan, timing)
        return timing

    def _judge(self, plan: Plan, timing: Timing) -> None:
        """Says if a long run was not as fast as predicted. The costs stay: the same command has the same plan."""
        if math.isnan(plan.frames_per_second) or len(timing.written) < CLIPS_TO_JUDGE:
            return
        predicted, happened = plan.frames_per_second, timing.sustained_fps
        if abs(predicted / happened - 1) > TOLERANCE:
            self._say(
                f"{predicted:.1f} frames per second were predicted, {happened:.1f} came; "
                f"to measure this machine again and plan anew, delete {cache_file()}"
            )

    def _result(self, request: Request, frames: int, timing: Timing) -> Result:
        rate = self.bundle.config.frames_per_second
        watched = self.options.target_fps or (float(rate) if request.streamed else None)
        return Result(request.out, frames, rate, watched, timing)

    def plan(self, size: tuple[int, int] | None = None, *, predicted: bool = True) -> Plan:
        """The plan of all videos of one size, chosen when it is first asked for.

        Args:
            size: width and height of the videos, pixels; None for those of the generated square
            predicted: whether to measure this machine also where there is nothing to choose, for the prediction alone

        Raises:
            InputError: if no plan does what the options ask for.
        """
        if self._given_plan is not None:
            return self._given_plan
        size = size or (self.bundle.config.resolution, self.bundle.config.resolution)
        known = self._plans.get(size)
        if known is None or (predicted and math.isnan(known.frames_per_second)):
            plan = self._choose(size, predicted)
            # Without a target there is nothing to hold, and so nothing to fall back to.
            self._plans[size] = plan if self.options.target_fps else replace(plan, faster=())
            with self._loading:
                for backend in set(self._cascades) - {plan.backend}:
                    del self._cascades[backend]
            self._say(f"plan: {plan}{self._shortfall(plan)}")
        return self._plans[size]

    def live_plan(self, clip_seconds: float = CLIP_SECONDS) -> Plan:
        """The plan of a live face, with the engines of all videos: the best preset that makes clips in time.

        Where none does, it is `FEWEST_STEPS`, if the options leave the sampling open.

        Args:
            clip_seconds: seconds in which a clip is made
        """
        config, backend = self.bundle.config, self.plan(predicted=False).backend
        costs = self._costs([backend], (config.resolution, config.resolution))
        asked = any(value is not None for value in self.options.sampling)
        presets = self.presets if asked else [*self.presets, Preset(FEWEST_STEPS)]
        try:
            return choose(presets, costs, config, max_latency=clip_seconds)
        except InputError:
            return choose(presets, costs, config, quality="fast")

    def _choose(self, size: tuple[int, int], predicted: bool) -> Plan:
        options = self.options
        backends = planned_backends() if options.backend == AUTO else [options.backend]
        one_preset = len(self.presets) == 1 or options.quality == "best"
        chosen = len(backends) == 1 and one_preset and not (options.target_fps or options.max_latency)
        if chosen and not predicted:
            return Plan(backends[0], self.presets[0])
        return choose(
            self.presets,
            self._costs(backends, size),
            self.bundle.config,
            quality=options.quality,
            target_fps=options.target_fps,
            max_latency=options.max_latency,
        )

    def _shortfall(self, plan: Plan) -> str:
        wanted = self.bundle.config.frames_per_second
        options = self.options
        behind = options.quality == "balanced" and not options.target_fps and plan.frames_per_second < wanted
        return f" at most: slower than the {wanted} that it plays at" if behind else ""

    def _costs(self, backends: list[str], size: tuple[int, int]) -> dict[str, Costs]:
        """The costs of videos of one size by backend."""
        with tqdm(
            backends,
            desc="measuring this machine, once",
            unit="engine",
            leave=False,
            delay=0.5,
            disable=not self.verbose,
        ) as bar:
            costs = {
                backend: cost_of(self.bundle, backend, self.options.threads, lambda: self._engines(backend))  # noqa: B023
                for backend in bar
            }
        seconds = picture_seconds(self.bundle.config, size)
        return {backend: cost.with_picture(seconds) for backend, cost in costs.items()}

    def cascade(self, backend: str) -> Cascade:
        """What makes clips with a backend: its engines, loaded when they are first asked for, or what was given."""
        return self._given_cascade or self._engines(backend)

    def _engines(self, backend: str) -> Cascade:
        with self._loading:
            if backend not in self._cascades:
                self._cascades[backend] = Cascade.load(self.bundle, backend, self.options.threads)
            return self._cascades[backend]

    def _say(self, line: str) -> None:
        """Writes a line to stderr, above a progress bar if there is one."""
        if self.verbose:
            tqdm.write(printable(line), file=sys.stderr)
