"""A cached step with the deep features of the same step is that step, at every size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from export.graphs.modules import export_graphs
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
    ],
    ids=["test", "paper", "deep", "wide"],
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
