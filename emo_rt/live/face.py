"""A face that listens: voice is pushed as it comes, and a frame with its sound is taken for every moment.

While nobody speaks it idles. When somebody does, short clips begin as soon as there is voice for their first frames and
`LOOK_AHEAD` more; what the voice will be after that is taken as silence. Voice that is there in advance makes longer
clips. Frames that are made but not taken can be dropped at any time, since each keeps the latents to go on from.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import InputError
from emo_rt.live.clip_maker import ClipMaker
from emo_rt.live.frame import LiveFrame, LivePose
from emo_rt.live.idle import IdleLoop
from emo_rt.live.voice_queue import VoiceFrame, VoiceQueue
from emo_rt.media.boxes import Box

#: Frames of voice after the last frame of a clip that must be there before the clip begins. With 2 the mouth follows
#: the voice as well as with all the voice that the model would see: docs/live.md has the figures.
LOOK_AHEAD = 2
#: Frames before the voice at which a clip begins, where the voice is known so early: mouths open before they sound.
BEFORE_VOICE = 2
#: Frames of silence after which a face idles.
UNTIL_IDLE = 10
#: Frames in which a face fades from speech to idling: at the end of its speech, and when it is interrupted.
FADE, FADE_INTERRUPTED = 5, 2
#: Frames that a face waits before it answers, for each that shares the engines, so that no later clip is late.
SLACK = 1
#: Seconds within which a clip of the idle loop is needed.
IDLE_DUE = 2.0
#: Seconds without voice after which a voice that was not ended counts as silent.
STARVED = 0.12
#: Marks that may wait to be played.
MOST_MARKS = 1000


@dataclass(frozen=True)
class _Task:
    """A clip to generate: from the poses and the voice before it, for the next frames of voice."""

    generation: int
    before: Sequence[LiveFrame]
    voice: Sequence[VoiceFrame]
    hop: int  # frames that are kept
    begins: bool  # whether speech begins with it
    slack: int = 0
    silent: bool = False  # whether it is for the idle loop


@dataclass
class _State:
    """What changes under the lock."""

    ready: deque[LiveFrame] = field(default_factory=deque)  # made, and not taken
    recent: deque[LiveFrame] = field(default_factory=deque)  # taken
    marks: list[tuple[int, str]] = field(default_factory=list)  # position in the sound, and name
    played_until: int = 0  # position in the sound
    generation: int = 0  # how often everything was dropped
    speaking: bool = False  # whether the ready frames go on
    beginning: bool = False  # whether the clip with which speech begins is being made
    heard: float | None = None  # when a voice began that is not answered
    working: bool = False  # whether a clip is being made
    silent_frames: int = 0  # silent frames at the end of those that are made
    last_push: float = 0.0
    ended: bool = True


class LiveFace:
    """A portrait that speaks whatever voice is pushed; a context manager, whose thread makes the frames.

    Example:
        with LiveFace(cascade, portrait, face_box, sampling) as face:
            face.push(sound)
            frame = face.take()  # 25 times a second

    Args:
        cascade: loaded engines
        portrait: portrait, RGB uint8 (R, R, 3)
        face_box: face in the portrait, pixels
        sampling: how clips are denoised
        sound_rate: sample rate of the sound that is pushed, Hz
        real_time: whether the voice comes from somebody who speaks now: then pauses make up for what came late;
            otherwise every pause is as long as it was pushed
        seed: seed of the noise, 0 to 2**64 - 1
        speed: speed of the head, degrees per frame; None for the bundle's default
        sharing: gives the number of faces, this one included, that may need the engines at the same time

    Attributes:
        late: number of frames that came too late, and repeated the one before

    Raises:
        InputError: for a portrait, a face box, a speed or a sample rate that cannot be used.
        BundleError: on entering or from any method, if the engines fail.
    """

    def __init__(
        self,
        cascade: Cascade,
        portrait: np.ndarray,
        face_box: Box,
        sampling: Sampling,
        *,
        sound_rate: int = 48000,
        real_time: bool = False,
        seed: int = 0,
        speed: float | None = None,
        sharing: Callable[[], int] = lambda: 1,
    ) -> None:
        self.config, self.real_time, self.late = cascade.config, real_time, 0
        self._maker = ClipMaker(cascade, portrait, face_box, sampling, seed, speed)
        self._sharing = sharing
        self._voice, self._idle, self._state = VoiceQueue(self.config, sound_rate), IdleLoop(), _State()
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="live face", daemon=True)

    def __enter__(self) -> LiveFace:
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: len(self._idle) or self._error or self._closed)
            self._raise_error()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    @property
    def frame_seconds(self) -> float:
        """Seconds that a frame is shown."""
        return 1 / self.config.frames_per_second

    @property
    def speaking(self) -> bool:
        """Whether a voice is being spoken, or about to be."""
        return self._state.speaking or self._state.beginning

    @property
    def busy(self) -> bool:
        """Whether there is voice that is not said, or a mouth that is not closed."""
        state = self._state
        return bool(state.ready or state.speaking or state.beginning or self._voice.first_loud() is not None)

    @property
    def sound_rate(self) -> int:
        """Sample rate of the sound, Hz."""
        return self._voice.sound_rate

    @property
    def ahead(self) -> int:
        """Number of frames that are made and not taken."""
        return len(self._state.ready)

    @property
    def due(self) -> float:
        """When the clip that is being made is needed, seconds on the clock of `time.monotonic`."""
        wait = self.ahead * self.frame_seconds if self.speaking else IDLE_DUE
        return time.monotonic() + wait

    @property
    def waiting(self) -> int:
        """Number of frames of voice for which no picture is made yet."""
        return len(self._voice)

    def push(self, sound: np.ndarray) -> None:
        """Appends sound to the voice: mono, floating-point (samples,), -1 to 1."""
        with self._changed:
            self._raise_error()
            self._voice.push(sound)
            now = self._state.last_push = time.monotonic()
            self._state.ended = False
            if self._state.heard is None and not self.speaking and self._voice.first_loud() is not None:
                self._state.heard = now
            self._changed.notify_all()

    def end(self) -> None:
        """Says that nothing more of this utterance comes: its last frames need not wait for it."""
        with self._changed:
            self._voice.complete()
            self._state.ended = True
            self._changed.notify_all()

    def mark(self, name: str) -> None:
        """Names the end of what was pushed; the frame with which that is played has the name in `played`.

        Raises:
            InputError: if `MOST_MARKS` wait already.
        """
        with self._changed:
            if len(self._state.marks) >= MOST_MARKS:
                raise InputError(f"{MOST_MARKS} marks wait to be played; set fewer")
            self._state.marks.append((self._voice.pushed, name))

    def clear(self) -> None:
        """Drops all voice that is not played, and goes back to idling at once."""
        with self._changed:
            state = self._state
            self._voice.clear()
            state.generation += 1
            if state.speaking or state.ready:
                state.ready.clear()
                self._fade(FADE_INTERRUPTED, state.recent[-1].pose if state.recent else None)
            state.speaking, state.beginning, state.heard = False, False, None
            state.played_until = self._voice.pushed
            self._changed.notify_all()

    def take(self) -> LiveFrame:
        """The frame to show now; never waits for one that is not finished."""
        with self._changed:
            self._raise_error()
            state = self._state
            if state.ready:
                frame = state.ready.popleft()
            elif state.speaking:
                self.late += state.working
                pose = state.recent[-1].pose
                frame = LiveFrame(pose, self._voice.silence(), speaking=True, late=state.working)
            else:
                frame = LiveFrame(self._idle.next(), self._quiet_voice())
            answered = None
            if frame.speaking and state.heard is not None:
                answered, state.heard = time.monotonic() - state.heard, None
            state.played_until = max(state.played_until, frame.voice.end)
            played = tuple(name for at, name in state.marks if at <= state.played_until)
            state.marks = [(at, name) for at, name in state.marks if at > state.played_until]
            frame = replace(frame, played=played, answered=answered)
            state.recent.append(frame)
            while len(state.recent) > max(self._maker.around, self.config.motion_frames):
                state.recent.popleft()
            self._changed.notify_all()
            return frame

    def _quiet_voice(self) -> VoiceFrame:
        """The voice of an idle frame: the next of it, if that is silent and no clip is to begin with it."""
        loud = self._voice.first_loud()
        free = len(self._voice) if loud is None else loud - BEFORE_VOICE
        if self._state.beginning or free < 1:
            return self._voice.silence()
        if self.real_time:
            for _ in range(free - BEFORE_VOICE):
                self._voice.next()
        return self._voice.next()

    def _fade(self, count: int, pose: LivePose | None) -> None:
        """Lets ready frames fade from a pose to idling."""
        if pose is not None:
            self._idle.go_to(pose.place)
            for each in self._idle.fade_from(pose, count):
                self._state.ready.append(LiveFrame(each, self._quiet_voice()))

    def _work(self) -> None:
        """Makes clips until the face is closed."""
        try:
            self._maker.prepare()
            while (task := self._wait_for_task()) is not None:
                poses = self._maker.make(task.before, task.voice)[: task.hop]
                self._deliver(task, poses)
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _wait_for_task(self) -> _Task | None:
        with self._changed:
            while not self._closed:
                if (task := self._next_task()) is not None:
                    self._state.working = True
                    return task
                self._changed.wait(self.frame_seconds / 2)
        return None

    def _next_task(self) -> _Task | None:
        """The clip to make now; None if there is none."""
        state = self._state
        if not len(self._idle):
            return self._idle_task()
        if state.speaking:
            if state.silent_frames >= UNTIL_IDLE and not self._speech_within(BEFORE_VOICE):
                state.speaking = False
                self._fade(FADE, self._made()[-1].pose)
                return None
            return self._speech_task() if len(state.ready) <= self._clip_length() else None
        if self._speech_within(self._clip_length() + BEFORE_VOICE):
            return self._speech_task(begins=True)
        if len(self._idle) < self._maker.idle_frames:
            return self._idle_task()
        return None

    def _made(self) -> list[LiveFrame]:
        return [*self._state.recent, *self._state.ready]

    def _speech_within(self, frames: int) -> bool:
        """Whether somebody speaks in the next frames of voice."""
        loud = self._voice.first_loud()
        return loud is not None and loud <= frames

    def _clip_length(self) -> int:
        """The number of frames that are shown while a clip is made."""
        return self._maker.length(self._sharing())

    def _idle_task(self) -> _Task:
        before = [LiveFrame(pose, self._voice.silence()) for pose in self._idle.last(self.config.motion_frames)]
        hop = min(self.config.clip_frames, self._maker.idle_frames - len(self._idle))
        return _Task(self._state.generation, before, [], hop, begins=False, silent=True)

    def _speech_task(self, *, begins: bool = False) -> _Task | None:
        """The next clip of speech, if there is enough voice for it."""
        state, voice = self._state, self._voice
        skipped = max((voice.first_loud() or 0) - BEFORE_VOICE, 0) if begins else 0
        known, most = len(voice) - skipped, self.config.clip_frames
        hop = min(known - LOOK_AHEAD, most)
        if hop < min(max(self._clip_length(), 2), most):
            starved = state.ended or time.monotonic() - state.last_push > STARVED
            if not starved:
                return None
            if known < most:
                voice.pad(min(most - known, UNTIL_IDLE))
            hop = min(len(voice) - skipped, most)
        before = self._made()
        if begins:
            state.beginning = True
            for _ in range(skipped):
                state.ready.append(LiveFrame(self._idle.next(), voice.next()))
            coming = self._idle.coming(max(self._clip_length() - skipped, 0))
            before = [*self._made(), *(LiveFrame(pose, voice.silence()) for pose in coming)]
        slack = SLACK * self._sharing() if begins and known < most + LOOK_AHEAD else 0
        return _Task(state.generation, before, list(voice), hop, begins, slack)

    def _deliver(self, task: _Task, poses: Sequence[LivePose]) -> None:
        """Makes the frames of a finished clip ready, unless they were dropped while it was made."""
        with self._changed:
            state = self._state
            state.working = False
            if task.silent:
                self._idle.add(poses)
            elif task.generation == state.generation:
                if task.begins:
                    state.speaking, state.beginning, state.silent_frames = True, False, 0
                    state.ready.extend(LiveFrame(self._idle.next(), self._voice.silence()) for _ in range(task.slack))
                for pose in poses:
                    voice = self._voice.next()
                    state.silent_frames = state.silent_frames + 1 if voice.silent else 0
                    state.ready.append(LiveFrame(pose, voice, speaking=True))
            self._changed.notify_all()
