"""A bundle fails below a threshold of its precision, and by a value that is no number."""

from __future__ import annotations

import pytest

from export.graphs.options import BACKEND_PRECISIONS
from export.thresholds import BUNDLE_THRESHOLDS, BundleThresholds, unmet_thresholds


@pytest.mark.parametrize("cosine", [0.5, float("nan")])
def test_what_is_below_a_threshold_or_no_number_fails(cosine: float) -> None:
    good = {"cosine": 1.0}
    assert unmet_thresholds(BundleThresholds(0.9, 40), {"backbone": good}, {"psnr": 40.0}) == []
    (failure,) = unmet_thresholds(
        BundleThresholds(0.9, 40), {"backbone": {"cosine": cosine}, "vae_decoder": good}, {"psnr": 50.0}
    )
    assert failure.startswith("backbone: cosine")
    assert unmet_thresholds(BundleThresholds(0.9, 40), {"backbone": good}, {"psnr": cosine}) == [
        f"video: {cosine:.1f} dB, at least 40 wanted"
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"least_range": 0.2}, "activations use 0.20 to 1.00 of a quantizer's range, 0.25 to 4.0 wanted"),
        ({"most_range": 4.1}, "activations use 0.50 to 4.10 of a quantizer's range, 0.25 to 4.0 wanted"),
        ({"most_range": float("nan")}, "activations use 0.50 to nan"),
        ({"weight_error": 0.06}, "a weight is off by 0.060, at most 0.05 wanted"),
        ({"weight_error": float("nan")}, "a weight is off by nan"),
    ],
)
def test_quantizers_have_thresholds(found: dict[str, float], words: str) -> None:
    good = {"cosine": 1.0, "quantizers": 9, "least_range": 0.5, "most_range": 1.0, "weight_error": 0.01}
    assert unmet_thresholds(BUNDLE_THRESHOLDS["int8"], {"backbone": good}, {"psnr": 40.0}) == []
    (failure,) = unmet_thresholds(BUNDLE_THRESHOLDS["int8"], {"backbone": {**good, **found}}, {"psnr": 40.0})
    assert failure.startswith(f"backbone: {words}")


def test_thresholds_are_those_of_the_project() -> None:
    """What the documents promise, for every precision that can be built."""
    assert set(BUNDLE_THRESHOLDS) == {name for names in BACKEND_PRECISIONS.values() for name in names}
    promised = {
        "fp32": (0.999999, 60),
        "fp16": (0.9999, 45),
        "bf16": (0.999, 35),
        "int8": (0.999, 35),
        "fp8": (0.998, 30),
    }
    assert {name: (least.cosine, least.video_psnr) for name, least in BUNDLE_THRESHOLDS.items()} == promised
