"""Pictures and sound in, video out, at constant memory (Pillow and FFmpeg through PyAV)."""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from PIL import Image, ImageOps, UnidentifiedImageError

from emo_rt.errors import InputError

MIN_IMAGE_SIDE = 32  # pixels; nothing smaller shows a face
# Not all that Pillow knows: it gives EPS to another program.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM")
MID_GREY = (128, 128, 128)
AAC_SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
HELD_BACK = 0.6  # seconds of sound; more than what an encoder adds at the end
# Containers whose headers tell the length, so that a file cut short is noticed.
FORMATS_WITH_LENGTH = {"mov", "flac", "aiff", "w64", "au"}


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture as RGB uint8 (height, width, 3), upright, transparency laid over mid-grey.

    Raises:
        InputError: if there is no such file, or it is no picture, damaged, too small or too large.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise InputError(f"image {path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures before it refuses them
            with Image.open(path, formats=IMAGE_FORMATS) as file:
                image = _to_rgb(ImageOps.exif_transpose(file))
    except UnidentifiedImageError:
        raise InputError(f"image {path}: not a picture that can be read; give a PNG or JPEG file") from None
    except Image.DecompressionBombError:
        raise InputError(f"image {path}: too many pixels; scale it down to below 100 megapixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"image {path}: cannot be read ({_reason(error)}); is it complete?") from error
    if min(image.size) < MIN_IMAGE_SIDE:
        width, height = image.size
        raise InputError(
            f"image {path}: {width} x {height} pixels is too small; at least {MIN_IMAGE_SIDE} on each side"
        )
    return np.array(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*MID_GREY, 255))
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """An exception's own words, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


@dataclass(frozen=True)
class SoundChunk:
    """A stretch of sound: `voice` (samples,) for the model, `sound` (channels, samples) for the video; float32."""

    voice: np.ndarray
    sound: np.ndarray


class AudioStream:
    """The sound of a file, decoded in chunks as often as it is iterated over; memory does not grow with its length.

    Takes whatever FFmpeg decodes, also the sound of a video. `voice` comes at `sample_rate` Hz, mono; `sound` at
    `sound_rate` Hz in `sound_channels` (1, or 2 for anything wider).

    Raises:
        InputError: here or while iterating, for a file that is missing, empty, cut short, damaged, without sound, or
            with samples that are no finite numbers.
    """

    def __init__(self, path: str | Path, sample_rate: int) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        if not os.path.isfile(self.path):
            raise InputError(f"audio {self.path}: no such file")
        if self.path.stat().st_size == 0:
            raise InputError(f"audio {self.path}: the file is empty")
        with self._open() as container:
            context = container.streams.audio[0].codec_context
            self.sound_rate = context.sample_rate if context.sample_rate in AAC_SAMPLE_RATES else 48000
            self.sound_channels = min(max(context.channels, 1), 2)

    def voice_samples(self) -> int:
        """Decodes all of it once: the number of voice samples that iterating gives, or the error that it raises."""
        return sum(len(chunk.voice) for chunk in self)

    @contextlib.contextmanager
    def _open(self) -> Iterator[av.container.InputContainer]:
        """The open file, with whatever goes wrong inside of the block turned into an InputError."""
        try:
            # Nothing but local files: a playlist must not make us fetch what it names.
            with av.open(str(self.path.resolve()), options={"protocol_whitelist": "file"}) as container:
                if not container.streams.audio:
                    raise InputError(f"audio {self.path}: it has no sound; give a file with speech")
                if container.streams.audio[0].codec_context is None:
                    raise InputError(f"audio {self.path}: its sound is of an unknown kind; convert it to WAV")
                yield container
        except (av.FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"audio {self.path}: not sound that can be read, or cut short ({_reason(error)}); give a complete "
                "WAV, MP3, OGG, FLAC or M4A file"
            ) from error

    def __iter__(self) -> Iterator[SoundChunk]:
        with self._open() as container:
            stream = container.streams.audio[0]
            layout = "mono" if self.sound_channels == 1 else "stereo"
            to_voice = av.AudioResampler(format="fltp", layout="mono", rate=self.sample_rate)
            to_sound = av.AudioResampler(format="fltp", layout=layout, rate=self.sound_rate)
            voice, sound = _Tail(1, self.sample_rate), _Tail(self.sound_channels, self.sound_rate)
            decoded = rate = 0
            for frame in container.decode(stream):
                frame.pts = None  # gaps in the clock of a file are not silence
                decoded, rate = decoded + frame.samples, frame.sample_rate
                voice.add(to_voice.resample(frame))
                sound.add(to_sound.resample(frame))
                yield self._checked(voice.take(), sound.take())
            if not decoded:
                raise InputError(f"audio {self.path}: it holds no sound; give a file with speech")
            seconds = self._length(container, stream, decoded / rate)
            voice.add(to_voice.resample(None))
            sound.add(to_sound.resample(None))
            yield self._checked(voice.finish(seconds), sound.finish(seconds))

    def _checked(self, voice: np.ndarray, sound: np.ndarray) -> SoundChunk:
        if not (np.isfinite(sound).all() and np.isfinite(voice).all()):
            raise InputError(f"audio {self.path}: it holds samples that are no finite numbers (NaN); export it again")
        return SoundChunk(voice[0], sound)

    def _length(self, container: av.container.InputContainer, stream: av.AudioStream, decoded: float) -> float:
        """Seconds of sound in a file that gave `decoded` seconds; an InputError if its header says more."""
        names = set(container.format.name.split(","))
        cut = "wav" in names and _riff_is_cut(self.path)
        declared = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if names & FORMATS_WITH_LENGTH:
            cut = decoded < 0.98 * declared - 0.2
        if cut:
            raise InputError(f"audio {self.path}: cut short after {decoded:.1f} s; give the complete file")
        # AAC fills its last frames up; only the header of an MP4 says how much of them is sound.
        return declared if "mov" in names and 0 < decoded - declared < HELD_BACK / 2 else decoded


class _Tail:
    """Resampled sound of which the last seconds are held back until it is known where it ends."""

    def __init__(self, channels: int, rate: int) -> None:
        self.rate = rate
        self.taken = 0
        self.held = np.zeros((channels, 0), np.float32)

    def add(self, frames: list[av.AudioFrame]) -> None:
        """Adds planar float frames."""
        self.held = np.concatenate([self.held, *(frame.to_ndarray() for frame in frames)], axis=1)

    def take(self, count: int | None = None) -> np.ndarray:
        """What need not be held back (or the next `count` samples): float32 (channels, samples)."""
        if count is None:
            count = max(self.held.shape[1] - int(HELD_BACK * self.rate), 0)
        taken, self.held = self.held[:, :count], self.held[:, count:]
        self.taken += taken.shape[1]
        return taken

    def finish(self, seconds: float) -> np.ndarray:
        """The rest of a sound that is `seconds` long in all, exact to the sample (resamplers are not)."""
        wanted = max(round(seconds * self.rate) - self.taken, 0)
        rest = self.take(wanted)
        return np.pad(rest, ((0, 0), (0, wanted - rest.shape[1])))


def _riff_is_cut(path: Path) -> bool:
    """Whether a WAV file is shorter than its header says (FFmpeg reads what there is and keeps silent)."""
    with open(path, "rb") as file:
        header = file.read(8)
    if len(header) < 8 or header[:4] != b"RIFF":
        return False
    size = int.from_bytes(header[4:8], "little")
    # A recorder that streams does not know the size and writes a huge one.
    return size < 0x7FFF0000 and path.stat().st_size + 64 < size + 8  # some writers miscount by a few


def read_voice(path: str | Path, sample_rate: int) -> np.ndarray:
    """All of a file's sound, mono: float32 (samples,). For training; the runtime streams. Raises as `AudioStream`."""
    return np.concatenate([chunk.voice for chunk in AudioStream(path, sample_rate)])


class VideoWriter:
    """Writes H.264 and AAC into an MP4 that appears whole or not at all; a context manager.

    Sound may run ahead of the picture, is held until the picture arrives, and in the end is cut or filled with silence
    to the picture's length. Entering creates missing directories; leaving by an exception removes every trace.

    Args:
        path: a `.mp4` file; an existing one is replaced on success.
        width, height: of the frames, pixels, even.
        frames_per_second: of the picture.
        sound_rate: Hz, one of AAC_SAMPLE_RATES.
        sound_channels: 1 or 2.

    Raises:
        InputError: on entering or writing, if the file cannot be written.
    """

    def __init__(
        self, path: str | Path, width: int, height: int, frames_per_second: int, sound_rate: int, sound_channels: int
    ) -> None:
        self.path = Path(path)
        self.size = (width, height)
        self.frames_per_second = frames_per_second
        self.sound_rate = sound_rate
        self.layout = "mono" if sound_channels == 1 else "stereo"
        self.frames_written = 0
        self._samples_written = 0
        self._pending = np.zeros((sound_channels, 0), np.float32)
        self._temporary = self.path.with_name(f".{self.path.name[:64]}.{os.getpid()}.part")
        self._created: list[Path] = []
        self._container: av.container.OutputContainer | None = None

    def __enter__(self) -> VideoWriter:
        if self.path.suffix.lower() != ".mp4":
            raise InputError(f"output {self.path}: the video is an MP4; give a name that ends in .mp4")
        if os.path.isdir(self.path):
            raise InputError(f"output {self.path}: is a directory; give the name of a file in it")
        try:
            with self._explained():
                self._create_directories()
                with contextlib.suppress(FileNotFoundError):
                    self.path.lstat()  # complains of a name that could not be renamed to
                self._temporary.open("wb").close()
                self._open_container()
        except BaseException:
            self._discard()
            raise
        return self

    def _create_directories(self) -> None:
        missing = []
        directory = self.path.parent
        while not directory.exists():
            missing.append(directory)
            directory = directory.parent
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            self._created.append(directory)

    def _open_container(self) -> None:
        self._container = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"})
        self._video = self._container.add_stream("libx264", rate=self.frames_per_second, options={"crf": "18"})
        self._video.width, self._video.height = self.size
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        context.colorspace, context.color_primaries, context.color_trc = (
            Colorspace.ITU709,
            ColorPrimaries.BT709,
            ColorTrc.BT709,
        )
        self._audio = self._container.add_stream("aac", rate=self.sound_rate, layout=self.layout)

    def write_sound(self, sound: np.ndarray) -> None:
        """Adds sound, float32 (channels, samples)."""
        self._pending = np.concatenate([self._pending, sound], axis=1)
        self._encode_sound(self._sound_due())

    def write_frames(self, frames: np.ndarray) -> None:
        """Adds frames, RGB uint8 (k, height, width, 3), and the sound that goes with them."""
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base = self.frames_written, Fraction(1, self.frames_per_second)
            self._mux(self._video, frame)
            self.frames_written += 1
        self._encode_sound(self._sound_due())

    def _sound_due(self) -> int:
        """Samples that the picture written so far is still owed."""
        return round(self.frames_written * self.sound_rate / self.frames_per_second) - self._samples_written

    def _encode_sound(self, samples: int) -> None:
        sound, self._pending = self._pending[:, :samples], self._pending[:, samples:]
        if not sound.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=self.layout)
        frame.sample_rate = self.sound_rate
        frame.pts, frame.time_base = self._samples_written, Fraction(1, self.sound_rate)
        self._mux(self._audio, frame)
        self._samples_written += sound.shape[1]

    def _mux(self, stream: av.VideoStream | av.AudioStream, frame: av.VideoFrame | av.AudioFrame | None) -> None:
        assert self._container is not None, "use VideoWriter in a with statement"
        with self._explained():
            self._container.mux(stream.encode(frame))  # type: ignore[arg-type]

    def _finish(self) -> None:
        silence = self._sound_due() - self._pending.shape[1]
        if silence > 0:
            self._pending = np.pad(self._pending, ((0, 0), (0, silence)))
        self._encode_sound(self._sound_due())
        self._mux(self._video, None)
        self._mux(self._audio, None)
        assert self._container is not None
        with self._explained():
            self._container.close()
            os.replace(self._temporary, self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Removes the temporary file and the directories that were made for it."""
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            if self._container is not None:
                self._container.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()
        for directory in reversed(self._created):
            with contextlib.suppress(OSError):
                directory.rmdir()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"output {self.path}: cannot be written ({_reason(error)}); give another --out") from error
