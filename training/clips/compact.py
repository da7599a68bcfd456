"""The compact form of a clip: a video with sound that plays everywhere, and its labels beside it.

A clip is two files: `NAME.mp4` (H.264 and AAC) and `NAME.labels.npz` (16-bit floats, compressed). The labels are
written last, so that a clip whose labels are there is whole. Pictures and sound lose a little; labels keep three
digits, and landmarks a sixteenth of a pixel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from emo_rt.atomic import atomic_write
from emo_rt.errors import InputError, reason
from emo_rt.media.sound import read_voice
from emo_rt.media.sound_file import FILE_OPTIONS
from training.clips.h264 import add_h264, read_h264, write_h264
from training.clips.names import video_path
from training.clips.rates import FRAMES_PER_SECOND, SAMPLE_RATE

_H264 = {"crf": "24", "preset": "veryslow", "tune": "psnr", "g": "250"}
_BIT_RATE = 40000  # of the sound, bits per second
_LANDMARK_STEPS = 16  # to a pixel
_HINT = "delete both of its files and make it again"


def write_compact(fields: Mapping[str, Any], labels: Path) -> None:
    """Writes a clip in its compact form, whole or not at all.

    Args:
        fields: what is known of the clip, by the names of the fields of `TrainingClip`
        labels: path that ends in `.labels.npz`; the video lies beside it

    Raises:
        ValueError: if the sides of the frames are not even.
        OSError: if a file cannot be written.
    """
    frames = fields["frames"]
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"a compact clip has frames with even sides, not {frames.shape[2]} x {frames.shape[1]}")
    with tempfile.TemporaryDirectory() as folder:
        _encode(Path(folder) / "clip.mp4", frames, fields.get("waveform"))
        video = (Path(folder) / "clip.mp4").read_bytes()
    with atomic_write(video_path(labels)) as file:
        file.write(video)
    arrays: dict[str, Any] = {
        name: _packed(name, value) for name, value in fields.items() if name not in ("frames", "waveform")
    }
    with atomic_write(labels) as file:
        np.savez_compressed(file, **arrays)


def read_compact(labels: Path, *, pictures: bool = True) -> dict[str, Any]:
    """Reads what `write_compact` has written; what the clip does not have is absent.

    Args:
        labels: path that ends in `.labels.npz`
        pictures: whether the frames are read

    Raises:
        ValueError: if the video is missing, damaged, or not of these labels. It names the file and what to do.
    """
    with np.load(labels) as archive:
        fields: dict[str, Any] = {name: _unpacked(name, archive[name]) for name in archive}
    path = video_path(labels)
    try:
        with av.open(str(path.absolute()), options=FILE_OPTIONS) as container:
            count = container.streams.video[0].frames
            if pictures:
                fields["frames"] = read_h264(container)
                count = len(fields["frames"])
            voiced = bool(container.streams.audio)
        if voiced:
            samples = count * SAMPLE_RATE // FRAMES_PER_SECOND
            sound = read_voice(path, SAMPLE_RATE)[:samples]
            fields["waveform"] = np.pad(sound, (0, samples - len(sound))).clip(-1, 1)
    except (av.FFmpegError, InputError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({reason(error)}): {_HINT}") from None
    if "face_box" in fields and len(fields["face_box"]) != count:
        raise ValueError(f"{path} has {count} frames, but {labels.name} {len(fields['face_box'])}: {_HINT}")
    return fields


def _packed(name: str, value: np.ndarray | str) -> np.ndarray:
    """Labels of half the size: float16; uint8 for the integers, which are small; int16 of how far landmarks go from
    frame to frame, which compress to half."""
    array = np.asarray(value)
    if name == "landmarks":
        return np.diff((array * _LANDMARK_STEPS).round().astype(np.int16), axis=0, prepend=np.int16(0))
    kinds = {"f": np.float16, "i": np.uint8}
    return array.astype(kinds.get(array.dtype.kind, array.dtype))


def _unpacked(name: str, array: np.ndarray) -> np.ndarray | str:
    if name == "landmarks":
        return (array.cumsum(0, np.int32) / _LANDMARK_STEPS).astype(np.float32)
    if array.dtype.kind == "U":
        return str(array)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def _encode(path: Path, frames: np.ndarray, waveform: np.ndarray | None) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", options=options) as container:
        video = add_h264(container, frames.shape[1], frames.shape[2], _H264)
        audio = None
        if waveform is not None:
            audio = container.add_stream("aac", SAMPLE_RATE, layout="mono")
            audio.bit_rate = _BIT_RATE
        write_h264(container, video, frames)
        if audio is not None:
            sound = av.AudioFrame.from_ndarray(np.asarray(waveform, np.float32)[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
