"""A manifest is what its JSON says, and one that contradicts itself is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_rt.bundle import Bundle, Manifest
from emo_rt.errors import BundleError
from emo_rt.jobs.request import GenerationOptions
from emo_rt.jobs.session import Session


def test_a_manifest_survives_json(bundle: Path) -> None:
    manifest = Bundle.load(bundle).manifest
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_facts_that_this_version_does_not_know_are_ignored(bundle: Path) -> None:
    data = json.loads((bundle / "manifest.json").read_text())
    data["graphs"]["backbone"]["milliseconds"] = 12.5
    assert Manifest.from_json(data) == Bundle.load(bundle).manifest


def set_at(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(data: Any) -> None:
        *parents, last = path.split("/")
        for key in parents:
            data = data[int(key) if isinstance(data, list) else key]
        if value is None:
            del data[last]
        else:
            data[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_at("format_version", 1), "format version 1"),
        (set_at("format_version", None), "format version None"),
        (set_at("config", None), "no 'config'"),
        (set_at("config", []), "'config'"),
        (set_at("config/steps", None), "no 'steps'"),
        (set_at("config/steps", "ten"), "'steps' of the type str"),
        (set_at("config/steps", 0), "config.steps is 0"),
        (set_at("config/speed", -1.0), "config.speed is -1"),
        (set_at("config/frames_per_second", 30), "no multiple of 30"),
        (set_at("config/motion_frames", 5), "motion_frames 5 exceeds"),
        (set_at("config/clip_frames", 12), "waveform of shape"),
        (set_at("noise_schedule/alphas_cumprod", [2.0]), "alphas_cumprod"),
        (set_at("noise_schedule/prediction_type", "flow"), "'flow'"),
        (set_at("noise_schedule/timestep_spacing", "linspace"), "'linspace'"),
        (set_at("graphs/backbone", None), "no graph backbone"),
        (set_at("graphs/backbone/file", "../evil.onnx"), r"no sha256 for \.\./evil"),
        (set_at("graphs/backbone/files/..", "00"), "outside of the bundle"),
        (set_at("graphs/backbone/inputs", []), "backbone has no tensor"),
        (set_at("graphs/backbone/inputs/0/dtype", "float99"), "unknown dtype"),
        (set_at("graphs/backbone/inputs/0/shape", [4, 4, 8, 9]), "latents of shape"),
        (set_at("graphs/backbone/inputs/0/shape", ["f", 4, 8, 8]), "sizes are"),
        (set_at("config/resolution", 60_000), "config.resolution is 60000"),
        (set_at("config/resolution", 10**400), "config.resolution is 1000"),
        (set_at("config/guidance_scale", 1e308), r"config.guidance_scale is 1e\+308"),
        (set_at("config/guidance_scale", float("nan")), "config.guidance_scale is nan"),
        (set_at("config/steps", 1001), "config.steps is 1001, more than"),
        (set_at("name", "a\x1b[2J"), "control characters"),
        (set_at("noise_schedule/alphas_cumprod", [10**400]), "too large"),
        (set_at("noise_schedule/alphas_cumprod", [[]]), "must be"),
        (set_at("noise_schedule/steps_offset", 10**400), "steps_offset is 1000"),
        (set_at("graphs/backbone/files/a\0b", "00"), "has a name that no exported file has"),
        (set_at("graphs/backbone/files/\ud800", "00"), "has a name that no exported file has"),
        (set_at("graphs/backbone/files/..\\evil", "00"), "has a name that no exported file has"),
        (set_at("graphs/backbone/files/backbone.onnx", 5), "the sha256 of backbone.onnx is no text"),
        (set_at("graphs/backbone/inputs/0/dtype", "object"), "unknown dtype 'object'"),
        (set_at("graphs/backbone/inputs/0/dtype", "f4,i4"), "unknown dtype"),
        (set_at("graphs/backbone/inputs/0/dtype", "(1,"), "unknown dtype"),
        (set_at("graphs/backbone/inputs/0/shape", [10**400]), "has the shape"),
        (set_at("graphs/backbone/inputs", [[]]), "must be a JSON object"),
        (set_at("graphs/reference_net/outputs", []), "reference_key_00.*no graph supplies"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_in_one_line(
    bundle: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    path = copy / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{message}.*export\.build") as raised:
        Bundle.load(copy)
    assert "\n" not in str(raised.value)


NASTY: list[Any] = [
    0, -1, 1.5, 10**400, 60_000, float("nan"), float("inf"), "", "object", "a\0b", "\ud800", "../x", [], {}, [[]], True,
    {"": None}, "x" * 10_000, [None],
]  # fmt: skip


def leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in JSON, of long tables the first two."""
    yield path
    children = data.items() if isinstance(data, dict) else enumerate(data[:2]) if isinstance(data, list) else ()
    for key, value in children:
        yield from leaves(value, (*path, key))


def test_whatever_is_altered_is_a_bundle_error_or_a_bundle_that_plans(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    text = (copy / "manifest.json").read_text()
    random = np.random.default_rng(0)
    paths = list(leaves(json.loads(text)))
    for _ in range(400):
        data = json.loads(text)
        *parents, last = paths[random.integers(1, len(paths))]
        inner = data
        for key in parents:
            inner = inner[key]
        inner[last] = NASTY[random.integers(len(NASTY))]
        (copy / "manifest.json").write_text(json.dumps(data))
        with contextlib.suppress(BundleError):
            Session(Bundle.load(copy), GenerationOptions("onnxruntime", 1)).plan()
