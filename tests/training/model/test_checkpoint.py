"""Checkpoints: what is saved is what is loaded, and a broken one is a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import Inputs, autoencoder, emo_model, latents

from training.model.model import EmoModel


@pytest.fixture
def checkpoint(model: EmoModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_loaded_model_is_the_saved_one_rounded_to_float16(model: EmoModel, checkpoint: Path) -> None:
    loaded = EmoModel.load(checkpoint)
    assert loaded.config == model.config
    saved_state, loaded_state = model.state_dict(), loaded.state_dict()
    assert saved_state.keys() == loaded_state.keys()
    for name, tensor in loaded_state.items():
        wanted = saved_state[name] if name.endswith("pos_embed.pe") else saved_state[name].half().float()
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, wanted), name
    assert not loaded.training


def test_a_loaded_model_computes_the_same(checkpoint: Path) -> None:
    first, second = EmoModel.load(checkpoint), EmoModel.load(checkpoint)
    second.save(checkpoint.with_name("again"))
    noisy, timestep, inputs = latents(first.config, 1, 4), torch.tensor([300]), Inputs(first.config)
    predictions = [
        model.backbone(noisy, timestep, inputs.conditions(model))
        for model in (first, EmoModel.load(checkpoint.with_name("again")))
    ]
    assert torch.equal(*predictions)


def test_a_checkpoint_saved_again_has_the_same_bytes(checkpoint: Path) -> None:
    again = checkpoint.with_name("again")
    EmoModel.load(checkpoint).save(again)
    files = {path.relative_to(checkpoint) for path in checkpoint.rglob("*") if path.is_file()}
    assert files == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    for file in files:
        assert (checkpoint / file).read_bytes() == (again / file).read_bytes(), file


def test_the_scale_of_the_latents_is_kept(tmp_path: Path) -> None:
    model = emo_model()
    model.vae.autoencoder = autoencoder(model.config, scaling_factor=0.321)
    model.save(tmp_path / "scaled")
    assert EmoModel.load(tmp_path / "scaled").vae.scaling_factor == 0.321


def test_saving_leaves_the_model_as_it_was(model: EmoModel, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save(tmp_path / "checkpoint")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_directory_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'nothing'} is no checkpoint"):
        EmoModel.load(tmp_path / "nothing")


@pytest.mark.parametrize("change", ["missing", "odd"])
def test_a_key_too_few_or_too_many_is_named(checkpoint: Path, change: str) -> None:
    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    name = "backbone.conv_in.weight" if change == "missing" else "backbone.conv_in.other"
    if change == "missing":
        del weights[name]
    else:
        weights[name] = torch.zeros(1)
    save_file(weights, path)
    with pytest.raises(ValueError, match=f"model.safetensors does not fit .*config.json: {name}"):
        EmoModel.load(checkpoint)


def test_a_weight_of_another_shape_is_named(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    weights["backbone.conv_in.bias"] = torch.zeros(3)
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"model.safetensors does not fit .*config.json: backbone.conv_in.bias"):
        EmoModel.load(checkpoint)


@pytest.mark.parametrize("part", ["vae", "wav2vec2"])
def test_a_missing_part_is_named(checkpoint: Path, part: str) -> None:
    for path in (checkpoint / part).iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=f"{checkpoint / part} is no .* that can be read"):
        EmoModel.load(checkpoint)


def test_a_vae_of_another_shape_than_the_config_says_is_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["vae"]["latent_channels"] = 8
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"vae does not fit .*config.json: "):
        EmoModel.load(checkpoint)


def test_an_unknown_key_in_the_config_is_named(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"depth": 3}))
    with pytest.raises(ValueError, match="unknown key depth"):
        EmoModel.load(checkpoint)
