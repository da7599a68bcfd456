"""A bundle is refused, in one line that says what to do, unless every file is what the export wrote."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from fake_bundle import CONFIG, SCHEDULE

from emo_rt.bundle import GRAPH_NAMES, Bundle
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


def test_a_missing_directory_is_named_with_where_bundles_come_from(tmp_path: Path) -> None:
    """Also to a user of the wheel, which has no `export`."""
    words = r"nowhere: no such directory; give one .*export\.build` wrote in a checkout.*that comes with emo-rt"
    with pytest.raises(BundleError, match=words) as raised:
        Bundle.load(tmp_path / "nowhere")
    assert "\n" not in str(raised.value)


def test_a_bundle_of_the_format_before_says_what_to_do(copy: Path) -> None:
    """The version counts before anything else: graphs had other names in version 3."""
    manifest = (copy / "manifest.json").read_text().replace('"cached_', '"other_')
    (copy / "manifest.json").write_text(json.dumps(json.loads(manifest) | {"format_version": 3}))
    with pytest.raises(BundleError) as raised:
        Bundle.load(copy)
    assert str(raised.value) == (
        f"bundle {copy}: manifest.json: it has format version 3, and this version of emo-rt reads 4; rebuild it with "
        "`python -m export.build` in a checkout of emo-rt, or reinstall emo-rt if it came with it"
    )


def test_a_bundle_that_failed_its_validation_is_refused_unless_asked_for(copy: Path) -> None:
    (copy / "validation.json").write_text('{"failures": []}')
    Bundle.load(copy)
    (copy / "validation.json").write_text('{"failures": ["video: 20 dB, 45 wanted"]}')
    with pytest.raises(BundleError, match=r"\(video: 20 dB, 45 wanted\); rebuild it .* --unvalidated"):
        Bundle.load(copy)
    (copy / "validation.json").write_text("{")
    with pytest.raises(BundleError, match=r"validation\.json cannot be read"):
        Bundle.load(copy)
    assert Bundle.load(copy, validated=False) == Bundle(copy, Bundle.load(copy, validated=False).manifest)


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


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["manifest.json", "validation.json", "backbone.onnx"])
def test_a_named_pipe_or_a_directory_is_no_file_of_a_bundle(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    os.mkfifo(copy / name)
    with pytest.raises(BundleError, match=rf"{name}.*is no file"):
        Bundle.load(copy)
    (copy / name).unlink()
    (copy / name).mkdir()
    with pytest.raises(BundleError, match=rf"{name}.*is no file"):
        Bundle.load(copy)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"failures": 5}', '{"failures": "text"}', "5", "\x00"])
def test_a_validation_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / "validation.json").write_text(text)
    with pytest.raises(BundleError, match=r"validation\.json cannot be read"):
        Bundle.load(copy)
