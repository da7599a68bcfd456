"""All stages one after the other, in as many minutes as there are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from training.model.model import EmoModel
from training.samples.clip_folder import ClipFolder
from training.stages.checkpoint import check_no_state, save_checkpoint
from training.stages.recipe import Recipe
from training.stages.stage import DIFFUSION_STAGES, LATENT_STAGES, required_fields
from training.stages.trainer import Trainer, TrainingOptions

#: How much longer than the first a save may take.
_SAFETY = 2.0


def train_all_stages(
    model: EmoModel, recipes: Mapping[str, Recipe], options: TrainingOptions, minutes: float, started: float
) -> Path:
    """Trains stages in their order, each to a checkpoint in a folder of its own in `options.out`.

    What is left of the time when a stage begins is divided by the shares of the stages to come.

    Args:
        model: model to start from; it is trained in place
        recipes: the recipes of the stages that have a share of the time, in order; their `steps` do not count
        options: where and on what they train
        minutes: time for everything, reading the clips and saving included
        started: when the time began, on the monotonic clock

    Returns:
        the last stage's checkpoint

    Raises:
        ValueError: if the time is too short to save a checkpoint after each stage, or a folder has a run that can go
            on.
        OSError: if a checkpoint cannot be saved.
    """
    began, stages = time.monotonic(), list(recipes)
    for stage in stages:
        check_no_state(options.out / stage)
    save_checkpoint(options.out / stages[0], model, None)
    save_seconds = _SAFETY * (time.monotonic() - began)
    clips: ClipFolder | None = None
    for index, (stage, recipe) in enumerate(recipes.items()):
        if stage in LATENT_STAGES and clips is None:
            clips = _clips_with_latents(model, recipes, options)
        left = started + 60 * minutes - time.monotonic() - save_seconds * (len(stages) - index)
        if left <= 0:
            raise ValueError(
                f"{minutes:g} minutes are too short to read the clips and save {len(stages)} stages: "
                "allow more, or train on fewer clips"
            )
        seconds = left * recipe.share / sum(recipes[following].share for following in stages[index:])
        own = replace(options, out=options.out / stage, minutes=seconds / 60)
        run = Trainer(model, stage, recipe, own, clips if stage in LATENT_STAGES else None)
        run.run()
        model = run.averaged
    return options.out / stages[-1]


def _clips_with_latents(model: EmoModel, recipes: Mapping[str, Recipe], options: TrainingOptions) -> ClipFolder:
    """The clips that all stages on latents can learn from."""
    # The eyelids stage takes no notice of clips without landmarks, from which the others learn.
    learners = {stage: recipe for stage, recipe in recipes.items() if stage in DIFFUSION_STAGES}
    needs = {
        field
        for stage, recipe in learners.items()
        for field in required_fields(stage, model.config, recipe.knows_speed)
    }
    return ClipFolder(
        options.data,
        model.config,
        model.vae.eval(),
        needs=sorted(needs),
        shortest=max((recipe.shortest_clip(stage, model.config) for stage, recipe in learners.items()), default=1),
        device=torch.device(options.device),
        views=options.views,
    )
