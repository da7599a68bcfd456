"""One portrait and one voice into one video file, with every stage of it at work at the same time."""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emo_rt.audio import frame_count
from emo_rt.bundle import RuntimeConfig
from emo_rt.cascade import Cascade, DenoisedClip
from emo_rt.errors import InputError
from emo_rt.face import Box, crop_portrait, find_face, portrait_crop
from emo_rt.job import Job, Progress
from emo_rt.media import AudioStream, read_image
from emo_rt.pace import Pace
from emo_rt.plan import Sampling
from emo_rt.stages import decoded_clips
from emo_rt.video import STDOUT, VideoWriter, check_output, encode_clip, explained


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        image, audio: files; the audio may be STDIN.
        out: an MP4; STDOUT if it is `growing`.
        face_box: the face in the picture's pixels; None to look for it.
        speed: of the head, degrees per frame; None for the bundle's own.
        growing: the MP4 plays while it grows.
    """

    image: Path
    audio: Path
    out: Path
    face_box: Box | None = None
    seed: int = 0
    speed: float | None = None
    growing: bool = False


class Source:
    """The portrait and the voice of a request, read and checked.

    Attributes:
        portrait, face_box: as `Cascade.denoise` takes them.
        frames: of the video; None where the voice is still coming.

    Raises:
        InputError: for whatever cannot be read, or where no face is found.
    """

    def __init__(self, request: Request, config: RuntimeConfig) -> None:
        if request.out != STDOUT and request.out.resolve() in (request.image.resolve(), request.audio.resolve()):
            raise InputError(f"output {request.out}: is one of the inputs; give another --out")
        if request.out != STDOUT:
            check_output(request.out)
        image = read_image(request.image)
        face_box = _face_box(request, image)
        crop = portrait_crop((image.shape[1], image.shape[0]), face_box, config.face_fraction)
        self.portrait = crop_portrait(image, crop, config.resolution)
        self.face_box = face_box.within(crop, config.resolution)
        self.stream = AudioStream(request.audio, config.sample_rate)
        live = self.stream.live
        self.frames = None if live else frame_count(self.stream.voice_samples(), config.samples_per_frame)


def _face_box(request: Request, image: np.ndarray) -> Box:
    height, width = image.shape[:2]
    if request.face_box is None:
        return find_face(image, str(request.image))
    if not request.face_box.fits((width, height)):
        raise InputError(f"--face-box lies outside of the picture {request.image}, which has {width} x {height} pixels")
    return request.face_box


@dataclass
class Timing:
    """When the clips of a video were written.

    Attributes:
        started: when it began, on `time.perf_counter`'s clock; so are the next.
        written: when each clip was there.
        latencies: seconds from the start of each clip's denoising until it was there.
        frames: of each clip.
    """

    started: float = field(default_factory=time.perf_counter)
    written: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def add(self, clip: DenoisedClip) -> None:
        """Tells that a clip is written."""
        self.written.append(time.perf_counter())
        self.latencies.append(self.written[-1] - clip.started)
        self.frames.append(clip.clip.frames)

    @property
    def seconds(self) -> float:
        """Until the last clip was there."""
        return self.written[-1] - self.started if self.written else 0.0

    @property
    def sustained_fps(self) -> float:
        """Frames per second from the first clip on; NaN where there is but one."""
        return sum(self.frames[1:]) / (self.written[-1] - self.written[0]) if len(self.written) > 1 else math.nan

    def missed(self, target_fps: float) -> int:
        """Clips that were late, by a frame or more, for somebody who watched from the first one on."""
        due = self.written[0] + np.cumsum([0, *self.frames[:-1]]) / target_fps
        return int(np.sum(np.array(self.written) >= due + 1 / target_fps))

    def report(self, target_fps: float) -> str:
        """One line."""
        if not self.written:
            return "nothing was left to do"
        p50, p95, most = np.percentile(self.latencies, [50, 95, 100])
        first = self.written[0] - self.started
        return (
            f"{sum(self.frames) / self.seconds:.1f} frames per second, first clip after {first:.2f} s, "
            f"clips {p50:.2f} s (p95 {p95:.2f}, at most {most:.2f}), {self.missed(target_fps)} of {len(self.written)} "
            f"late at {target_fps:g} frames per second"
        )


def animate(
    request: Request,
    source: Source,
    cascade: Cascade,
    sampling: Sampling | Pace,
    metadata: Mapping[str, str],
    job: Job | None = None,
) -> Timing:
    """Makes the video of a request.

    Args:
        source: of the request.
        sampling: how clips are denoised.
        metadata: of the file.
        job: keeps what is done, for a file that appears whole: then `job.video` is the video, to be finished by the
            caller. It goes on from the job's progress; what the video is made of was checked before.

    Raises:
        InputError: if the voice cannot be read or the video cannot be written.
    """
    config, stream = cascade.config, source.stream
    sound: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def voice() -> Iterator[np.ndarray]:
        for chunk in stream:
            if job is None:
                sound.put(chunk.sound)
            yield chunk.voice

    def writer(path: Path) -> VideoWriter:
        if path != STDOUT:
            with explained(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        size = (config.resolution, config.resolution)
        rates = (config.frames_per_second, stream.sound_rate, stream.sound_channels)
        return VideoWriter(path, size, *rates, metadata=metadata, growing=request.growing)

    progress = job.progress if job else Progress()
    after = None if progress.motion_latents is None else (progress.clips, progress.motion_latents)
    timing = Timing()
    clips = cascade.denoise(
        source.portrait,
        source.face_box,
        voice(),
        sampling,
        seed=request.seed,
        speed=request.speed,
        after=after,
    )
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(total=source.frames, initial=progress.frames, unit="frame", desc=request.out.name)
        )
        video: VideoWriter | None = None
        decoded = stack.enter_context(closing(decoded_clips(cascade, clips)))
        stack.callback(stream.close)  # before: the reading may be waiting for a pipe
        for clip, frames in decoded:
            packets = encode_clip(frames, config.frames_per_second)
            if job is not None:
                job.append(packets, clip.motion_latents)
            else:
                # Not before the first clip: until then nothing is lost of a file that was there.
                video = video or stack.enter_context(writer(request.out))
                while not sound.empty():
                    video.write_sound(sound.get())
                video.write_clip(packets)
            timing.add(clip)
            if isinstance(sampling, Pace):
                sampling.wrote(len(packets))
            bar.update(len(packets))
    if job is not None:
        with writer(job.video) as video:
            chunks = iter(stream)
            for packets in job.clips():
                video.write_clip(packets)
                while video.owes_sound and (chunk := next(chunks, None)) is not None:
                    video.write_sound(chunk.sound)
    return timing
