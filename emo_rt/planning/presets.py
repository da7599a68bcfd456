"""The presets of a bundle: steps, guidance and cache interval that it was measured with."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace

from emo_rt.bundle import Bundle
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import BundleError, InputError

PRESETS_NAME = "presets.json"


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
        rows = json.loads((bundle.directory / PRESETS_NAME).read_text())["presets"]
        return [Preset(Sampling(*(row[field.name] for field in fields(Sampling))), row["sync"]) for row in rows]
    except FileNotFoundError:
        default = Sampling.of(bundle.config)
        guided = sorted({default.guided_steps, default.guided_steps // 2, min(default.guided_steps, 1)}, reverse=True)
        return [Preset(replace(default, guided_steps=count)) for count in guided]
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise BundleError(f"bundle {bundle.directory}: {PRESETS_NAME} cannot be read ({error}); remove it") from error
