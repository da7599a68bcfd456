"""The parts of a bundle's manifest that follow from a model's config."""

from __future__ import annotations

import dataclasses

from emo_rt.bundle import NoiseSchedule, RuntimeConfig
from training.model.config import EmoConfig
from training.model.schedule import noise_scheduler


def runtime_config(config: EmoConfig) -> RuntimeConfig:
    """The fields of a model's config that the runtime must know."""
    return RuntimeConfig(**{field.name: getattr(config, field.name) for field in dataclasses.fields(RuntimeConfig)})


def noise_schedule(config: EmoConfig) -> NoiseSchedule:
    """The noise schedule that the runtime takes its DDIM steps from: the table of diffusers' scheduler."""
    scheduler = noise_scheduler(config)
    return NoiseSchedule(
        alphas_cumprod=tuple(scheduler.alphas_cumprod.double().tolist()),
        prediction_type=config.prediction_type,
        timestep_spacing=config.timestep_spacing,
        steps_offset=int(scheduler.config["steps_offset"]),
    )
