"""All stages one after the other, in as many minutes as there are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from training.model.model import EmoModel
from training.samples.clip_folder import ClipFolder
from training.stages.checkpoint import save_checkpoint
from training.stages.recipe import Recipe
from training.stages.stage import DIFFUSION_STAGES, required_fields
from training.stages.trainer import Trainer, TrainingOptions

#: How much longer than the first a save may take.
_SAFETY = 2.0


@dataclass(frozen=True)
class TimedStage:
    """A stage and its part of the time.

    Attributes:
        name: name of the stage
        recipe: settings, whose `steps` do not count
    """

    name: str
    recipe: Recipe


def train_all_stages(
    model: EmoModel, stages: list[TimedStage], options: TrainingOptions, minutes: float, started: float
) -> Path:
    """Trains stages in their order, each to a checkpoint in a folder of its own in `options.out`.

    What is left of the time when a stage begins is divided by the shares of the stages to come.

    Args:
        model: model to start from; it is trained in place
        stages: the stages that have a share of the time
        options: where and on what they train
        minutes: time for everything, reading the clips and saving included
        started: when the time began, on the monotonic clock

    Returns:
        the last stage's checkpoint

    Raises:
        ValueError: if the time is too short to save a checkpoint after each stage.
        OSError: if a checkpoint cannot be saved.
    """
    began = time.monotonic()
    save_checkpoint(options.out / stages[0].name, model, None)
    save_seconds = _SAFETY * (time.monotonic() - began)
    clips: ClipFolder | None = None
    for index, stage in enumerate(stages):
        if stage.name in DIFFUSION_STAGES and clips is None:
            clips = _clips_with_latents(model, stages, options)
        left = started + 60 * minutes - time.monotonic() - save_seconds * (len(stages) - index)
        if left <= 0:
            raise ValueError(
                f"{minutes:g} minutes are too short to read the clips and save {len(stages)} stages: "
                "allow more, or train on fewer clips"
            )
        seconds = left * stage.recipe.share / sum(following.recipe.share for following in stages[index:])
        own = replace(options, out=options.out / stage.name, minutes=seconds / 60, resumable=False)
        run = Trainer(model, stage.name, stage.recipe, own, clips if stage.name in DIFFUSION_STAGES else None)
        run.run()
        model = run.averaged
    return options.out / stages[-1].name


def _clips_with_latents(model: EmoModel, stages: list[TimedStage], options: TrainingOptions) -> ClipFolder:
    """The clips that all stages on latents can learn from."""
    learners = [stage for stage in stages if stage.name in DIFFUSION_STAGES]
    needs = {field for stage in learners for field in required_fields(stage.name, stage.recipe.knows_speed)}
    return ClipFolder(
        options.data,
        model.config,
        model.vae.eval(),
        needs=sorted(needs),
        shortest=max(stage.recipe.shortest_clip(stage.name, model.config) for stage in stages),
        device=torch.device(options.device),
        views=options.views,
    )
