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
    """One way to denoise, and how well mouths follow the voice then.

    Attributes:
        sync: correlation of the mouth's opening with the truth; None if it was never measured.
    """

    sampling: Sampling
    sync: float | None = None

    def __str__(self) -> str:
        return f"{self.sampling}" if self.sync is None else f"{self.sampling} (mouth r = {self.sync:.2f})"


def read_presets(bundle: Bundle) -> list[Preset]:
    """The presets of a bundle, best first: as `export.presets` measured them, or else its own, guided less and less.

    Raises:
        BundleError: if the measurements cannot be read.
    """
    try:
        rows = json.loads((bundle.directory / PRESETS_NAME).read_text())["presets"]
        return [Preset(Sampling(*(row[field.name] for field in fields(Sampling))), row["sync"]) for row in rows]
    except FileNotFoundError:
        own = Sampling.of(bundle.config)
        guided = sorted({own.guided_steps, own.guided_steps // 2, min(own.guided_steps, 1)}, reverse=True)
        return [Preset(replace(own, guided_steps=count)) for count in guided]
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise BundleError(f"bundle {bundle.directory}: {PRESETS_NAME} cannot be read ({error}); remove it") from error
