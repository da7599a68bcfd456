"""How a stage trains, as the `[stages.NAME]` tables of `training/configs/*.toml` say."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from emo_rt.errors import printable
from training.model.config import EmoConfig
from training.samples.regions import RegionWeights
from training.stages.config_check import check_fields, read_checked_config
from training.stages.stage import STAGES

#: Steps over which the learning rate rises at the start.
WARMUP_STEPS = 100


@dataclass(frozen=True)
class Recipe:
    """Settings of one stage. The paper gives batch sizes and the learning rate (section 4.1); all else is *ours*.

    Attributes:
        steps: number of optimizer steps
        batch_size: number of pictures, sound windows or clips in a batch of one process
        learning_rate: highest learning rate, see `learning_rate_at`; with 0 the weights stay as they begin, such as the
            principal components of a VAE's shortcut
        accumulate: number of batches whose gradients make one step: the step of one large batch, in the memory of a
            small one
        face_weight: weight of the squared error in the face box (elsewhere 1)
        mouth_weight: weight of the squared error at the mouth (elsewhere 1)
        hears: whether the image stage hears the voice too, and trains the audio layers (*ours*: single frames of many
            people teach a small model what lips do sooner than clips of a few)
        audio_dropout: share of the samples that train without a voice, so that guidance can compare with none
        first_clips: share of the samples without motion frames, whose reference is the frame before: the start of a
            video
        coarse: exponent of a latent channel's share in the picture, as the weight of its error (only with a VAE's
            shortcut): 0 counts all channels the same, 2 counts pixels, so that the larger, the more do light and shape
            weigh against lashes
        movement_weight: weight of the difference between the frames and the portrait as a model's warp moves it, as if
            nothing new covered it; without it, a model hardly finds out that a mouth is drawn by moving lips
        landmark_weight: weight of the warp's error at the landmarks of the face, where they are known: where each comes
            from, and that the portrait is seen there, but not between parted lips
        knows_speed: whether the video stage knows how fast the head turns, and trains the speed layers too (*ours*: a
            model that must guess where a head goes blurs it)
        own_motion: share of the batches whose motion frames are generated, in one step from pure noise, and not
            recorded: a clip must not add to the errors of the one before
        own_clips: largest number of clips that are generated one after the other for this
        other_mouths: share of the windows whose motion frames and reference have the mouths of another moment: what the
            mouth does must follow from the voice, and not from what a clip before has drawn
        closed_mouths: share of the windows whose reference is, of a few random frames, that with the mouth most closed,
            as in the portraits that people bring, and the head most in its place
        motion_noise: largest standard deviation of the noise on the motion frames, against drift from clip to clip
        still: share of the samples that are chosen for a still head, where only the mouth moves
        every_speed: share of the windows that are chosen for the head speed of a random bucket, each bucket as often
            as the others: most heads are slow
        high_noise: share of the timesteps that are drawn from the noisiest 40 %, which decide the mouth
        pure_noise: share of the timesteps that are the noisiest one, where sampling begins: there, the voice alone
            says what the mouth does
        share: share of the time, where all stages train in a number of minutes; 0 leaves the stage out
        ema: decay of the average of the weights, which the checkpoint keeps
    """

    steps: int
    batch_size: int
    learning_rate: float
    accumulate: int = 1
    face_weight: float = 1.0
    mouth_weight: float = 1.0
    hears: bool = False
    audio_dropout: float = 0.05
    first_clips: float = 0.1
    coarse: float = 1.0
    movement_weight: float = 0.0
    landmark_weight: float = 0.0
    knows_speed: bool = False
    own_motion: float = 0.0
    own_clips: int = 1
    other_mouths: float = 0.0
    closed_mouths: float = 0.0
    motion_noise: float = 0.0
    still: float = 0.0
    every_speed: float = 0.0
    high_noise: float = 0.0
    pure_noise: float = 0.0
    share: float = 0.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "own_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("learning_rate", "coarse", "movement_weight", "landmark_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in (
            "audio_dropout",
            "first_clips",
            "own_motion",
            "other_mouths",
            "closed_mouths",
            "still",
            "every_speed",
            "high_noise",
            "pure_noise",
            "share",
            "ema",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.still + self.every_speed > 1:
            raise ValueError(f"still and every_speed are shares of one whole, not {self.still} and {self.every_speed}")

    @property
    def weights(self) -> RegionWeights:
        """Weights of the squared error by region."""
        return RegionWeights(self.face_weight, self.mouth_weight)

    def learning_rate_at(self, step: int, progress: float) -> float:
        """Learning rate: a linear warm-up times a cosine decay to a tenth.

        Args:
            step: number of finished steps
            progress: share of the training that is done, from 0 to 1
        """
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        decay = 0.55 + 0.45 * math.cos(math.pi * min(progress, 1.0))
        return self.learning_rate * warmup * decay

    def shortest_clip(self, stage: str, config: EmoConfig) -> int:
        """Number of frames that a clip must have to train a stage: those of a window and of all clips before it."""
        if stage not in ("video", "speed"):
            return 1
        return config.motion_frames + config.clip_frames * (1 + (self.own_clips if self.own_motion else 0))

    @classmethod
    def load(cls, config: str | Path, stage: str) -> Recipe:
        """Reads the recipe of a stage.

        Args:
            config: name of a config, or path of a `.toml` file
            stage: name of the stage

        Raises:
            ValueError: if the config cannot be read, has no such stage, or a value makes no sense. It names the file.
        """
        path, content = read_checked_config(config)
        try:
            values = content["stages"][stage]
        except KeyError:
            raise ValueError(f"{path} has no table [stages.{stage}], which says how this stage trains") from None
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            raise ValueError(f"{path}: unknown key {printable(', '.join(sorted(unknown)))} in [stages.{stage}]")
        check_fields(cls, values, f"{path}: [stages.{stage}]")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: [stages.{stage}]: {error}") from None


def timed_stages(config: str | Path) -> list[str]:
    """The stages that have a share of the time, in the order of the config.

    Raises:
        ValueError: if the config cannot be read, or no stage has a share.
    """
    path, content = read_checked_config(config)
    stages = content.get("stages", {})
    if unknown := sorted(stages.keys() - set(STAGES)):
        raise ValueError(f"{path}: unknown stage {printable(unknown[0])}; there are {', '.join(STAGES)}")
    names = [name for name, values in stages.items() if values.get("share")]
    if not names:
        raise ValueError(f"{path} gives no stage a share of the time: choose a stage, or set `share`")
    return names
