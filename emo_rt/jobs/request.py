"""What a user asks for: a video, and how it is generated."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade.audio import frame_count
from emo_rt.cascade.prefetch import prefetch
from emo_rt.errors import InputError
from emo_rt.jobs.parsing import check_number, check_positive, check_seed, check_threads, shown
from emo_rt.limits import MAX_SPEED
from emo_rt.media.boxes import Box
from emo_rt.media.framing import CROP, FRAMINGS, ORIGINAL, Canvas
from emo_rt.media.inputs import is_pipe
from emo_rt.media.pipe import STDIN
from emo_rt.media.portrait import read_picture
from emo_rt.media.sound import AudioStream
from emo_rt.media.video import STDOUT, check_output
from emo_rt.planning.planner import QUALITIES

AUTO = "auto"


@dataclass(frozen=True)
class Request:
    """One video to make.

    Example:
        request = emo_rt.Request(Path("me.jpg"), Path("hello.wav"), Path("hello.mp4"), seed=3)

    Attributes:
        image: picture file with a face
        audio: sound file; a named pipe, or STDIN, for a voice that comes through it
        out: MP4 file to write, or STDOUT for a pipe
        face_box: the face in pixels of the picture; None to detect it
        face: number of the face that is detected, counted from the left, from 1; None for the largest
        seed: seed of the noise, 0 .. 2**64 - 1
        speed: speed of the head, degrees per frame; None for the bundle's own
        fragmented: whether to write an MP4 that plays while it grows, as pipes always need
        framing: what the video shows, one of `emo_rt.media.framing.FRAMINGS`: `crop` for the square around the face,
            `original` for the whole picture, with that square pasted back into it
        audio_track: number of the track of sound, from 1; None for the file's default
        max_seconds: seconds of the voice after which the video ends; None for all of it

    Raises:
        InputError: for a seed, a speed or a number of seconds out of range, both a face box and the number of a
            face, or an unknown framing.
    """

    image: Path
    audio: Path
    out: Path
    face_box: Box | None = None
    seed: int = 0
    speed: float | None = None
    fragmented: bool = False
    face: int | None = None
    framing: str = CROP
    audio_track: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed, f"seed {shown(self.seed)}")
        if self.speed is not None:
            check_number(self.speed, f"speed {shown(self.speed)}", MAX_SPEED)
        if self.max_seconds is not None:
            check_positive(self.max_seconds, f"max seconds {shown(self.max_seconds)}")
        if self.face is not None and self.face_box is not None:
            raise InputError(f"face {self.face} and a face box are both given: give one of them")
        if self.framing not in FRAMINGS:
            raise InputError(f"framing {self.framing!r} is unknown: choose {' or '.join(FRAMINGS)}")

    @property
    def streamed(self) -> bool:
        """Whether the MP4 plays while it grows: `fragmented`, or through a pipe."""
        return self.fragmented or self.out == STDOUT or self.audio == STDIN or is_pipe(self.audio)


@dataclass(frozen=True)
class GenerationOptions:
    """How videos are generated; None leaves a choice to the plan.

    Example:
        options = emo_rt.GenerationOptions(backend="onnxruntime", steps=8)

    Attributes:
        backend: key of `emo_rt.engines.registry.BACKENDS`, or AUTO for the fastest that runs here
        threads: number of CPU threads; None for one per core
        quality: `best`, `balanced` or `fast`, see `emo_rt.planning.planner.choose`
        target_fps: frames per second to hold
        max_latency: largest number of seconds until the first frame
        steps: number of DDIM steps per clip
        guidance_scale: scale of classifier-free guidance; 1 is no guidance
        guided_steps: number of steps that are guided, the first ones
        cache_interval: number of steps from one full step to the next

    Raises:
        InputError: for an unknown quality, or a number out of range. `Session` checks what depends on the bundle.
    """

    backend: str = AUTO
    threads: int | None = None
    quality: str = "balanced"
    target_fps: float | None = None
    max_latency: float | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    guided_steps: int | None = None
    cache_interval: int | None = None

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise InputError(f"quality {self.quality!r} is unknown: choose {', '.join(QUALITIES)}")
        if self.threads is not None:
            check_threads(self.threads, f"threads {shown(self.threads)}")
        for name, value in (("target fps", self.target_fps), ("max latency", self.max_latency)):
            if value is not None:
                check_positive(value, f"{name} {shown(value)}")

    @property
    def sampling(self) -> tuple[int | None, float | None, int | None, int | None]:
        """Steps, guidance scale, guided steps and cache interval, as `Sampling.of` takes them."""
        return self.steps, self.guidance_scale, self.guided_steps, self.cache_interval


class Source:
    """The portrait and the voice of a request, read and checked.

    Args:
        request: what is asked for
        config: config of the bundle that makes it
        say: called with a line that says which face was taken, if there are several, or what is odd about the voice

    Attributes:
        config: config of the bundle that they are for
        portrait: RGB uint8 (R, R, 3)
        face_box: the face in pixels of the portrait
        canvas: the picture that frames are pasted into; None for a video of the square alone
        stream: sound of the voice
        frames: number of frames of the video; None while the voice is still coming

    Raises:
        InputError: if an input cannot be read, no face is found, the face is too small for the framing, or the output
            is no place for a video.
    """

    def __init__(self, request: Request, config: RuntimeConfig, say: Callable[[str], None] = lambda _: None) -> None:
        if any(_is_same_file(request.out, path) for path in (request.image, request.audio)):
            raise InputError(f"output {request.out}: is one of the inputs; give another output")
        check_output(request.out, streamed=request.streamed)
        if request.audio == STDIN and sys.stdin is None:
            raise InputError(f"audio {request.audio}: standard input is closed; give it a pipe, or name a file")
        self.config = config
        picture = read_picture(request.image, config, request.face_box, face=request.face, say=say)
        self.portrait, self.face_box = picture.portrait(config.resolution)
        self.canvas: Canvas | None = None
        if request.framing == ORIGINAL:
            self.canvas = Canvas(picture.image, picture.crop, picture.face_box, str(request.image))
        # In a thread: it waits for what comes through a pipe, and there Ctrl-C would reach FFmpeg, which drops it.
        with closing(prefetch(_opened(request, config.sample_rate, say))) as opened:
            self.stream = next(opened)
        live = self.stream.live
        self.frames = None if live else frame_count(self.stream.voice_samples(), config.samples_per_frame)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the video, pixels."""
        return self.canvas.size if self.canvas else (self.config.resolution, self.config.resolution)

    def framed(self, squares: np.ndarray) -> Iterable[np.ndarray]:
        """What the video shows of generated frames, RGB uint8 (k, R, R, 3): those, or the picture with them in it."""
        return self.canvas.paste(squares) if self.canvas else squares


def _opened(request: Request, sample_rate: int, say: Callable[[str], None]) -> Iterator[AudioStream]:
    yield AudioStream(request.audio, sample_rate, track=request.audio_track, max_seconds=request.max_seconds, say=say)


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them does not exist, or its name cannot
        return False
