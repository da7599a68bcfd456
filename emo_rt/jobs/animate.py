"""One portrait and one voice into one video file, with every stage of it at work at the same time."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.jobs.job import Job, Progress
from emo_rt.jobs.request import Request, Source
from emo_rt.jobs.timing import Timing
from emo_rt.media.video import STDOUT, VideoWriter, encode_clip, explained
from emo_rt.planning.rate_control import RateControl


def animate(
    request: Request,
    source: Source,
    cascade: Cascade,
    sampling: Sampling | RateControl,
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
        return VideoWriter(path, size, *rates, metadata=metadata, fragmented=request.growing)

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
            if isinstance(sampling, RateControl):
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
