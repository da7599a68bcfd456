"""How a stage trains, as the ``[stages.NAME]`` tables of ``training/configs/*.toml`` say."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from training.model.config import read_config_file
from training.stages.data import Weights

STAGES = ("vae", "decoder", "audio", "image", "video", "speed")


@dataclass(frozen=True)
class Recipe:
    """One stage's settings. The paper gives batch sizes and the learning rate (section 4.1); all else is *ours*.

    Attributes:
        steps: optimizer steps.
        batch_size: pictures, sound windows or clips per step and process.
        learning_rate: after a linear warm-up of 100 steps, with cosine decay to a tenth.
        accumulate: batches whose gradients make one step: as a batch so many times as large, in the memory of one.
        face_weight, mouth_weight: weights of the squared error in the face box and at the mouth (elsewhere 1).
        audio_dropout: how often a sample has no voice, so that guidance has something to be compared with.
        first_clips: share of the samples without motion frames, whose reference is the frame before, as where a video
            begins.
        own_motion: how often the motion frames are not recorded ones but generated, by one step from pure noise:
            what follows upon a generated clip must not add to its errors.
        motion_noise: largest standard deviation of noise on the motion frames, against drift from clip to clip.
        still: share of the windows that are chosen for a still head, where what moves is the mouth.
        every_speed: share of the windows that are chosen for a head as fast as one of the speed buckets, each as often:
            heads are mostly slow.
        high_noise: share of the timesteps drawn from the noisiest 40 %, where the mouth is decided.
        ema: decay of the averaged weights that are kept.
    """

    steps: int
    batch_size: int
    learning_rate: float
    accumulate: int = 1
    face_weight: float = 1.0
    mouth_weight: float = 1.0
    audio_dropout: float = 0.05
    first_clips: float = 0.1
    own_motion: float = 0.0
    motion_noise: float = 0.0
    still: float = 0.0
    every_speed: float = 0.0
    high_noise: float = 0.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be more than 0, not {self.learning_rate}")
        for name in ("audio_dropout", "first_clips", "own_motion", "still", "every_speed", "high_noise", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.still + self.every_speed > 1:
            raise ValueError(f"still and every_speed are shares of one whole, not {self.still} and {self.every_speed}")

    @property
    def weights(self) -> Weights:
        """Of the error, by place."""
        return Weights(self.face_weight, self.mouth_weight)

    @classmethod
    def load(cls, config: str | Path, stage: str) -> Recipe:
        """A stage's recipe from a config by name or file. Raises ``ValueError`` that names what is wrong in which."""
        path, content = read_config_file(config)
        try:
            values = content["stages"][stage]
        except KeyError:
            raise ValueError(f"{path} says nothing of this stage: it has no table [stages.{stage}]") from None
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: unknown key {', '.join(sorted(unknown))} in [stages.{stage}]")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: [stages.{stage}]: {error}") from None
