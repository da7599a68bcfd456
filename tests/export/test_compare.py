"""A graph is compared in all of its outputs, and one that is no number spoils the comparison."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.compare import compare_graph
from export.thresholds import BUNDLE_THRESHOLDS, unmet_thresholds

OUTPUTS = {name: np.linspace(-1, 1, 50, dtype=np.float32) for name in ("keys", "values", "latents")}


def compared(outputs: dict[str, np.ndarray]) -> dict[str, float]:
    """What is found of an engine that gives these outputs, where PyTorch gives `OUTPUTS`."""
    recorded: Any = SimpleNamespace(
        compared=[0], calls=[SimpleNamespace(inputs={}, outputs=OUTPUTS)], graph=SimpleNamespace(module=None)
    )
    engine: Any = SimpleNamespace(run=lambda _: outputs)
    return compare_graph(recorded, engine, None)  # type: ignore[arg-type]


def unmet(found: dict[str, float]) -> list[str]:
    return unmet_thresholds(BUNDLE_THRESHOLDS["fp32"], {"graph": found}, {"psnr": 99.0})


def test_the_worst_output_counts() -> None:
    assert unmet(compared(OUTPUTS)) == []
    off = compared({**OUTPUTS, "values": OUTPUTS["values"] + np.float32(0.1)})
    assert off["max_error"] == pytest.approx(0.05, rel=1e-5)
    assert off["psnr"] == pytest.approx(20 * math.log10(2 / 0.1), rel=1e-5)
    assert len(unmet(off)) == 1


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_is_no_number_fails_wherever_it_stands(name: str) -> None:
    one = OUTPUTS[name].copy()
    one[7] = np.nan
    found = compared({**OUTPUTS, name: one})
    assert all(math.isnan(value) for value in found.values())
    assert len(unmet(found)) == 1
