"""A training clip: frames, sound and labels of one speaker, in one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from emo_rt.media.boxes import Box


@dataclass(frozen=True)
class TrainingClip:
    """One speaker for t frames at 25 Hz. Labels are float32 unless noted.

    Footage (``training.prepare``) knows only the frames and the boxes for certain. What else it does not know has
    length 0 here and is absent from the file.
    """

    frames: np.ndarray  # uint8 (t, h, w, 3), RGB
    waveform: np.ndarray  # (t * 640,) at 16 kHz in [-1, 1]
    mouth_opening: np.ndarray  # (t,) 0 closed .. 1 wide open
    mouth_width: np.ndarray  # (t,) 0 rounded .. 1 spread
    rotation: np.ndarray  # (t, 3) degrees: yaw, pitch, roll
    head_speed: np.ndarray  # (t,) degrees per frame: the angle from the previous rotation to this one
    face_box: np.ndarray  # (t, 4) x, y, width, height in pixels
    mouth_box: np.ndarray  # (t, 4)
    phoneme_class: np.ndarray  # int64 (2 * t,) at 50 Hz: indices into `training.clips.phonemes.PHONEME_CLASSES`
    blink: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))  # (t,) 0 open .. 1 shut
    text: str = ""
    voice: str = ""  # espeak-ng's name, such as "en-us+f3"
    language: str = ""
    style: str = ""  # "speech", "whisper" or "singing"
    sound: str = ""  # "clean", or the effects of `training.speakers.speech.augmentation` joined by "+"

    def save(self, path: Path | str) -> None:
        """Writes an uncompressed .npz, whole or not at all."""
        path = Path(path)
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez(file, **{name: getattr(self, name) for name in CLIP_FIELDS if self.knows(name)})
        temporary.replace(path)

    def knows(self, *names: str) -> bool:
        """Whether the clip has all these fields."""
        return all(len(getattr(self, name)) for name in names)

    @classmethod
    def load(cls, path: Path | str, needs: Sequence[str] = ()) -> Self:
        """Reads what `save` has written.

        Args:
            path: a .npz.
            needs: fields that the clip must have, besides the frames and the boxes.

        Raises:
            ValueError: naming the file, if a field is missing that it must have.
        """
        with np.load(path) as archive:
            missing = [name for name in (*_CERTAIN, *needs) if name not in archive]
            if missing:
                raise ValueError(f"{path} has no {missing[0]}: {_CURES.get(missing[0], _NO_LABEL)}")
            unknown = dict.fromkeys(CLIP_FIELDS, np.zeros(0, np.float32)) | dict.fromkeys(_STRINGS, "")
            known = {name: str(archive[name]) if name in _STRINGS else archive[name] for name in archive}
        return cls(**unknown | known)


#: Of `Clip`, in order.
CLIP_FIELDS = tuple(field.name for field in dataclasses.fields(TrainingClip))


_STRINGS = tuple(field.name for field in dataclasses.fields(TrainingClip) if field.type == "str")


_CERTAIN = ("frames", "face_box", "mouth_box")


_NO_LABEL = "footage has no such labels; use clips of `python -m training.corpus`"


_NO_ROTATION = "prepare the footage with --landmarker or --reader, which see how the head turns"


_CURES = {
    "waveform": "only the image stage trains on videos without sound",
    "rotation": _NO_ROTATION,
    "head_speed": _NO_ROTATION,
    **dict.fromkeys(_CERTAIN, "it is no clip of `python -m training.corpus` or `python -m training.prepare`"),
}


def portrait_of(clip: TrainingClip) -> tuple[np.ndarray, Box]:
    """The frame with the mouth most closed, uint8 (h, w, 3), and the face in it."""
    closed = int(clip.mouth_opening.argmin())
    return clip.frames[closed], Box(*map(float, clip.face_box[closed]))
