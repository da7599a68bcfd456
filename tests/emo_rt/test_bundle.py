from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_bundle import CONFIG, SCHEDULE

from emo_rt.bundle import GRAPH_NAMES, Bundle, Manifest
from emo_rt.errors import BundleError


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_a_bundle_says_what_it_is(bundle: Path) -> None:
    loaded = Bundle.load(bundle)
    assert (loaded.manifest.name, loaded.manifest.precision) == ("fake", "fp32")
    assert loaded.config == CONFIG
    assert loaded.noise_schedule == SCHEDULE
    assert set(loaded.manifest.graphs) == set(GRAPH_NAMES)
    assert loaded.graph_path("backbone") == bundle / "backbone.onnx"
    assert set(loaded.manifest.graphs["backbone"].files) == {"backbone.onnx", "backbone.onnx.data"}


def test_a_manifest_survives_json(bundle: Path) -> None:
    manifest = Bundle.load(bundle).manifest
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_facts_that_this_version_does_not_know_are_ignored(bundle: Path) -> None:
    data = json.loads((bundle / "manifest.json").read_text())
    data["graphs"]["backbone"]["milliseconds"] = 12.5
    assert Manifest.from_json(data) == Bundle.load(bundle).manifest


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: no such directory.*export\.build"):
        Bundle.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["manifest.json", "backbone.onnx", "backbone.onnx.data", "vae_decoder.onnx"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing; rebuild it with `python -m export\.build`"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["backbone.onnx", "backbone.onnx.data", "audio_encoder.onnx"])
def test_an_altered_or_truncated_file_is_named(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for changed in (data[: len(data) // 2], data[:-1] + bytes([data[-1] ^ 1]), b""):
        (copy / name).write_bytes(changed)
        with pytest.raises(BundleError, match=rf"{name} is not the file that was exported.*rebuild it"):
            Bundle.load(copy)


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
        (set_at("graphs/reference_net/outputs", []), "reference_key_00.*no graph supplies"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_in_one_line(
    copy: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = copy / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{message}.*export\.build") as raised:
        Bundle.load(copy)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.load(copy)
