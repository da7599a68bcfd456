"""The presets of a bundle: steps, guidance and cache interval that it was measured with."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from emo_rt.bundle import Bundle, NoiseSchedule, read_json
from emo_rt.cascade.sampling import Sampling
from emo_rt.cascade.schedule import ddim_timesteps
from emo_rt.errors import BundleError, InputError, reason

PRESETS_NAME = "presets.json"
#: JSON types of steps, guidance scale, guided steps and cache interval.
_KINDS = ((int,), (int, float), (int,), (int,))


@dataclass(frozen=True)
class Preset:
    """A sampling, and how well the mouth follows the voice with it.

    Attributes:
        sampling: how clips are denoised
        sync: correlation r of the mouth's opening with the truth; None if it was not measured
    """

    sampling: Sampling
    sync: float | None = None

    def __str__(self) -> str:
        return f"{self.sampling}" if self.sync is None else f"{self.sampling} (mouth r = {self.sync:.2f})"


def read_presets(bundle: Bundle) -> list[Preset]:
    """The presets of a bundle, best first.

    They are those that `export.presets` measured. A bundle without measurements has its default sampling, and the same
    with half of its guided steps and with one.

    Raises:
        BundleError: if the measurements cannot be read.
    """
    try:
        rows = read_json(bundle.directory / PRESETS_NAME)["presets"]
        if not isinstance(rows, list) or not rows:
            raise ValueError("it has no list of presets")
        return [_preset(row, bundle.noise_schedule) for row in rows]
    except FileNotFoundError:
        default = Sampling.of(bundle.config)
        guided = sorted({default.guided_steps, default.guided_steps // 2, min(default.guided_steps, 1)}, reverse=True)
        return [Preset(replace(default, guided_steps=count)) for count in guided]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError) as error:
        raise BundleError(
            f"bundle {bundle.directory}: {PRESETS_NAME} cannot be read ({reason(error)}); remove it"
        ) from error


def _preset(row: Any, noise_schedule: NoiseSchedule) -> Preset:
    values, sync = [row[field.name] for field in fields(Sampling)], row["sync"]
    for value, kinds in zip((*values, sync), (*_KINDS, (int, float, type(None))), strict=True):
        if type(value) not in kinds:
            raise TypeError(f"a preset has a value of the type {type(value).__name__}")
    if sync is not None and not -1 <= sync <= 1:
        raise ValueError("a correlation is out of range")
    sampling = Sampling(*values)
    ddim_timesteps(noise_schedule, sampling.steps)
    return Preset(sampling, sync)
