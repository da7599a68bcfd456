"""Copies published weights into an EmoModel, key by key, and reports what happened to each key."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from training.model.audio import wav2vec2_config
from training.model.config import EmoConfig
from training.model.model import EmoModel, read_published

#: Ends of the keys whose weights read text.
TEXT_KEYS = ("attn2.to_k.weight", "attn2.to_v.weight")

#: End of the keys of position tables, which are computed and not learned.
POSITION_TABLE = "pos_embed.pe"


class Kind(StrEnum):
    """What happened to a key.

    Attributes:
        INHERITED: key whose weights were copied
        INITIALISED: key whose weights are those of the self-attention before it
        CONSTANT: key of a table that is the same on both sides
        NEW: key of the EmoModel that the directory lacks
        UNUSED: key of the directory that the EmoModel lacks
        MISMATCHED: key of another shape, or of a table with other values; the EmoModel keeps its own
    """

    INHERITED = "inherited"
    INITIALISED = "initialised from attn1"
    CONSTANT = "equal table"
    NEW = "new"
    UNUSED = "unused"
    MISMATCHED = "mismatched"


@dataclass(frozen=True)
class Key:
    """What happened to one key.

    Attributes:
        part: part of the EmoModel, such as "backbone"
        kind: what happened
        name: key of the EmoModel or, where unused, of the directory
    """

    part: str
    kind: Kind
    name: str


KeyReport = list[Key]


@dataclass(frozen=True)
class Published:
    """Weights that others have published.

    Attributes:
        what: what the directory holds, and in which library's layout
        load: copies the weights of a directory into an EmoModel
    """

    what: str
    load: Callable[[EmoModel, Path], KeyReport]


def load_published(model: EmoModel, directories: Mapping[str, Path]) -> KeyReport:
    """Copies the weights of several directories into a model.

    Args:
        model: model to fill
        directories: directories by their names in `PUBLISHED`

    Returns:
        what happened to every key of the directories and of the model

    Raises:
        ValueError: if a directory is missing, incomplete, or of another size or kind.
    """
    report = [key for name, directory in directories.items() for key in PUBLISHED[name].load(model, directory)]
    reported = {key.name for key in report if key.kind != Kind.UNUSED}
    for name in (name for name in model.state_dict() if name not in reported):
        report.append(Key("temporal" if "motion_modules" in name else name.split(".")[0], Kind.NEW, name))
    return report


def load_sd15_unet(model: EmoModel, directory: Path) -> KeyReport:
    """Copies SD 1.5's UNet, a diffusers `UNet2DConditionModel`, into Backbone and ReferenceNet.

    Raises:
        ValueError: if the directory is missing, incomplete, or of another size or kind.
    """
    weights, _ = _read(UNet2DConditionModel, Path(directory), unet_config(model.config))
    return inherit_sd15_unet(model, weights)


def load_motion_adapter(model: EmoModel, directory: Path) -> KeyReport:
    """Copies AnimateDiff's motion modules, a diffusers `MotionAdapter`, into the Backbone's temporal modules.

    Raises:
        ValueError: if the directory is missing, incomplete, or of another size or kind.
    """
    weights, _ = _read(MotionAdapter, Path(directory), motion_adapter_config(model.config))
    return inherit_motion_adapter(model, weights)


def load_vae(model: EmoModel, directory: Path) -> KeyReport:
    """Copies a diffusers `AutoencoderKL` into the VAE, with its scaling factor.

    Raises:
        ValueError: if the directory is missing, incomplete, or of another size or kind.
    """
    weights, config = _read(AutoencoderKL, Path(directory), vae_config(model.config))
    report = inherit("vae", "vae.autoencoder.", model.vae.autoencoder.state_dict(), weights)
    model.vae.autoencoder.register_to_config(scaling_factor=config["scaling_factor"])
    return report


def load_wav2vec2(model: EmoModel, directory: Path) -> KeyReport:
    """Copies a transformers `Wav2Vec2Model`, alone or inside of a `Wav2Vec2ForCTC`, into the audio encoder.

    Raises:
        ValueError: if the directory is missing, incomplete, or of another size or kind.
    """
    ours = wav2vec2_config(model.config).to_dict()
    weights, _ = _read(Wav2Vec2Model, Path(directory), {name: ours[name] for name in WAV2VEC2_SHAPE})
    return inherit("audio_encoder", "audio_encoder.wav2vec2.", model.audio_encoder.wav2vec2.state_dict(), weights)


#: What a model can start from, by the name of the option of `training.init`.
PUBLISHED = {
    "sd15": Published("UNet of SD 1.5, a diffusers UNet2DConditionModel", load_sd15_unet),
    "animatediff": Published("AnimateDiff v2, a diffusers MotionAdapter with a middle block", load_motion_adapter),
    "vae": Published("VAE of SD 1.5, a diffusers AutoencoderKL", load_vae),
    "wav2vec": Published("wav2vec 2.0, a transformers Wav2Vec2Model or Wav2Vec2ForCTC", load_wav2vec2),
}


def inherit_sd15_unet(model: EmoModel, weights: Mapping[str, Tensor]) -> KeyReport:
    """Copies a state dict of SD 1.5's UNet into Backbone and ReferenceNet.

    Reference-attention inherits norm, query and output of the text attention. Keys and values of the text attention
    have another width, that of text. Those of reference-attention start as those of the self-attention before it, which
    reads similar inputs.
    """
    own = {name: tensor for name, tensor in model.backbone.state_dict().items() if "motion_modules" not in name}
    without_text = {name: tensor for name, tensor in weights.items() if not name.endswith(TEXT_KEYS)}
    report = inherit("backbone", "backbone.", own, without_text)
    for index, key in enumerate(report):
        if key.kind == Kind.NEW and key.name.endswith(TEXT_KEYS):
            name = key.name.removeprefix("backbone.")
            with torch.no_grad():
                own[name].copy_(weights[name.replace("attn2", "attn1")])
            report[index] = Key(key.part, Kind.INITIALISED, key.name)
    report += [Key("backbone", Kind.UNUSED, name) for name in weights if name.endswith(TEXT_KEYS)]
    return report + inherit("reference_net", "reference_net.", model.reference_net.state_dict(), weights)


def inherit_motion_adapter(model: EmoModel, weights: Mapping[str, Tensor]) -> KeyReport:
    """Copies a state dict of AnimateDiff's motion modules into the Backbone's temporal modules."""
    own = {name: tensor for name, tensor in model.backbone.state_dict().items() if "motion_modules" in name}
    return inherit("temporal", "backbone.", own, weights)


@torch.no_grad()
def inherit(part: str, prefix: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> KeyReport:
    """Copies weights into the tensors of the same key.

    Args:
        part: part of the EmoModel, for the report
        prefix: what stands before the keys of `own` in the EmoModel
        own: tensors of the EmoModel by key
        weights: published tensors by key
    """
    report = []
    for name, tensor in own.items():
        source = weights.get(name)
        if source is None:
            kind = Kind.NEW
        elif source.shape != tensor.shape:
            kind = Kind.MISMATCHED
        elif name.endswith(POSITION_TABLE):
            equal = torch.allclose(source, tensor, rtol=0, atol=1e-3)  # the directory may hold it in float16
            kind = Kind.CONSTANT if equal else Kind.MISMATCHED
        else:
            tensor.copy_(source)
            kind = Kind.INHERITED
        report.append(Key(part, kind, prefix + name))
    return report + [Key(part, Kind.UNUSED, name) for name in weights if name not in own]


def unet_config(config: EmoConfig) -> dict[str, Any]:
    """Config of the diffusers `UNet2DConditionModel` that fits, without the width of its text."""
    levels = config.attention_levels
    return {
        "in_channels": config.latent_channels,
        "out_channels": config.latent_channels,
        "block_out_channels": config.block_out_channels,
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in levels],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(levels)],
        "layers_per_block": config.layers_per_block,
        "attention_head_dim": config.attention_heads,  # diffusers calls the number of heads this
        "num_attention_heads": None,
        "norm_num_groups": config.norm_groups,
        "use_linear_projection": False,
        "addition_embed_type": None,
        "class_embed_type": None,
    }


def motion_adapter_config(config: EmoConfig) -> dict[str, Any]:
    """Config of the diffusers `MotionAdapter` that fits, with or without a middle block."""
    return {
        "block_out_channels": config.block_out_channels,
        "motion_layers_per_block": config.layers_per_block,
        "motion_num_attention_heads": config.temporal_heads,
        "motion_norm_num_groups": config.norm_groups,
    }


def vae_config(config: EmoConfig) -> dict[str, Any]:
    """Config of the diffusers `AutoencoderKL` that fits, without its scaling factor."""
    channels = 3 * config.vae_patch**2
    return {"in_channels": channels, "out_channels": channels, **config.vae, "shift_factor": None}


#: Keys of a wav2vec 2.0's config that must agree: its arithmetic depends on them.
WAV2VEC2_SHAPE = (
    *("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("conv_dim", "conv_kernel", "conv_stride", "conv_bias", "feat_extract_norm", "feat_extract_activation"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "do_stable_layer_norm", "layer_norm_eps"),
    "add_adapter",
)


def _read(library_class: Any, directory: Path, fitting: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and config of a directory, whose config must have the values of `fitting`."""
    path = directory / "config.json"
    try:
        config = _defaults(library_class) | json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{directory} is no {library_class.__name__}: it has no config.json") from None
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    for name, value in json.loads(json.dumps(fitting)).items():  # a file has lists for tuples
        if json.loads(json.dumps(config.get(name))) != value:
            kind = library_class.__name__
            raise ValueError(f"{directory} is no {kind} of this size: {name} is {config.get(name)}, not {value}")
    published, unknown = read_published(library_class, directory)
    weights = published.state_dict()
    # A key that the library does not know has no tensor here; the report needs its name alone.
    return weights | {name: torch.empty(0) for name in unknown}, config


def _defaults(library_class: Any) -> dict[str, Any]:
    """Values of the keys that an older config.json lacks."""
    if library_class is Wav2Vec2Model:
        return dict(Wav2Vec2Config().to_dict())
    return {name: p.default for name, p in inspect.signature(library_class).parameters.items()}


def key_table(report: KeyReport, verbose: bool = False) -> str:
    """The number of keys of each part and kind as a table, followed by every single key if `verbose`."""
    counts = Counter((key.part, key.kind) for key in report)
    parts = list(dict.fromkeys(key.part for key in report))
    lines = ["  ".join([f"{'keys':<16}", *(f"{kind:>9}" for kind in Kind)])]
    for part in parts:
        lines.append("  ".join([f"{part:<16}", *(f"{counts[part, kind]:>{max(9, len(kind))}}" for kind in Kind)]))
    if verbose:
        lines += [f"{key.part}: {key.kind}: {key.name}" for key in report]
    return "\n".join(lines)
