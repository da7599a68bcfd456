"""The clips of a server on a Ray cluster: replicas keep the engines and no state, behind Ray Serve.

A clip is a pure function of what it is given. So any replica makes any clip, and where one dies another one makes the
clip again: the frames are the same.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade, DenoisedClip, Turn, VideoConditions
from emo_rt.cascade.clips import Clip
from emo_rt.cascade.sampling import Sampling
from emo_rt.cluster.connection import RETRIES
from emo_rt.cluster.shared_bundle import SharedBundle
from emo_rt.engines.engine import Engine, to_numpy
from emo_rt.errors import ClusterError, EmoError, InputError, reason
from emo_rt.media.boxes import Box

#: Name of the application of Ray Serve.
APPLICATION = "emo-rt"
#: Seconds after which a replica that has not finished its clip is given up, by whoever waits and by Ray Serve.
LONGEST_CLIP = 30.0
#: Seconds from one look at a replica to the next.
LOOK = 5.0
#: Clips that may wait at a replica: more than a server ever sends, since Ray Serve is slow to ask a full one again.
AT_ONCE = 64


@dataclass(frozen=True)
class ReplicaSetup:
    """What every replica makes clips with.

    Attributes:
        bundle: the bundle
        backend: name of the backend
        threads: number of CPU threads
    """

    bundle: SharedBundle
    backend: str
    threads: int = 1


class ClipReplica:
    """The engines on a machine of the cluster. What goes wrong when they load is said to whoever asks for a clip."""

    def __init__(self, setup: ReplicaSetup) -> None:
        self._setup = setup
        self._cascade: Cascade | None = None
        self._failure: EmoError | None = None
        try:
            self._cascade = Cascade.load(setup.bundle.load(), setup.backend, setup.threads)
            self._cascade.warm_up(Sampling.of(self._cascade.config))
        except EmoError as error:
            self._failure = error

    def setup(self) -> ReplicaSetup:
        """What it makes clips with, once its engines are loaded."""
        self._ready()
        return self._setup

    def condition(self, portrait: np.ndarray, face_box: Box, speed: float, seed: int) -> VideoConditions:
        """See `Cascade.condition`."""
        video = self._ready().condition(portrait, face_box, speed, seed)
        return replace(video, reference_latents=to_numpy(video.reference_latents))

    def make(
        self,
        video: VideoConditions,
        clip: Clip,
        waveform: np.ndarray,
        motion_latents: np.ndarray,
        sampling: Sampling,
        seed: int,
        gesture_frames: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Makes a clip; see `Cascade.denoise_one`.

        Returns:
            all its latents, float32 (f, c, s, s), and the frames that the video keeps, RGB uint8 (k, R, R, 3)
        """
        cascade = self._ready()
        made = cascade.denoise_one(clip, video, waveform, motion_latents, sampling, seed, 0.0, gesture_frames)
        return to_numpy(made.latents), cascade.decode(made)

    def _ready(self) -> Cascade:
        if self._cascade is None:
            assert self._failure is not None
            raise self._failure
        return self._cascade


def application(args: dict[str, Any]) -> Any:
    """The application of Ray Serve, for a config of `serve deploy`.

    Args:
        args: `bundle`, the bundle's directory; `backend`; and `threads` of a replica, 1 unless given
    """
    bundle = SharedBundle.of(Bundle.load(Path(args["bundle"])), validated=True)
    return _application(ReplicaSetup(bundle, args["backend"], int(args.get("threads", 1))))


def _application(setup: ReplicaSetup, replicas: int = 1) -> Any:
    from ray import serve

    deployment: Any = serve.deployment(
        ClipReplica,
        num_replicas=replicas,
        max_ongoing_requests=AT_ONCE,
        ray_actor_options={"num_cpus": setup.threads},
        health_check_period_s=LOOK,
        health_check_timeout_s=LONGEST_CLIP,
        graceful_shutdown_timeout_s=LOOK,
    )
    return deployment.bind(setup)


@dataclass
class Replicas:
    """The replicas of a cluster, as whoever wants clips sees them.

    Attributes:
        ray: the package, connected
        handle: Ray Serve's handle of the deployment
        number: how many replicas there are
    """

    ray: Any
    handle: Any
    number: int

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of `ClipReplica` returns; where a replica dies or hangs, that of another one.

        Raises:
            EmoError: what the method raises.
            ClusterError: if no replica finishes it.
        """
        from ray.serve.exceptions import RayServeException

        for _ in range(1 + RETRIES):
            try:
                return getattr(self.handle, method).remote(*arguments).result(timeout_s=LONGEST_CLIP)
            except (self.ray.exceptions.RayError, RayServeException, TimeoutError) as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, EmoError):
                    raise cause from None
                if isinstance(cause, Exception):  # a fault of ours: it would be the same elsewhere
                    raise
                failure = error
        raise ClusterError(f"no replica of the cluster finished a clip in {1 + RETRIES} attempts ({reason(failure)})")


@contextlib.contextmanager
def replicas_of(ray: Any, setup: ReplicaSetup, number: int | None) -> Iterator[Replicas]:
    """Replicas on a cluster while the block lasts: those that run there already, or new ones.

    Args:
        ray: the package, connected
        setup: what they make clips with
        number: how many new ones; None for those that run, or as many as there is room for

    Raises:
        EmoError: if the cluster has no room for them, those that run make clips with something else, a replica cannot
            load the bundle, or Ray Serve is not installed.
    """
    try:
        from ray import serve
        from ray.serve.exceptions import RayServeException
    except ImportError:
        raise InputError('Ray Serve is not installed: pip install "emo-rt[ray]"') from None
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    running = _running(serve)
    if running and number is None:
        found = Replicas(ray, serve.get_app_handle(APPLICATION), running)
        if found.call("setup") != setup:
            raise InputError("the replicas that run there have another bundle, backend or version; stop them first")
        yield found
        return
    room = int(ray.cluster_resources().get("CPU", 0)) // setup.threads
    wanted = room if number is None else number
    if not 0 < wanted <= room:
        size = f"{setup.threads} CPU{'s' if setup.threads > 1 else ''}"
        raise InputError(f"the cluster has room for {room} replicas of {size}, and not for {max(wanted, 1)}")
    serve.start(proxy_location="Disabled")
    gone = RuntimeError, TimeoutError, ray.exceptions.RayError, RayServeException
    try:
        try:
            handle = serve.run(_application(setup, wanted), name=APPLICATION, route_prefix=None)
        except gone as error:
            raise InputError(f"the replicas do not start ({reason(error)})") from error
        replicas = Replicas(ray, handle, wanted)
        replicas.call("setup")
        yield replicas
    finally:
        with contextlib.suppress(*gone):
            serve.delete(APPLICATION)


def _running(serve: Any) -> int:
    """The number of replicas that run on a cluster, or are started again."""
    found = serve.status().applications.get(APPLICATION)
    if found is None or found.status in ("DELETING", "DEPLOY_FAILED"):
        return 0
    states = [each.replica_states for each in found.deployments.values()]
    return sum(number for numbers in states for state, number in numbers.items() if state != "STOPPING")


@dataclass(frozen=True)
class StoredConditions(VideoConditions):
    """The conditions of a video that lie in Ray's object store, too, where replicas find them.

    Attributes:
        reference: Ray's reference of them
    """

    reference: Any = field(repr=False, default=None)


@dataclass(frozen=True)
class MadeClip(DenoisedClip):
    """A clip that is decoded already.

    Attributes:
        frames: the frames that the video keeps, RGB uint8 (k, R, R, 3)
    """

    frames: np.ndarray


class ClusterCascade(Cascade):
    """A cascade whose clips are made by replicas.

    Args:
        bundle: the bundle that they have, too
        replicas: the replicas
        turn: block in which a clip is made, so that the most urgent one is next
    """

    def __init__(self, bundle: Bundle, replicas: Replicas, turn: Turn = contextlib.nullcontext) -> None:
        super().__init__(bundle.config, bundle.noise_schedule, _no_engine, str(bundle.directory))
        self._bundle, self._replicas, self._turn = bundle, replicas, turn

    def condition(self, portrait: np.ndarray, face_box: Box, speed: float, seed: int) -> VideoConditions:
        """See `Cascade.condition`."""
        with self._turn():
            video = self._replicas.call("condition", portrait, face_box, speed, seed)
        return StoredConditions(**vars(video), reference=self._replicas.ray.put(video))

    def denoise_one(
        self,
        clip: Clip,
        video: VideoConditions,
        waveform: np.ndarray,
        motion_latents: np.ndarray,
        sampling: Sampling,
        seed: int,
        started: float,
        gesture_frames: np.ndarray | None = None,
    ) -> MadeClip:
        """See `Cascade.denoise_one`."""
        assert isinstance(video, StoredConditions)
        given = clip, waveform, motion_latents, sampling, seed, gesture_frames
        with self._turn():
            latents, frames = self._replicas.call("make", video.reference, *given)
        return MadeClip(clip, latents, latents[-self.config.motion_frames :], started, frames)

    def decode(self, clip: DenoisedClip) -> np.ndarray:
        """The frames of a clip that the video keeps, RGB uint8 (k, R, R, 3)."""
        assert isinstance(clip, MadeClip)
        return clip.frames

    def prepare(self, sampling: Sampling) -> None:
        """Nothing: replicas load their engines when they start."""

    def in_turns(self, turn: Turn) -> ClusterCascade:
        """A cascade with the same replicas, each clip of which is in a block of `turn`."""
        return ClusterCascade(self._bundle, self._replicas, turn)


def _no_engine(name: str) -> Engine:
    raise AssertionError(f"{name}: the engines are on the cluster")
