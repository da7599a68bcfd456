"""Runs of the test size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_models import emo_model

from training.model.model import EmoModel
from training.stages.recipe import Recipe
from training.stages.stage import STAGES
from training.stages.trainer import Trainer, TrainingOptions

#: The stages of the test size, whose model has no eyelids.
TEST_STAGES = tuple(stage for stage in STAGES if stage != "eyelids")


def trainer(
    stage: str, clips: Path, out: Path, recipe: Recipe | None = None, model: EmoModel | None = None, **options: Any
) -> Trainer:
    """A run of a stage: the test size's recipe and model if none is given, and other `TrainingOptions`."""
    recipe = recipe or Recipe.load("emo-test", stage)
    return Trainer(model or emo_model(), stage, recipe, TrainingOptions(data=clips, out=out, **options))
