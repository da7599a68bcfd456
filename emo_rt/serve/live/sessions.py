"""The live sessions of a server: how many this machine holds, and the face of each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.concurrency import run_in_threadpool

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.cascade import Cascade
from emo_rt.errors import EmoError
from emo_rt.jobs.session import Session
from emo_rt.live.face import LiveFace
from emo_rt.live.frame import LiveFrame
from emo_rt.media.boxes import Box
from emo_rt.media.portrait import read_portrait
from emo_rt.planning.planner import Plan
from emo_rt.serve.answers import BROKEN, OVERLOADED, RATE_LIMITED, ApiError
from emo_rt.serve.live.turns import Turns

#: Share of the time that sessions may take when all of them speak.
BUSY = 0.8
#: Share of a machine's time that a session takes beside its clips: encoders and the network.
ENCODING = 0.06
#: Sessions at once at most, however fast the machine is: each has a thread and some encoders.
MOST = 32
#: Seconds after which a client that found no room asks again.
ASK_AGAIN = 10
#: Seconds by which the clock of a session may be behind before it is set anew.
BEHIND = 1.0

_log = logging.getLogger(__name__)


@dataclass
class LiveSession:
    """A client's face.

    Attributes:
        id: its name, which nobody guesses
        face: the face
        clear: interrupts it
        close: ends it; called with the reason in words
    """

    id: str
    face: LiveFace
    clear: Callable[[], None]
    close: Callable[[str], Awaitable[None]] = field(default=lambda _: asyncio.sleep(0))


class LiveSessions:
    """Opens and counts live sessions. The engines are those that videos are made with.

    Args:
        session: maker of videos
        turns: whose turn it is to run an engine
        registry: where its metrics go
        replicas: number of a cluster's replicas that make the clips; 0 if this process makes them

    Attributes:
        sessions: number of sessions that this machine holds; 0 until `prepare` has measured it
        preparing: whether `prepare` is at work
    """

    def __init__(self, session: Session, turns: Turns, registry: CollectorRegistry, replicas: int = 0) -> None:
        self.session, self.turns, self.replicas = session, turns, replicas
        self.sessions = 0
        self.preparing = True
        self._plan: Plan | None = None
        self._cascade: Cascade | None = None
        self._lock = threading.Lock()
        self._clients: list[str | None] = []  # one for each session that is open, being opened or being closed
        self._open: dict[str, LiveSession] = {}
        Gauge("emo_rt_live_sessions", "Live sessions", registry=registry).set_function(lambda: self.used)
        Gauge("emo_rt_live_rated", "Live sessions that this machine holds", registry=registry).set_function(
            lambda: self.sessions
        )
        self._frames = Counter("emo_rt_live_frames", "Frames of live sessions", registry=registry)
        self._answers = Histogram(
            "emo_rt_live_answer_seconds",
            "Seconds from the first sound of a voice to its first frame",
            buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 5),
            registry=registry,
        )
        self._late = Counter("emo_rt_live_late_frames", "Frames that repeated the last one", registry=registry)

    @property
    def used(self) -> int:
        """Number of sessions that are open, being opened or being closed."""
        return len(self._clients)

    @property
    def free(self) -> int:
        """Number of sessions that may still be opened."""
        return max(self.sessions - self.used, 0)

    def prepare(self) -> None:
        """Measures this machine, if that was not done before, and loads the engines; takes a minute the first time."""
        self.preparing = True
        try:
            plan = self.session.live_plan()
            self._cascade = self.session.cascade(plan.backend)
            self._cascade.prepare(plan.sampling)
            self._plan = plan
            self.sessions = rated_sessions(plan, self.session.bundle.config, self.replicas)
        except EmoError as error:
            _log.error("live", extra={"fields": {"error": str(error)}})
        finally:
            self.preparing = False

    def get(self, session_id: str) -> LiveSession | None:
        """The open session of this id."""
        return self._open.get(session_id)

    @contextlib.asynccontextmanager
    async def opened(
        self,
        picture: str,
        face_box: Box,
        *,
        client: str | None,
        sound_rate: int,
        real_time: bool,
        seed: int,
        speed: float | None,
    ) -> AsyncIterator[LiveSession]:
        """A session with the face of a picture file; it is closed in the end.

        Args:
            picture: path of the picture
            face_box: face in it, pixels
            client: address of the client, which may have half of the sessions; None for one that may have all
            sound_rate: sample rate of the sound, Hz
            real_time: as of `LiveFace`
            seed: seed of the noise
            speed: speed of the head, degrees per frame; None for the bundle's default

        Raises:
            ApiError: if there is no room for one more.
            InputError: if the picture or a value cannot be used.
        """
        with self._holding(client):
            session = await self._new_session(picture, face_box, sound_rate, real_time, seed, speed)
            try:
                yield session
            finally:
                del self._open[session.id]
                await run_in_threadpool(session.face.__exit__)

    @contextlib.contextmanager
    def _holding(self, client: str | None) -> Iterator[None]:
        """Room for a session of a client, from before it is opened until it is closed.

        Raises:
            ApiError: if there is none.
        """
        with self._lock:
            self._check_room(client)
            self._clients.append(client)
        try:
            yield
        finally:
            with self._lock:
                self._clients.remove(client)

    async def _new_session(
        self, picture: str, face_box: Box, sound_rate: int, real_time: bool, seed: int, speed: float | None
    ) -> LiveSession:
        face = await run_in_threadpool(self._face, picture, face_box, sound_rate, real_time, seed, speed)
        try:
            await run_in_threadpool(face.__enter__)
        except BaseException:  # also when the client goes meanwhile
            await asyncio.shield(run_in_threadpool(face.__exit__))
            raise
        session = LiveSession(f"live_{secrets.token_urlsafe(18)}", face, face.clear)
        self._open[session.id] = session
        return session

    def _check_room(self, client: str | None) -> None:
        """Raises ApiError if there is no room for one more session of a client."""
        if self.preparing:
            why = "the server measures this machine; come back in a minute"
            raise ApiError(503, why, OVERLOADED, retry_after=ASK_AGAIN)
        if self._plan is None:
            raise ApiError(501, "the engines for live sessions do not load; see the server's log", BROKEN)
        if not self.sessions:
            raise ApiError(501, "this machine is too slow for live sessions; make videos instead", OVERLOADED)
        if not self.free:
            many = f"all {self.sessions} live sessions of this machine are in use"
            raise ApiError(503, f"{many}; come back later", OVERLOADED, retry_after=ASK_AGAIN)
        own = self._clients.count(client)
        if client is not None and own >= math.ceil(self.sessions / 2):
            many = f"you have {own} of this machine's {self.sessions} live sessions"
            raise ApiError(429, f"{many}; end one, so that others find room", RATE_LIMITED, retry_after=ASK_AGAIN)

    def _face(
        self, picture: str, face_box: Box, sound_rate: int, real_time: bool, seed: int, speed: float | None
    ) -> LiveFace:
        assert self._cascade is not None
        assert self._plan is not None
        config = self._cascade.config
        portrait, box = read_portrait(picture, config, face_box)
        mine: list[LiveFace] = []
        cascade = self.turns.shared(self._cascade, lambda: mine[0].due)
        face = LiveFace(
            cascade,
            portrait,
            box,
            self._plan.sampling,
            sound_rate=sound_rate,
            real_time=real_time,
            seed=seed,
            speed=speed,
            sharing=lambda: max(math.ceil(len(self._open) / max(self.replicas, 1)), 1),
        )
        mine.append(face)
        return face

    async def frames(self, face: LiveFace) -> AsyncIterator[LiveFrame]:
        """The frames of a face, each at its time."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            frame = face.take()
            self._frames.inc()
            self._late.inc(frame.late)
            if frame.answered is not None:
                self._answers.observe(frame.answered)
            yield frame
            due += face.frame_seconds
            if clock() - due > BEHIND:
                due = clock()
            await asyncio.sleep(max(due - clock(), 0))

    async def close_all(self, reason: str) -> None:
        """Ends all sessions."""
        await asyncio.gather(*(session.close(reason) for session in [*self._open.values()]), return_exceptions=True)


def rated_sessions(plan: Plan, config: RuntimeConfig, replicas: int = 0) -> int:
    """The number of faces that may speak at the same time with a plan.

    Args:
        plan: plan of live faces
        config: facts of the model
        replicas: number of a cluster's replicas that make the clips, each as fast as planned; 0 if this process does
    """
    clips = plan.first_frame * config.frames_per_second / config.clip_frames
    if replicas:
        return min(int(BUSY * replicas / clips), int(BUSY / ENCODING), MOST)
    return min(int(BUSY / (clips + ENCODING)), MOST)
