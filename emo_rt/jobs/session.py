"""A bundle that is ready to make videos: the plan chosen once, the engines loaded once, one video after another."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from tqdm import tqdm

from emo_rt.bundle import Bundle, file_sha256
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.cascade.schedule import ddim_timesteps
from emo_rt.engines.registry import available_backends, check_runs_here
from emo_rt.errors import InputError
from emo_rt.jobs.animate import animate
from emo_rt.jobs.job import Job
from emo_rt.jobs.request import AUTO, GenerationOptions, Request, Source
from emo_rt.jobs.timing import Timing
from emo_rt.media.credentials import Signature
from emo_rt.media.video import explained
from emo_rt.planning.costs import Costs, correct, cost_of
from emo_rt.planning.planner import Plan, choose
from emo_rt.planning.presets import Preset, read_presets
from emo_rt.planning.rate_control import RateControl

#: Seconds of video that are worth keeping when a run is stopped before its end.
WORTH_KEEPING = 60
#: Clips that tell what a machine can sustain, and how much a prediction may be off, as a share, without a word.
CLIPS_TO_JUDGE, TOLERANCE = 20, 0.15


class Stopped(InputError):
    """A run that was stopped, and can be gone on with."""


class Session:
    """Makes videos with a bundle.

    Args:
        signature: signs them, unless they grow.
        provenance: writes beside each video what it was made of, as JSON.

    Raises:
        InputError: for a backend that does not run here, or steps that the bundle does not have.
    """

    def __init__(
        self, bundle: Bundle, wishes: GenerationOptions, signature: Signature | None = None, provenance: bool = False
    ) -> None:
        self.bundle, self.wishes, self.signature, self.provenance = bundle, wishes, signature, provenance
        if wishes.backend != AUTO:
            check_runs_here(wishes.backend)
        if any(value is not None for value in wishes.sampling):
            self.offered = [Preset(Sampling.of(bundle.config, *wishes.sampling))]
        else:
            self.offered = read_presets(bundle)
        for offer in self.offered:
            ddim_timesteps(bundle.noise_schedule, offer.sampling.steps)
        self._cascades: dict[str, Cascade] = {}
        self._plan: Plan | None = None

    def cascade(self, backend: str) -> Cascade:
        """The engines of a backend."""
        if backend not in self._cascades:
            self._cascades[backend] = Cascade.load(self.bundle, backend, self.wishes.threads)
        return self._cascades[backend]

    def plan(self) -> Plan:
        """How the videos are made; said on stderr when it is chosen.

        Raises:
            InputError: if no plan does what is wished.
        """
        if self._plan is None:
            self._plan = choose(
                self.offered,
                self._costs(),
                self.bundle.config,
                quality=self.wishes.quality,
                target_fps=self.wishes.target_fps,
                max_latency=self.wishes.max_latency,
            )
            for backend in set(self._cascades) - {self._plan.backend}:
                del self._cascades[backend]
            say(f"plan: {self._plan}{self._shortfall(self._plan)}")
        return self._plan

    def _shortfall(self, plan: Plan) -> str:
        wanted = self.bundle.config.frames_per_second
        behind = self.wishes.quality == "balanced" and not self.wishes.target_fps and plan.frames_per_second < wanted
        return f" at most: slower than the {wanted} that it plays at" if behind else ""

    def _costs(self) -> dict[str, Costs]:
        backends = available_backends() if self.wishes.backend == AUTO else [self.wishes.backend]
        with tqdm(backends, desc="measuring this machine, once", unit="engine", leave=False, delay=0.5) as bar:
            return {
                backend: cost_of(self.bundle, backend, self.wishes.threads, lambda: self.cascade(backend))  # noqa: B023
                for backend in bar
            }

    def make(self, request: Request, *, resume: bool | None = None) -> str:
        """Makes a video; returns what it says in the end.

        Args:
            resume: go on with an earlier run that was stopped, and keep what is done if this one is; None to keep it
                only where it is worth it.

        Raises:
            InputError: for whatever the user can put right.
            Stopped: if the run can be gone on with.
        """
        source = Source(request, self.bundle.config)
        if request.growing:
            if self.signature or self.provenance:
                raise InputError(f"output {request.out}: a video that grows cannot be signed or have a JSON beside it")
            timing = self._animate(request, source, self.plan(), None)
            return self._closing(request, sum(timing.frames), timing)
        assert source.frames is not None, "a voice that is still coming needs an MP4 that grows"
        made_of = self._made_of(request)
        with Job(request.out) as job:
            earlier = None if resume is False else self._plan_of(job, made_of)
            try:
                plan = earlier or self.plan()
                if not earlier:
                    job.start({**made_of, "plan": {"backend": plan.backend, **asdict(plan.sampling)}})
                timing = self._animate(request, source, plan, job)
                facts = self._facts(request, plan, job.progress.frames)
                if self.signature is not None:
                    signed = job.directory / "signed.mp4"
                    self.signature.sign(job.video, signed, request.out.name, facts)
                    signed.replace(job.video)
                job.finish()
            except BaseException as error:
                long = source.frames >= WORTH_KEEPING * self.bundle.config.frames_per_second
                if not job.progress.clips or not (long if resume is None else resume):
                    job.discard()
                elif isinstance(error, (InputError, KeyboardInterrupt)):
                    raise Stopped(
                        f"{'stopped' if isinstance(error, KeyboardInterrupt) else error}; {job.progress.frames} of "
                        f"{source.frames} frames are done, and the same command goes on from there"
                    ) from error
                raise
        if self.provenance:
            facts["sha256"] = file_sha256(request.out)
            with explained(request.out):
                request.out.with_name(f"{request.out.name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        return self._closing(request, job.progress.frames, timing)

    def _facts(self, request: Request, plan: Plan, frames: int) -> dict[str, Any]:
        """What the video was made of and how: JSON."""
        made_of = self._made_of(request)
        del made_of["plan options"]
        return {
            "generator": "emo-rt",
            **{name.replace(" ", "_"): value for name, value in made_of.items()},
            "model": self.bundle.manifest.name,
            "frames": frames,
            "plan": {"backend": plan.backend, **asdict(plan.sampling)},
        }

    def _made_of(self, request: Request) -> dict[str, Any]:
        """What decides over every pixel, by the words that a refusal says it with."""
        box = request.face_box
        return {
            "picture": file_sha256(request.image),
            "voice": file_sha256(request.audio),
            "face box": None if box is None else list(asdict(box).values()),
            "bundle": self.bundle.digest,
            "seed": request.seed,
            "speed": request.speed,
            "plan options": asdict(self.wishes),
            "version": version("emo-rt"),
        }

    def _plan_of(self, job: Job, made_of: Mapping[str, Any]) -> Plan | None:
        """The plan of an earlier run that can be gone on with; None if there was none."""
        found = job.made_of()
        job.resume()
        if found is None or not job.progress.clips:
            return None
        if different := [name for name, value in made_of.items() if found.get(name) != value]:
            raise InputError(
                f"output {job.out}: {job.directory} holds {job.progress.frames} frames made with another "
                f"{' and '.join(different)}; give the same, or --no-resume to start over"
            )
        backend, *sampling = found["plan"].values()
        check_runs_here(backend)
        say(f"going on after {job.progress.frames} frames")
        return Plan(backend, Preset(Sampling(*sampling)))

    def _animate(self, request: Request, source: Source, plan: Plan, job: Job | None) -> Timing:
        target = self.wishes.target_fps
        sampling = RateControl(plan, target, say) if target and plan.faster else plan.sampling
        cascade = self.cascade(plan.backend)
        for each in (plan, *plan.faster) if isinstance(sampling, RateControl) else (plan,):
            cascade.prepare(each.sampling)
        if source.stream.live:
            cascade.warm_up(plan.sampling)
        timing = animate(request, source, cascade, sampling, self.metadata(request, plan), job)
        # A live voice comes, and who watches a growing video takes it, as slowly as it plays.
        if not request.growing and not (isinstance(sampling, RateControl) and sampling.changed):
            self._learn(plan, timing)
        return timing

    def _learn(self, plan: Plan, timing: Timing) -> None:
        """Later plans count on what a long run took: costs were measured within seconds, and machines have moods."""
        if math.isnan(plan.frames_per_second) or len(timing.written) < CLIPS_TO_JUDGE:
            return
        predicted, happened = plan.frames_per_second, timing.sustained_fps
        correct(self.bundle, plan.backend, self.wishes.threads, math.sqrt(predicted / happened))
        if abs(predicted / happened - 1) > TOLERANCE:
            say(f"{predicted:.1f} frames per second were predicted, {happened:.1f} came: later plans count on that")

    def metadata(self, request: Request, plan: Plan) -> dict[str, str]:
        """What the file says of itself."""
        return {
            "title": f"{request.image.stem} speaking",
            "comment": (
                f"Generated by emo-rt {version('emo-rt')} from a picture and a voice; this was never filmed. "
                f"Model {self.bundle.manifest.name}, bundle {self.bundle.digest[:16]}, seed {request.seed}, "
                f"{plan.backend}, {plan.sampling}."
            ),
        }

    def _closing(self, request: Request, frames: int, timing: Timing) -> str:
        fps = self.bundle.config.frames_per_second
        report = timing.report(self.wishes.target_fps or fps)
        return f"{request.out}: {frames} frames, {frames / fps:.2f} s of video in {timing.seconds:.2f} s; {report}"


def say(line: str) -> None:
    """Writes a line to stderr, above a progress bar if there is one."""
    tqdm.write(line, file=sys.stderr)
