"""An avatar for frameworks of voice agents: PCM in, pictures and PCM out in time, and the end of each utterance.

Frameworks queue what they are given and play it at its pace. So frames with sound leave a little early, which keeps
the queues filled; idle ones leave at their moment, so that no queue is behind when somebody begins to speak.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import av
import numpy as np

from emo_rt.bundle import Bundle
from emo_rt.bundled import DEFAULT_BUNDLE
from emo_rt.jobs.request import GenerationOptions
from emo_rt.jobs.session import Session
from emo_rt.live.face import LiveFace
from emo_rt.live.frame import LiveFrame
from emo_rt.media.boxes import Box
from emo_rt.media.portrait import read_portrait

#: Seconds by which a frame with sound leaves before it is shown.
LEAD = 0.08
#: Seconds by which the frames may be behind before their clock is set anew; that of LiveKit's synchronizer, too.
BEHIND_QUEUES = 0.3
#: Seconds between two looks at whether an early frame is finished.
_POLL = 0.005
#: Parts of a second of which sound is a multiple: WebRTC sends 10 ms at a time.
_PARTS = 100


def load_face(
    picture: str | Path,
    *,
    bundle: str | Path = DEFAULT_BUNDLE,
    options: GenerationOptions | None = None,
    face_box: Box | None = None,
    sound_rate: int = 24000,
    seed: int = 0,
    speed: float | None = None,
) -> LiveFace:
    """Loads the engines for a live face, with the best preset that makes its clips in time.

    It takes some seconds; the first time, when it measures the machine, up to a minute. Call it in a thread.

    Args:
        picture: picture file with a face
        bundle: folder of the bundle
        options: backend, or steps where the best preset is not wanted
        face_box: the face in pixels of the picture; None to detect it
        sound_rate: sample rate of the sound that comes out, Hz
        seed: seed of the noise, 0 to 2**64 - 1
        speed: speed of the head, degrees per frame; None for the bundle's default

    Raises:
        BundleError: if the bundle cannot be used.
        InputError: if the picture or a value cannot be used.
    """
    session = Session(Bundle.load(bundle), options)
    portrait, box = read_portrait(picture, session.bundle.config, face_box)
    plan = session.live_plan()
    cascade = session.cascade(plan.backend)
    cascade.prepare(plan.sampling)
    return LiveFace(cascade, portrait, box, plan.sampling, sound_rate=sound_rate, seed=seed, speed=speed)


@dataclass(frozen=True)
class AvatarFrame:
    """A picture, and what happens with it.

    Attributes:
        picture: RGB uint8 (R, R, 3)
        due: when it is to be shown, seconds on the clock of the event loop
        sound: sound of the utterance, mono int16 (samples,); none where nothing of it is played
        said: names of the utterances that end with it
    """

    picture: np.ndarray
    due: float
    sound: np.ndarray
    said: tuple[str, ...] = ()


class Avatar:
    """A live face that hears 16-bit sound of any rate; an asynchronous context manager.

    Example:
        async with Avatar(await asyncio.to_thread(load_face, "me.jpg")) as avatar:
            avatar.hear(pcm, 24000)
            async for frame in avatar.frames(): ...

    Args:
        face: face that is not entered yet, with `real_time=False`
    """

    def __init__(self, face: LiveFace) -> None:
        self.face = face
        self._names: Callable[[], int] = itertools.count(1).__next__
        self._open: set[str] = set()  # utterances that are ended and not said
        self._heard = False  # whether an utterance is under way
        self._sounding = False  # whether sound goes on
        self._end = 0  # position of the last sound that was taken
        self._resampler: av.AudioResampler | None = None
        self._rate = face.sound_rate  # of what is heard

    async def __aenter__(self) -> Self:
        entering = asyncio.ensure_future(asyncio.to_thread(self.face.__enter__))
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            await asyncio.wait([entering])
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.face.__exit__)

    @property
    def busy(self) -> bool:
        """Whether there is something that is not said, or a mouth that is not closed."""
        return bool(self._open) or self.face.busy

    def hear(self, sound: bytes | memoryview, sample_rate: int, channels: int = 1) -> None:
        """Appends sound to the utterance: signed 16 bits, channels interleaved."""
        samples = np.frombuffer(sound, np.int16).astype(np.float32) / 32768
        mono = samples.reshape(-1, channels).mean(axis=1)
        if sample_rate != self._rate:
            self._flush()
            self._rate = sample_rate
        if sample_rate != self.face.sound_rate:
            mono = self._resampled(mono)
        self._heard = True
        self.face.push(mono)

    def end(self) -> str | None:
        """Ends the utterance.

        Returns:
            The name by which its last frame tells that it is said; None if nothing was heard since the last one.
        """
        if not self._heard:
            return None
        self._flush()
        self._heard = False
        name = str(self._names())
        self._open.add(name)
        self.face.end()
        self.face.mark(name)
        return name

    def clear(self) -> None:
        """Drops all that is not said; utterances that are dropped are never told as said."""
        self.face.clear()
        self._open.clear()
        self._heard, self._resampler = False, None

    async def frames(self) -> AsyncIterator[AvatarFrame]:
        """The frames, each at its time or, with sound, up to `LEAD` seconds before; without end."""
        clock = asyncio.get_running_loop().time
        frame = await self._next(clock())
        yield frame
        due = clock()  # a framework may open its queues for the first frame, and counts from there
        while True:
            frame = await self._next(due + self.face.frame_seconds)
            yield frame
            due = frame.due

    async def _next(self, due: float) -> AvatarFrame:
        clock = asyncio.get_running_loop().time
        await _until(due - LEAD if self._sounding else due)
        while not self.face.ahead and clock() < due:  # one that is not finished would be told as late
            await asyncio.sleep(_POLL)
        if clock() - due > BEHIND_QUEUES:
            due = clock()
        frame = self.face.take()
        sound = self._sound(frame)
        self._sounding = len(sound) == len(frame.sound)
        if not len(sound):
            await _until(due)
        said = tuple(name for name in frame.played if name in self._open)
        self._open.difference_update(said)
        return AvatarFrame(frame.picture, due, sound, said)

    def _sound(self, frame: LiveFrame) -> np.ndarray:
        """What was heard of a frame's sound, int16 (samples,), in whole parts of 10 ms."""
        if not frame.voice.end:
            return np.zeros(0, np.int16)
        part = self.face.sound_rate // _PARTS
        count = -(-(frame.voice.end - self._end) // part) * part
        self._end = frame.voice.end
        return np.clip(np.rint(frame.sound[:count] * 32768), -32768, 32767).astype(np.int16)

    def _resampled(self, mono: np.ndarray | None) -> np.ndarray:
        """Sound at the face's rate, float32 (samples,); None for the rest that the resampler holds back."""
        frame = None
        if mono is not None:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="fltp", layout="mono")
            frame.sample_rate = self._rate
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=self.face.sound_rate)
        parts = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _flush(self) -> None:
        if self._resampler is not None:
            self.face.push(self._resampled(None))
            self._resampler = None


async def _until(moment: float) -> None:
    await asyncio.sleep(max(moment - asyncio.get_running_loop().time(), 0))
