"""Where the clips of a video go, and the loop that makes them, with every stage at work at the same time."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from tqdm import tqdm

from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.errors import printable
from emo_rt.jobs.job import Job, Progress
from emo_rt.jobs.request import Request, Source
from emo_rt.jobs.timing import Timing, counted_frames
from emo_rt.media.video import STDOUT, VideoWriter, encode_clip, explained
from emo_rt.planning.rate_control import RateControl


class Sink(Protocol):
    """What takes a video, clip by clip."""

    @property
    def progress(self) -> Progress:
        """How far the video is."""
        ...

    def add_sound(self, sound: np.ndarray) -> None:
        """Takes sound as it is read, float32 (channels, samples), ahead of the picture; from any thread."""
        ...

    def add_clip(self, packets: Sequence[bytes], motion_latents: np.ndarray) -> None:
        """Takes the next clip.

        Args:
            packets: the clip as `encode_clip` returns it
            motion_latents: latents that the clip after it goes on from, (n, c, s, s)

        Raises:
            InputError: if it cannot be written.
        """
        ...

    def finish(self) -> None:
        """Completes the MP4, after the last clip.

        Raises:
            InputError: if it cannot be written.
        """
        ...


#: Called with the number of frames that are done, and with that of all of them or None if it is not known yet.
OnProgress = Callable[[int, int | None], None]


def fill(
    sink: Sink,
    request: Request,
    source: Source,
    cascade: Cascade,
    rate_control: RateControl,
    *,
    bar: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Timing:
    """Makes the clips of a video that its sink does not have yet, and completes it.

    Args:
        sink: taker of sound and clips
        request: what is asked for
        source: portrait and voice of the request
        cascade: loaded engines
        rate_control: chooser of each clip's sampling
        bar: whether to show a progress bar on stderr
        on_progress: called before the first clip and after each one; what it raises ends the video there

    Raises:
        InputError: if the voice cannot be read or the video cannot be written.
    """
    on_progress(sink.progress.frames, source.frames)
    timing = Timing()
    clips = cascade.denoise(
        source.portrait,
        source.face_box,
        _voice(sink, source),
        rate_control,
        seed=request.seed,
        speed=request.speed,
        after=sink.progress.after,
    )
    with (
        tqdm(
            total=source.frames,
            initial=sink.progress.frames,
            unit="frame",
            desc=printable(request.out.name),
            disable=not bar,
        ) as shown,
        closing(decoded_clips(cascade, clips)) as decoded,
        closing(source.stream),  # before the threads end: one of them may be waiting for a pipe
    ):
        for clip, frames in decoded:
            packets = encode_clip(source.framed(frames), source.config.frames_per_second)
            sink.add_clip(packets, clip.motion_latents)
            timing.add(clip)
            rate_control.wrote(len(packets))
            shown.update(len(packets))
            on_progress(sink.progress.frames, source.frames)
    sink.finish()
    return timing


def _voice(sink: Sink, source: Source) -> Iterator[np.ndarray]:
    """The voice of a source, for the model; its sound goes to the sink."""
    for chunk in source.stream:
        sink.add_sound(chunk.sound)
        yield chunk.voice


class StreamingSink:
    """Streams clips and sound into an MP4 that plays while it grows; a context manager.

    The file is opened with the first clip: until then nothing is lost of a file that was there. Leaving by an
    exception leaves what is written, as an MP4.

    Args:
        out: file to write, or STDOUT
        source: portrait and voice of the video
        metadata: title and comment of the file
    """

    def __init__(self, out: Path, source: Source, metadata: Mapping[str, str]) -> None:
        self.out, self.source, self.metadata = out, source, metadata
        self.progress = Progress()
        self._sound: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
        self._video: VideoWriter | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> StreamingSink:
        return self

    def add_sound(self, sound: np.ndarray) -> None:
        """Keeps sound until the next clip."""
        self._sound.put(sound)

    def add_clip(self, packets: Sequence[bytes], motion_latents: np.ndarray) -> None:
        """Writes the next clip, after the sound that came before it."""
        if self._video is None:
            self._video = self._open.enter_context(self._writer())
        while not self._sound.empty():
            self._video.write_sound(self._sound.get())
        self._video.write_clip(packets)
        self.progress = Progress(self.progress.clips + 1, self.progress.frames + len(packets))

    def _writer(self) -> VideoWriter:
        if self.out != STDOUT:
            with explained(self.out):
                self.out.parent.mkdir(parents=True, exist_ok=True)
        return _video_writer(self.out, self.source, self.metadata, fragmented=True)

    def finish(self) -> None:
        """Completes the MP4."""
        self._open.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        if error is not None and self._video is not None and self.out != STDOUT:
            error.add_note(f"{self.out} has the first {counted_frames(self.progress.frames)}")


class ResumableSink:
    """Keeps clips in a job, from which a later run can go on, and assembles the MP4 at the end.

    Args:
        job: job that keeps the clips; `job.video` becomes the MP4
        source: portrait and voice of the video
        metadata: title and comment of the file
    """

    def __init__(self, job: Job, source: Source, metadata: Mapping[str, str]) -> None:
        self.job, self.source, self.metadata = job, source, metadata

    @property
    def progress(self) -> Progress:
        """How far the job is."""
        return self.job.progress

    def add_sound(self, sound: np.ndarray) -> None:
        """Keeps nothing: `finish` reads the sound once more, for all clips."""

    def add_clip(self, packets: Sequence[bytes], motion_latents: np.ndarray) -> None:
        """Keeps a clip on the disk."""
        self.job.append(packets, motion_latents)

    def finish(self) -> None:
        """Writes all clips of the job and the sound into one MP4."""
        with _video_writer(self.job.video, self.source, self.metadata, fragmented=False) as video:
            chunks = iter(self.source.stream)
            for packets in self.job.clips():
                video.write_clip(packets)
                while video.owes_sound and (chunk := next(chunks, None)) is not None:
                    video.write_sound(chunk.sound)


def _video_writer(path: Path, source: Source, metadata: Mapping[str, str], *, fragmented: bool) -> VideoWriter:
    config, stream = source.config, source.stream
    return VideoWriter(
        path,
        source.size,
        config.frames_per_second,
        stream.sound_rate,
        stream.sound_channels,
        metadata=metadata,
        fragmented=fragmented,
    )
