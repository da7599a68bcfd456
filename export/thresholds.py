"""The thresholds that a bundle must meet against its PyTorch model, for each precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BundleThresholds:
    """The least that a bundle must reach.

    Attributes:
        cosine: least cosine of a graph's outputs with PyTorch's
        video_psnr: least PSNR of the decoded video against PyTorch's, in dB
    """

    cosine: float
    video_psnr: float


#: The thresholds of each precision.
BUNDLE_THRESHOLDS = {
    "fp32": BundleThresholds(0.999999, 60),
    "fp16": BundleThresholds(0.9999, 45),
    "bf16": BundleThresholds(0.999, 35),
    "int8": BundleThresholds(0.999, 35),
    "fp8": BundleThresholds(0.998, 30),
}
#: The least correlation of the mouth opening in a bundle's video with that in PyTorch's, as a reader of faces sees it.
LEAST_MOUTH_CORRELATION = 0.98
#: The least and the most of a quantizer's range that activations use, as shares.
QUANTIZER_USE = (0.25, 4.0)
#: The largest error of a weight of 8 bits, as a share of its norm.
LARGEST_WEIGHT_ERROR = 0.05


def unmet_thresholds(
    thresholds: BundleThresholds, compared: Mapping[str, Mapping[str, float]], video: Mapping[str, float]
) -> list[str]:
    """The thresholds that a bundle does not meet, in words. A value that is not a number meets none.

    Args:
        thresholds: thresholds of the bundle's precision
        compared: for each graph, by name, what `compare_graph` and `check_quantizers` found
        video: what `compare_videos` found
    """
    failures = [
        f"{name}: cosine {graph['cosine']:.6f}, at least {thresholds.cosine} wanted"
        for name, graph in compared.items()
        if not graph["cosine"] >= thresholds.cosine
    ]
    for name, graph in compared.items():
        if "quantizers" in graph:
            failures += _unmet_by_quantizers(name, graph)
    if not video["psnr"] >= thresholds.video_psnr:
        failures.append(f"video: {video['psnr']:.1f} dB, at least {thresholds.video_psnr} wanted")
    mouth = video.get("mouth_correlation", 1.0)
    if not mouth >= LEAST_MOUTH_CORRELATION:
        failures.append(f"mouth: correlation {mouth:.3f}, at least {LEAST_MOUTH_CORRELATION} wanted")
    return failures


def _unmet_by_quantizers(name: str, graph: Mapping[str, float]) -> list[str]:
    failures, (low, high) = [], QUANTIZER_USE
    if not low <= graph["least_range"] <= graph["most_range"] <= high:
        failures.append(
            f"{name}: activations use {graph['least_range']:.2f} to {graph['most_range']:.2f} of a quantizer's "
            f"range, {low} to {high} wanted"
        )
    if not graph["weight_error"] <= LARGEST_WEIGHT_ERROR:
        failures.append(
            f"{name}: a weight is off by {graph['weight_error']:.3f}, at most {LARGEST_WEIGHT_ERROR} wanted"
        )
    return failures
