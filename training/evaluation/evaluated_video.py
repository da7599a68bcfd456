"""Generated videos beside the clips whose voices they speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from emo_rt.media.boxes import Box
from training.clips.clip import TrainingClip, portrait_of
from training.evaluation.generator import Generator
from training.evaluation.reader import FaceReader, Reading
from training.model.config import EmoConfig

_FRAME_FIELDS = ("frames", "mouth_opening", "mouth_width", "rotation", "head_speed", "face_box", "mouth_box", "blink")


@dataclass(frozen=True)
class EvaluatedVideo:
    """A generated video of t frames beside the clip whose voice it speaks.

    Attributes:
        name: name of the clip.
        portrait: uint8 (h, w, 3), RGB.
        face_box: the face in the portrait's pixels.
        clip: the first t frames of the clip, with its labels.
        frames: generated frames, uint8 (t, h, w, 3), RGB.
        reading: what the reader sees in the generated frames.
        true_reading: what the reader sees in the clip's own frames.
    """

    name: str
    portrait: np.ndarray
    face_box: Box
    clip: TrainingClip
    frames: np.ndarray
    reading: Reading
    true_reading: Reading


def generate_videos(
    generator: Generator,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    frames: int,
    *,
    speed: float,
    seed: int = 0,
    progress: str = "videos",
) -> list[EvaluatedVideo]:
    """Generates a video for each clip, from its portrait and its voice.

    Args:
        generator: the model and its sampling.
        reader: reader of the generated and of the true frames.
        clips: clips by name.
        frames: number of frames of each video.
        speed: head speed asked for, in degrees per frame.
        seed: seed of the first video's noise; each further video has the next seed, so that errors are independent.
        progress: label of the progress bar.

    Raises:
        ValueError: if a clip has another resolution than the model, or is shorter than `frames`.
    """
    check_clips(generator.model.config, clips, frames)
    videos = []
    for number, (name, source) in enumerate(tqdm(clips.items(), desc=progress, unit="video")):
        portrait, box = portrait_of(source)
        generated = generator(portrait, box, source.waveform, frames, seed=seed + number, speed=speed)
        clip = _first_frames(source, frames)
        videos.append(
            EvaluatedVideo(
                name=name,
                portrait=portrait,
                face_box=box,
                clip=clip,
                frames=generated,
                reading=reader.read(generated),
                true_reading=reader.read(clip.frames),
            )
        )
    return videos


def check_clips(config: EmoConfig, clips: Mapping[str, TrainingClip], frames: int) -> None:
    """Checks that clips fit a model and are long enough.

    Raises:
        ValueError: if `frames` is below 1, or if a clip has another resolution than the model or fewer frames.
    """
    if frames < 1:
        raise ValueError("a video has at least one frame")
    for name, clip in clips.items():
        if clip.frames.shape[1] != config.resolution:
            raise ValueError(
                f"clip {name} has {clip.frames.shape[1]} pixels a side, {config.name} {config.resolution}: "
                f"make clips with `python -m training.corpus --resolution {config.resolution}`"
            )
        if len(clip.frames) < frames:
            raise ValueError(f"clip {name} has {len(clip.frames)} frames, {frames} are needed")


def _first_frames(clip: TrainingClip, frames: int) -> TrainingClip:
    samples = frames * len(clip.waveform) // len(clip.frames)
    phonemes = frames * len(clip.phoneme_class) // len(clip.frames)
    return replace(
        clip,
        waveform=clip.waveform[:samples],
        phoneme_class=clip.phoneme_class[:phonemes],
        **{name: getattr(clip, name)[:frames] for name in _FRAME_FIELDS},
    )
