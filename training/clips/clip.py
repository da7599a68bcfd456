"""The record of a training clip: frames, sound and labels of one speaker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from emo_rt.atomic import atomic_write
from emo_rt.media.boxes import Box
from training.clips.names import is_compact


@dataclass(frozen=True)
class TrainingClip:
    """One speaker for t frames at 25 Hz. Arrays are float32 unless noted.

    Every clip has frames, face boxes and mouth boxes. Footage (`training.prepare`) lacks some of the other fields: they
    have length 0 here and are absent from the file.

    Attributes:
        frames: uint8 RGB frames (t, h, w, 3)
        waveform: sound (t * 640,) at 16 kHz in [-1, 1]
        mouth_opening: opening of the mouth (t,) from 0, closed, to 1, wide open
        mouth_width: width of the mouth (t,) from 0, rounded, to 1, spread
        rotation: yaw, pitch and roll of the head (t, 3) in degrees
        head_speed: angle between the rotation of a frame and that of the frame before (t,) in degrees per frame
        face_box: x, y, width and height of the face (t, 4) in pixels
        mouth_box: x, y, width and height of the mouth (t, 4) in pixels
        phoneme_class: int64 indices into `training.clips.phonemes.PHONEME_CLASSES` (2 * t,) at 50 Hz
        blink: closing of the eyes (t,) from 0, open, to 1, shut
        gaze: direction of the eyes (t, 2) from -1 to 1, to the right and down
        landmarks: x and y in pixels of the face mesh (t, 468, 2), see `training.clips.face_mesh`
        text: what is said
        voice: espeak-ng's name of the voice, such as "en-us+f3"
        language: espeak-ng's name of the language, such as "en-us"
        style: "speech", "whisper" or "singing"
        sound: "clean", or the effects of `training.speakers.speech.augmentation` joined by "+"
        photograph: name of the photograph that a puppet shows
        person: name of whoever is seen, if other clips may show the same person
    """

    frames: np.ndarray
    waveform: np.ndarray
    mouth_opening: np.ndarray
    mouth_width: np.ndarray
    rotation: np.ndarray
    head_speed: np.ndarray
    face_box: np.ndarray
    mouth_box: np.ndarray
    phoneme_class: np.ndarray
    blink: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    gaze: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    landmarks: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    text: str = ""
    voice: str = ""
    language: str = ""
    style: str = ""
    sound: str = ""
    photograph: str = ""
    person: str = ""

    def save(self, path: Path | str) -> None:
        """Writes an uncompressed .npz, whole or not at all.

        A path that ends in `.labels.npz` gets the compact form instead: see `training.clips.compact`.

        Raises:
            ValueError: if the compact form is asked for and the sides of the frames are not even.
            OSError: if a file cannot be written.
        """
        known = {name: getattr(self, name) for name in CLIP_FIELDS if self.knows(name)}
        if is_compact(path := Path(path)):
            from training.clips.compact import write_compact  # it loads FFmpeg

            write_compact(known, path)
        else:
            with atomic_write(path) as file:
                np.savez(file, **known)

    def knows(self, *names: str) -> bool:
        """Whether the clip has all of these fields."""
        return all(len(getattr(self, name)) for name in names)

    @classmethod
    def load(cls, path: Path | str, needs: Sequence[str] = (), *, pictures: bool = True) -> Self:
        """Reads what `save` has written, in either form.

        Args:
            path: file of the clip, or of its labels in the compact form
            needs: fields that the clip must have, besides the frames and the boxes
            pictures: whether the frames are read, which takes most of the time; without them, there are none

        Raises:
            ValueError: if the clip lacks a field that it must have, or its video cannot be read. It names the file and
                what to do.
        """
        if is_compact(path := Path(path)):
            from training.clips.compact import read_compact  # it loads FFmpeg

            known = read_compact(path, pictures=pictures)
        else:
            with np.load(path) as archive:
                names = [name for name in archive if pictures or name != "frames"]
                known = {name: str(archive[name]) if name in _STRINGS else archive[name] for name in names}
        if not pictures:
            known["frames"] = np.zeros((0, 0, 0, 3), np.uint8)
        missing = [name for name in (*_ALWAYS, *needs) if name not in known]
        if missing:
            raise ValueError(f"{path} has no {missing[0]}: {_HINTS.get(missing[0], _LABEL_HINT)}")
        unknown = dict.fromkeys(CLIP_FIELDS, np.zeros(0, np.float32)) | dict.fromkeys(_STRINGS, "")
        return cls(**unknown | known)


#: Names of all fields of `TrainingClip`, in their order.
CLIP_FIELDS = tuple(field.name for field in dataclasses.fields(TrainingClip))

_STRINGS = tuple(field.name for field in dataclasses.fields(TrainingClip) if field.type == "str")

_ALWAYS = ("frames", "face_box", "mouth_box")

_LABEL_HINT = "footage has no such labels; use clips of `python -m training.corpus`"

_ROTATION_HINT = "prepare the footage with --landmarker or --reader, which see how the head turns"

_HINTS = {
    "waveform": "only the image stage trains on videos without sound",
    "rotation": _ROTATION_HINT,
    "head_speed": _ROTATION_HINT,
    **dict.fromkeys(_ALWAYS, "it is no clip of `python -m training.corpus` or `python -m training.prepare`"),
}


def portrait_of(clip: TrainingClip) -> tuple[np.ndarray, Box]:
    """The frame with the mouth most closed, uint8 (h, w, 3), and the box of the face in it."""
    closed = int(clip.mouth_opening.argmin())
    return clip.frames[closed], Box(*map(float, clip.face_box[closed]))
