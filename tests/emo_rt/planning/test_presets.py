"""The presets are those that the bundle was measured with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emo_rt.bundle import Bundle
from emo_rt.cascade.sampling import Sampling
from emo_rt.errors import BundleError
from emo_rt.planning.presets import Preset, read_presets


def test_presets_are_the_measured_ones_or_those_of_the_default_sampling(bundle: Path, tmp_path: Path) -> None:
    own = read_presets(Bundle.load(bundle))
    assert [str(preset) for preset in own] == ["3 steps, all guided", "3 steps, 1 guided"]
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    row = {"steps": 9, "guidance_scale": 3.0, "guided_steps": 2, "cache_interval": 3, "psnr": 31.25, "sync": 0.8125}
    (copy / "presets.json").write_text(json.dumps({"presets": [row]}))
    (measured,) = read_presets(Bundle.load(copy))
    assert measured == Preset(Sampling(9, 3.0, 2, 3), 0.8125)
    assert str(measured) == "9 steps, 2 guided, 1 in 3 full (mouth r = 0.81)"
    for text in ("{}", "[]", "{", json.dumps({"presets": [{**row, "guided_steps": 10}]})):
        (copy / "presets.json").write_text(text)
        with pytest.raises(BundleError, match=r"presets\.json cannot be read"):
            read_presets(Bundle.load(copy))


ROW = {"steps": 9, "guidance_scale": 3.0, "guided_steps": 2, "cache_interval": 3, "sync": 0.5}


@pytest.mark.parametrize(
    "presets",
    [
        [], {}, 5, "text", [5], [[]], [{}], [{**ROW, "steps": 8.5}], [{**ROW, "steps": "8"}], [{**ROW, "steps": 0}],
        [{**ROW, "steps": 10**400}], [{**ROW, "steps": True}], [{**ROW, "guidance_scale": 1e308}],
        [{**ROW, "guidance_scale": float("nan")}], [{**ROW, "guidance_scale": 10**400}], [{**ROW, "cache_interval": 0}],
        [{**ROW, "sync": "good"}], [{**ROW, "sync": []}], [{**ROW, "sync": 10**400}], [{**ROW, "sync": float("nan")}],
    ],
    ids=range(20),
)  # fmt: skip
def test_presets_that_are_none_are_a_fault_of_the_bundle(bundle: Path, tmp_path: Path, presets: object) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "presets.json").write_text(json.dumps({"presets": presets}))
    with pytest.raises(BundleError, match=r"presets\.json cannot be read \(.+\); remove it") as raised:
        read_presets(Bundle.load(copy))
    assert len(str(raised.value)) < 600


def test_presets_that_are_nested_too_deeply_are_refused(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "presets.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match=r"presets\.json cannot be read"):
        read_presets(Bundle.load(copy))
