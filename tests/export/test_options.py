"""Options of a build are ones that a backend runs."""

from __future__ import annotations

from typing import Any

import pytest

from emo_rt.engines.registry import BACKENDS
from export.graphs.options import BACKEND_PRECISIONS, BuildOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp12"}, "no precision 'fp12'; choose fp32, fp16, int8"),
        ({"precision": "fp8"}, "no precision 'fp8'; build it for tensorrt"),
        ({"clip_frames": 0}, "clip frames is 0; choose 1 or more"),
        ({"resolution": -1}, "resolution is -1; choose 1 or more"),
        ({"calibration_clips": 0}, "calibration clips is 0; choose 1 or more"),
        ({"backend": "abacus"}, "backend 'abacus' is unknown; choose onnxruntime, openvino, tensorrt"),
    ],
)
def test_what_a_backend_does_not_run_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BuildOptions(**options)


def test_only_engines_for_gpus_halve_what_is_not_of_8_bits() -> None:
    assert BuildOptions("int8").dtype == BuildOptions("int8", "openvino").dtype == "float32"
    assert BuildOptions("int8", "tensorrt").dtype == BuildOptions("fp8", "tensorrt").dtype == "float16"


def test_only_processors_take_unsigned_activations() -> None:
    assert BuildOptions("int8").storage == BuildOptions("int8", "openvino").storage == "uint8"
    assert BuildOptions("int8", "tensorrt").storage == "int8"
    assert BuildOptions("fp8", "tensorrt").storage == "fp8"


def test_the_config_changes_where_an_option_says_so() -> None:
    assert BuildOptions().config_changes == {}
    assert BuildOptions(clip_frames=6, resolution=64).config_changes == {"clip_frames": 6, "resolution": 64}


def test_bundles_are_built_for_backends_of_the_runtime() -> None:
    assert BACKEND_PRECISIONS.keys() < BACKENDS.keys()
