"""Encodes clips as H.264 and joins them with the sound to an MP4 (FFmpeg through PyAV).

A clip begins with a key frame and refers to no other clip. So clips can be encoded as they come and kept, and a run
that goes on after a stop writes the same file as one that was never stopped.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

from emo_rt.errors import InputError, reason

#: Options of the encoder. Without B-frames, packets come in the order of the frames. Only the first is a key frame.
H264 = {"crf": "18", "bf": "0", "g": "100000", "sc_threshold": "0", "threads": "1"}
#: The same for frames of `MANY_PIXELS` or more: about half the work. Portraits of 512 x 512 lose 0.3 dB and grow no
#: larger; the background of whole pictures hardly moves.
H264_MANY_PIXELS = {**H264, "preset": "veryfast"}
MANY_PIXELS = 512 * 512
#: Options of the muxer for an MP4 with its index at the start, written when the file ends.
INDEXED = {"movflags": "+faststart"}
#: Options of the muxer for a fragmented MP4, which plays while it grows; a fragment lasts 40 ms or more.
FRAGMENTED = {"movflags": "+delay_moov+default_base_moof", "frag_duration": "40000", "flush_packets": "1"}
#: Path that stands for standard output.
STDOUT = Path("-")


def encode_clip(frames: Iterable[np.ndarray], frames_per_second: int) -> list[bytes]:
    """Encodes the frames of a clip as H.264.

    Args:
        frames: k frames of one size with even sides, RGB uint8 (height, width, 3); at least one
        frames_per_second: frame rate of the video

    Returns:
        k packets, one for each frame
    """
    context: av.VideoCodecContext | None = None
    packets = []
    for index, pixels in enumerate(frames):
        context = context or _encoder((pixels.shape[1], pixels.shape[0]), frames_per_second)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        frame.pts, frame.time_base = index, context.time_base
        packets += context.encode(frame)
    assert context is not None, "a clip has at least one frame"
    return [bytes(packet) for packet in (*packets, *context.encode(None))]


def _encoder(size: tuple[int, int], frames_per_second: int) -> av.VideoCodecContext:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    _configure(context, size, frames_per_second)
    context.options = _options(size)
    context.flags |= Flags.global_header
    return context


def _options(size: tuple[int, int]) -> dict[str, str]:
    options = H264_MANY_PIXELS if size[0] * size[1] >= MANY_PIXELS else H264
    return {**options, **repeatable(size[0])}


def repeatable(width: int) -> dict[str, str]:
    """The options with which x264 gives the same bytes for the same frames of this width, in pixels.

    Unless the width is a multiple of 128, its macroblock tree reads beyond its rows, and the bytes depend on what the
    memory held before.
    """
    return {"x264-params": "mbtree=0"} if width % 128 else {}


def _configure(context: av.VideoCodecContext, size: tuple[int, int], frames_per_second: int) -> None:
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = Fraction(1, frames_per_second), Fraction(frames_per_second)
    context.colorspace, context.color_primaries, context.color_trc = (
        Colorspace.ITU709,
        ColorPrimaries.BT709,
        ColorTrc.BT709,
    )


class VideoWriter:
    """Writes clips and sound into an MP4; a context manager.

    Sound may be written ahead of the picture. At the end, sound that is too short is filled up with silence, and sound
    that is too long is cut; a fragmented MP4 keeps it. After an exception, what is written so far stays; it plays only
    if the MP4 is fragmented.

    Args:
        path: path of the file, which is replaced if it exists; `STDOUT` for a fragmented MP4 only
        size: (width, height) of the frames, pixels, even
        frames_per_second: frame rate of the video
        sound_rate: sample rate of the sound, Hz, one of `emo_rt.media.sound.AAC_SAMPLE_RATES`
        sound_channels: number of channels of the sound, 1 or 2
        metadata: metadata of the file: title, comment and the like
        fragmented: whether to write a fragmented MP4, which plays while it grows

    Attributes:
        frames_written: number of frames that are written

    Raises:
        InputError: on entering or writing, if the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        frames_per_second: int,
        sound_rate: int,
        sound_channels: int,
        *,
        metadata: Mapping[str, str] | None = None,
        fragmented: bool = False,
    ) -> None:
        self.path = Path(path)
        self.size = size
        self.frames_per_second = frames_per_second
        self.sound_rate = sound_rate
        self.layout = "mono" if sound_channels == 1 else "stereo"
        self.metadata = dict(metadata or {})
        self.fragmented = fragmented
        self.frames_written = 0
        self._samples_written = 0
        self._pending = np.zeros((sound_channels, 0), np.float32)  # sound that is not encoded yet
        self._container: av.container.OutputContainer | None = None

    def __enter__(self) -> VideoWriter:
        with explained(self.path):
            # With its protocol in front: in `12:30.mp4` or `tcp:host:80.mp4`, FFmpeg would read one from the name.
            self._open("pipe:1" if self.path == STDOUT else f"file:{os.path.abspath(self.path)}")
        return self

    def _open(self, target: str) -> None:
        self._container = av.open(target, "w", format="mp4", options=FRAGMENTED if self.fragmented else INDEXED)
        self._container.metadata.update(self.metadata)
        self._video = self._container.add_stream("libx264", rate=self.frames_per_second, options=_options(self.size))
        _configure(self._video.codec_context, self.size, self.frames_per_second)
        self._audio = self._container.add_stream("aac", rate=self.sound_rate, layout=self.layout)
        self._container.start_encoding()

    def write_sound(self, sound: np.ndarray) -> None:
        """Appends sound, float32 (channels, samples)."""
        self._pending = np.concatenate([self._pending, sound], axis=1)
        # The muxer holds a frame back until it has the sound of the next one.
        self._encode_sound(self._pending.shape[1] if self.fragmented else self._sound_due())

    def write_clip(self, packets: Sequence[bytes]) -> None:
        """Appends a clip, the packets that `encode_clip` returns, and the sound that goes with it."""
        assert self._container is not None, "use VideoWriter in a with statement"
        first, self.frames_written = self.frames_written, self.frames_written + len(packets)
        self._encode_sound(self._sound_due())
        with explained(self.path):
            for index, data in enumerate(packets):
                packet = av.Packet(data)
                packet.stream, packet.time_base = self._video, Fraction(1, self.frames_per_second)
                packet.pts = packet.dts = first + index
                packet.duration, packet.is_keyframe = 1, index == 0
                self._container.mux(packet)

    @property
    def owes_sound(self) -> bool:
        """Whether the frames that are written last longer than the sound that is encoded."""
        return self._sound_due() > 0

    def _sound_due(self) -> int:
        """The number of samples by which the frames that are written are ahead of the sound that is encoded."""
        return round(self.frames_written * self.sound_rate / self.frames_per_second) - self._samples_written

    def _encode_sound(self, samples: int) -> None:
        """Encodes the next `samples` samples of the pending sound, or as many as there are."""
        sound, self._pending = self._pending[:, :samples], self._pending[:, samples:]
        if not sound.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=self.layout)
        frame.sample_rate = self.sound_rate
        frame.pts, frame.time_base = self._samples_written, Fraction(1, self.sound_rate)
        self._mux_sound(frame)
        self._samples_written += sound.shape[1]

    def _mux_sound(self, frame: av.AudioFrame | None) -> None:
        assert self._container is not None, "use VideoWriter in a with statement"
        with explained(self.path):
            self._container.mux(self._audio.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._container is not None
        if kind is not None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()
            return
        silence = self._sound_due() - self._pending.shape[1]
        if silence > 0:
            self._pending = np.pad(self._pending, ((0, 0), (0, silence)))
        self._encode_sound(self._sound_due())
        self._mux_sound(None)
        with explained(self.path):
            self._container.close()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns an error in writing the output `path` into an InputError."""
    try:
        yield
    except BrokenPipeError as error:
        raise InputError(f"output {path}: whoever read it has gone") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"output {path}: cannot be written ({reason(error)}); give another output") from error


def check_output(path: Path, *, streamed: bool = False) -> None:
    """Checks, before anything is made, that a video can be written under a name.

    Args:
        path: path of the MP4; `STDOUT` is one, if streamed
        streamed: whether the file is written as it comes; otherwise it is put in place when it is complete

    Raises:
        InputError: if no video can be written there.
    """
    if path == STDOUT and streamed:
        if sys.stdout is None:
            raise InputError(f"output {path}: standard output is closed; give it a pipe, or name a file")
        return
    if path.suffix.lower() != ".mp4":
        raise InputError(f"output {path}: the video is an MP4; give a name that ends in .mp4")
    if os.path.isdir(path):
        raise InputError(f"output {path}: is a directory; give the name of a file in it")
    with explained(path):
        try:
            mode = path.stat().st_mode  # raises OSError for a name that no file can have
        except FileNotFoundError:
            mode = None
        place = Path(os.path.realpath(path))
    if mode is not None and not stat.S_ISREG(mode) and not streamed:
        raise InputError(f"output {path}: is no file; give another output, or write into it with --fragmented")
    if mode is not None and streamed:
        if not os.access(place, os.W_OK):
            raise InputError(f"output {path}: cannot be written (Permission denied); give another output")
        return
    directory = next(parent for parent in place.parents if os.path.exists(parent))
    if not os.path.isdir(directory):
        raise InputError(f"output {path}: {directory} is no directory; give another output")
    for name in place.relative_to(directory).parts:
        with explained(path), contextlib.suppress(FileNotFoundError):
            os.lstat(directory / name)  # raises OSError for a directory that cannot be made
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"output {path}: nothing can be written in {directory}; give another output")
