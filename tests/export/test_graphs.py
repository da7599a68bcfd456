"""Graphs of other sizes than those of the bundles: cached steps, and a step that moves the portrait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import emo_model

from emo_rt.engines.engine import to_numpy
from emo_rt.engines.onnxruntime import OnnxRuntimeEngine
from emo_rt.engines.openvino import OpenVinoEngine
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import export_part, graph_spec
from training.model.config import EmoConfig
from training.model.model import EmoModel


@pytest.mark.parametrize("name", ["backbone", "guided_backbone"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        # As in the paper: the voice enters through attention alone.
        {"audio_in_time_embedding": False, "known_frames_in_latents": False},
        {"attention_levels": (False, True), "temporal_levels": (False, True), "audio_in_time_embedding": False},
        {"attention_levels": (True, True), "layers_per_block": 2},
        {"portrait_warp": True, "vae_shortcut": True},
        {"portrait_warp": True, "vae_shortcut": True, "eyelids": True},
        {"gestures": True, "audio_in_time_embedding": False},
    ],
    ids=["test", "paper", "deep", "wide", "warp", "eyelids", "gestures"],
)
def test_a_cached_step_with_its_own_deep_features_is_the_full_step(changes: dict[str, object], name: str) -> None:
    torch.manual_seed(0)
    config = replace(EmoConfig.from_name("emo-test"), **changes)  # type: ignore[arg-type]
    model = EmoModel(config).eval()
    for parameter in model.parameters():
        if not parameter.any():  # layers that a new model leaves at zero
            torch.nn.init.normal_(parameter, std=0.1)
    made = export_graphs(model)
    full, cached = made[name], made[f"cached_{name}"]
    assert set(cached.inputs) - {"deep_features"} < set(full.inputs)
    outputs = full.run()
    assert outputs["deep_features"].shape == cached.inputs["deep_features"].shape
    inputs = {key: full.inputs.get(key, outputs["deep_features"]) for key in cached.inputs}
    torch.testing.assert_close(cached.run(inputs)["next_latents"], outputs["next_latents"], rtol=0, atol=1e-5)
    other = inputs | {"deep_features": torch.randn_like(outputs["deep_features"])}
    assert not torch.allclose(cached.run(other)["next_latents"], outputs["next_latents"], atol=1e-3)


def test_a_step_that_moves_the_portrait_is_the_same_in_every_runtime(tmp_path: Path) -> None:
    model = emo_model(portrait_warp=True, vae_shortcut=True, layers_per_block=1, eyelids=True)
    model.vae.shortcut_encoder.weight.mul_(10)  # what moves counts
    made = export_graphs(model)["cached_guided_backbone"]
    inputs = made.inputs | {"portrait": torch.rand_like(made.inputs["portrait"]) * 2 - 1}
    inputs |= {"eyelids": 0.02 * torch.randn_like(inputs["eyelids"]), "closing": torch.rand_like(inputs["closing"])}
    opened = made.run(inputs | {"closing": torch.zeros_like(inputs["closing"])})["next_latents"]
    expected = made.run(inputs)["next_latents"]
    still = made.run(inputs | {"portrait": torch.zeros_like(inputs["portrait"])})["next_latents"]
    assert (expected - still).abs().max() > 0.1
    assert (expected - opened).abs().max() > 0.05
    export_part({"step": made}, tmp_path)
    path = tmp_path / "step.onnx"
    for engine in (OnnxRuntimeEngine, OpenVinoEngine):
        outputs = engine("step", path, graph_spec(path)).run({name: value.numpy() for name, value in inputs.items()})
        torch.testing.assert_close(torch.from_numpy(to_numpy(outputs["next_latents"])), expected, rtol=0, atol=1e-4)
