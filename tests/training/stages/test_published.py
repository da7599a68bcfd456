"""Starting from published weights: every key of a directory is accounted for, here and there."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors.torch import load_file, save_file
from tiny_models import autoencoder, draw_constants, emo_model, motion_adapter, sd15_unet
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Model

from training.init import main
from training.model.audio import wav2vec2_config
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.stages.published import (
    KeyReport,
    Kind,
    inherit,
    inherit_motion_adapter,
    inherit_sd15_unet,
    load_motion_adapter,
    load_sd15_unet,
    load_vae,
    load_wav2vec2,
)


@pytest.fixture(scope="module")
def directories(config: EmoConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Published directories in their libraries' layouts, of the test size."""
    root = tmp_path_factory.mktemp("published")
    sd15_unet(config).save_pretrained(root / "sd15")
    motion_adapter(config).save_pretrained(root / "animatediff")
    autoencoder(config, scaling_factor=0.25).save_pretrained(root / "vae")
    torch.manual_seed(4)
    draw_constants(Wav2Vec2Model(wav2vec2_config(config))).save_pretrained(root / "wav2vec2")
    draw_constants(Wav2Vec2ForCTC(wav2vec2_config(config))).save_pretrained(root / "ctc")
    return {name: root / name for name in ("sd15", "animatediff", "vae", "wav2vec2", "ctc")}


def names(report: KeyReport, part: str, *kinds: Kind) -> set[str]:
    return {key.name for key in report if key.part == part and key.kind in kinds}


def below(model: EmoModel, prefix: str, without: str = "no such name", within: str = "") -> set[str]:
    return {name for name in model.state_dict() if name.startswith(prefix) and without not in name and within in name}


def assert_complete(report: KeyReport, part: str, ours: set[str], theirs: dict[str, Tensor], prefix: str) -> None:
    """Each key of both sides stands in the report, once."""
    assert max(Counter((key.part, key.name) for key in report).values()) == 1
    assert names(report, part, *set(Kind) - {Kind.UNUSED}) == ours
    taken = names(report, part, Kind.INHERITED, Kind.CONSTANT, Kind.MISMATCHED)
    assert {name.removeprefix(prefix) for name in taken} | names(report, part, Kind.UNUSED) == set(theirs)


def test_sd15_goes_into_backbone_and_reference_net(config: EmoConfig, directories: dict[str, Path]) -> None:
    model, theirs = emo_model(), sd15_unet(config).state_dict()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_sd15_unet(model, directories["sd15"])
    state = model.state_dict()

    assert_complete(report, "backbone", below(model, "backbone.", without="motion_modules"), theirs, "backbone.")
    assert_complete(report, "reference_net", below(model, "reference_net."), theirs, "reference_net.")
    for key in report:
        own = key.name.removeprefix("backbone.").removeprefix("reference_net.")
        if key.kind == Kind.INHERITED:
            assert torch.equal(state[key.name], theirs[own]), key
        elif key.kind == Kind.INITIALISED:
            assert torch.equal(state[key.name], theirs[own.replace("attn2", "attn1")]), key
        elif key.kind == Kind.NEW:
            assert any(part in own for part in ("_audio", "audio_embedding", "portrait_in", "motion_in"))
            assert torch.equal(state[key.name], before[key.name]), key
    assert not [key for key in report if key.kind == Kind.MISMATCHED]

    text = {name for name in theirs if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))}
    assert names(report, "backbone", Kind.UNUSED) == text
    assert names(report, "backbone", Kind.INITIALISED) == {f"backbone.{name}" for name in text}
    outputs = {name for name in theirs if name.startswith(("conv_norm_out", "conv_out"))}
    assert names(report, "reference_net", Kind.UNUSED) == {name for name in theirs if "attn2" in name} | outputs
    assert names(report, "reference_net", Kind.NEW) == set()


def test_animatediff_goes_into_the_temporal_modules(config: EmoConfig, directories: dict[str, Path]) -> None:
    model, theirs = emo_model(), motion_adapter(config).state_dict()
    report = load_motion_adapter(model, directories["animatediff"])
    ours = below(model, "backbone.", within="motion_modules")
    assert_complete(report, "temporal", ours, theirs, "backbone.")
    state = model.state_dict()
    for name in names(report, "temporal", Kind.INHERITED):
        assert torch.equal(state[name], theirs[name.removeprefix("backbone.")])
    assert all("_speed" in name for name in names(report, "temporal", Kind.NEW))
    assert names(report, "temporal", Kind.CONSTANT) == {name for name in ours if name.endswith("pos_embed.pe")}
    assert not names(report, "temporal", Kind.UNUSED, Kind.MISMATCHED)


def test_other_positions_are_reported_and_left_alone(config: EmoConfig) -> None:
    model = emo_model()
    other = motion_adapter(replace(config, temporal_positions=24)).state_dict()
    report = inherit_motion_adapter(model, other)
    tables = {name for name in model.state_dict() if name.endswith("pos_embed.pe")}
    assert names(report, "temporal", Kind.MISMATCHED) == tables
    moved = {
        name: tensor + 1 if name.endswith("pe") else tensor
        for name, tensor in motion_adapter(config).state_dict().items()
    }
    assert names(inherit_motion_adapter(model, moved), "temporal", Kind.MISMATCHED) == tables


def test_an_adapter_without_a_middle_block_leaves_ours_new(config: EmoConfig) -> None:
    theirs = {name: t for name, t in motion_adapter(config).state_dict().items() if not name.startswith("mid_block")}
    new = names(inherit_motion_adapter(emo_model(), theirs), "temporal", Kind.NEW)
    assert {name for name in new if "_speed" not in name} == {
        f"backbone.{name}" for name in motion_adapter(config).state_dict() if name.startswith("mid_block")
    }


def test_an_autoencoder_goes_into_the_vae_with_its_scale(config: EmoConfig, directories: dict[str, Path]) -> None:
    model, theirs = emo_model(), autoencoder(config)
    report = load_vae(model, directories["vae"])
    assert_complete(report, "vae", below(model, "vae.autoencoder."), theirs.state_dict(), "vae.autoencoder.")
    assert {key.kind for key in report} == {Kind.INHERITED}
    assert model.vae.scaling_factor == 0.25
    images = torch.rand(1, 12, 16, 16)
    torch.testing.assert_close(
        model.vae.autoencoder.encode(images).latent_dist.mean, theirs.encode(images).latent_dist.mean
    )


@pytest.mark.parametrize(("name", "unused"), [("wav2vec2", set()), ("ctc", {"lm_head.weight", "lm_head.bias"})])
def test_wav2vec2_goes_into_the_audio_encoder(directories: dict[str, Path], name: str, unused: set[str]) -> None:
    model = emo_model()
    report = load_wav2vec2(model, directories[name])
    theirs = Wav2Vec2Model.from_pretrained(directories[name])
    assert names(report, "audio_encoder", Kind.INHERITED) == below(model, "audio_encoder.")
    assert names(report, "audio_encoder", Kind.UNUSED) == unused
    assert len(report) == len(theirs.state_dict()) + len(unused)
    sound = torch.randn(1, 6400)
    ours = model.audio_encoder.wav2vec2(sound).last_hidden_state
    torch.testing.assert_close(ours, theirs.eval()(sound).last_hidden_state)


def test_sharded_and_pickled_weights_are_read(config: EmoConfig, tmp_path: Path) -> None:
    unet = sd15_unet(config)
    unet.save_pretrained(tmp_path / "sharded", max_shard_size="200KB")
    unet.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    for name in ("sharded", "pickled"):
        model = emo_model(seed=9)
        load_sd15_unet(model, tmp_path / name)
        assert torch.equal(model.backbone.conv_out.weight, unet.conv_out.weight)


def rename(file: Path, names: dict[str, str]) -> None:
    tensors = load_file(file)
    for old, new in names.items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, file, metadata={"format": "pt"})


def test_names_of_older_releases_are_understood(directories: dict[str, Path], tmp_path: Path) -> None:
    """sd-vae-ft-mse and wav2vec2-base-960h were published before their libraries renamed these."""
    vae, wav2vec2 = (copy(directories[name], tmp_path / name) for name in ("vae", "ctc"))
    attention = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
    rename(vae / "diffusion_pytorch_model.safetensors", attention)
    convolution = {f"parametrizations.weight.original{i}": f"weight_{letter}" for i, letter in enumerate("gv")}
    rename(wav2vec2 / "model.safetensors", convolution)
    for load, old, new in ((load_vae, vae, "vae"), (load_wav2vec2, wav2vec2, "ctc")):
        first, second = emo_model(), emo_model()
        assert load(first, old) == load(second, directories[new])
        pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("name", "load", "change", "said"),
    [
        ("sd15", load_sd15_unet, {"block_out_channels": [16, 64]}, "block_out_channels"),
        ("sd15", load_sd15_unet, {"use_linear_projection": True}, "use_linear_projection"),
        ("sd15", load_sd15_unet, {"in_channels": 9}, "in_channels"),
        ("animatediff", load_motion_adapter, {"motion_num_attention_heads": 4}, "motion_num_attention_heads"),
        ("vae", load_vae, {"latent_channels": 16}, "latent_channels"),
        ("vae", load_vae, {"shift_factor": 0.1}, "shift_factor"),
        ("wav2vec2", load_wav2vec2, {"hidden_size": 1024}, "hidden_size"),
        ("wav2vec2", load_wav2vec2, {"model_type": "hubert"}, "model_type"),
    ],
)
def test_a_directory_of_another_size_is_refused(
    directories: dict[str, Path], tmp_path: Path, name: str, load: Any, change: dict[str, Any], said: str
) -> None:
    config = json.loads((directories[name] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=f"{tmp_path} is no .* of this size: {said} is") as caught:
        load(emo_model(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_sd15_unet, load_motion_adapter, load_vae, load_wav2vec2])
def test_a_directory_that_is_not_there_is_named(tmp_path: Path, load: Any) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path / 'nowhere'} is no .*: it has no config.json"):
        load(emo_model(), tmp_path / "nowhere")


def copy(directory: Path, to: Path) -> Path:
    to.mkdir()
    for path in directory.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_missing_cut_and_incomplete_weights_are_named(directories: dict[str, Path], tmp_path: Path) -> None:
    weights = copy(directories["sd15"], tmp_path / "sd15") / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["conv_in.bias"]
    save_file(tensors, weights)
    with pytest.raises(ValueError, match=r"sd15 is incomplete: its weights lack conv_in.bias"):
        load_sd15_unet(emo_model(), weights.parent)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="sd15 is no UNet2DConditionModel that can be read"):
        load_sd15_unet(emo_model(), weights.parent)
    weights.unlink()
    with pytest.raises(ValueError, match="sd15 is no UNet2DConditionModel that can be read"):
        load_sd15_unet(emo_model(), weights.parent)


def test_the_command_writes_a_checkpoint_and_accounts_for_all_of_it(
    directories: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--{name}={directories[name]}" for name in ("sd15", "animatediff", "vae")]
    options.append(f"--wav2vec={directories['wav2vec2']}")
    arguments = [*options, "--config=emo-test", f"--out={tmp_path / 'start'}"]
    assert main([*arguments, "--verbose"]) == 0
    printed = capsys.readouterr().out.splitlines()
    model = EmoModel.load(tmp_path / "start")
    listed = [line.split(": ") for line in printed if line.count(": ") == 2]
    ours = Counter(name for _, kind, name in listed if kind != Kind.UNUSED)
    assert ours == Counter(model.state_dict().keys())
    counts = [line.split() for line in printed if line.startswith("temporal ")]
    assert int(counts[0][1]) == sum(part == "temporal" and kind == Kind.INHERITED for part, kind, _ in listed)
    assert torch.equal(model.backbone.conv_in.weight, sd15_unet(model.config).conv_in.weight.half().float())
    assert model.vae.scaling_factor == 0.25


def test_the_command_ends_with_one_line_where_a_directory_is_wrong(
    directories: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config=emo-test", f"--sd15={directories['vae']}", f"--out={tmp_path / 'start'}"]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"training: error: {directories['vae']} is no UNet2DConditionModel of this size")
    assert not (tmp_path / "start").exists()


def test_the_papers_size_has_the_keys_and_shapes_of_the_published_weights() -> None:
    """SD 1.5, AnimateDiff v2, its VAE and wav2vec2-base by their own configs, without the memory for them."""
    with torch.device("meta"):
        model = EmoModel(EmoConfig.from_name("emo-sd15"))
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        adapter = MotionAdapter(use_motion_mid_block=True, motion_max_seq_length=32)
        vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512],
            layers_per_block=2,
            latent_channels=4,
        )
        wav2vec2 = Wav2Vec2Model(Wav2Vec2Config())

    report = inherit_sd15_unet(model, unet.state_dict())
    assert_complete(
        report, "backbone", below(model, "backbone.", without="motion_modules"), unet.state_dict(), "backbone."
    )
    assert_complete(report, "reference_net", below(model, "reference_net."), unet.state_dict(), "reference_net.")
    assert len(names(report, "backbone", Kind.INHERITED)) == len(unet.state_dict()) - 2 * 16
    assert len(names(report, "backbone", Kind.INITIALISED)) == 2 * 16  # keys and values of 16 attention layers
    assert all("_audio" in name for name in names(report, "backbone", Kind.NEW))
    assert not [key for key in report if key.kind == Kind.MISMATCHED]

    own, theirs = model.backbone.state_dict(), adapter.state_dict()
    tables = {name for name in theirs if name.endswith("pos_embed.pe")}
    assert all(own[name].shape == theirs[name].shape for name in tables)
    learned = {name: tensor for name, tensor in theirs.items() if name not in tables}
    report = inherit_motion_adapter(model, learned)
    assert names(report, "temporal", Kind.INHERITED) == {f"backbone.{name}" for name in learned}
    new = names(report, "temporal", Kind.NEW) - {f"backbone.{name}" for name in tables}
    assert all("_speed" in name for name in new)
    assert {key.kind for key in report} == {Kind.INHERITED, Kind.NEW}

    for part, published in ((model.vae.autoencoder, vae), (model.audio_encoder.wav2vec2, wav2vec2)):
        report = inherit("part", "", part.state_dict(), published.state_dict())
        assert {key.kind for key in report} == {Kind.INHERITED}
    assert model.vae.scaling_factor == 0.18215
