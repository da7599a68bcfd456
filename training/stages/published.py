"""Published weights into an EmoModel, key by key, with a report of what happened to each."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Mapping
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

TEXT_KEYS = ("attn2.to_k.weight", "attn2.to_v.weight")


POSITION_TABLE = "pos_embed.pe"


class Kind(StrEnum):
    """What happened to a key."""

    INHERITED = "inherited"
    INITIALISED = "initialised from attn1"
    CONSTANT = "equal table"  # computed, not learned, and the same on both sides
    NEW = "new"  # ours, and the directory has none
    UNUSED = "unused"  # the directory's, and we have no place for it
    MISMATCHED = "mismatched"  # of another shape, or a table with other values: ours is left as it was


@dataclass(frozen=True)
class Key:
    """One line of a report: ``name`` is a key of the EmoModel or, where unused, of the directory."""

    part: str
    kind: Kind
    name: str


KeyReport = list[Key]


def load_sd15_unet(model: EmoModel, directory: Path) -> KeyReport:
    """SD 1.5's UNet (a diffusers ``UNet2DConditionModel``) into Backbone and ReferenceNet.

    Raises ``ValueError`` if the directory is missing, incomplete, or of another size or kind; so do all ``load_*``.
    """
    weights, _ = _read(UNet2DConditionModel, Path(directory), unet_config(model.config))
    return inherit_sd15_unet(model, weights)


def load_motion_adapter(model: EmoModel, directory: Path) -> KeyReport:
    """AnimateDiff's motion modules (a diffusers ``MotionAdapter``) into the Backbone's temporal modules."""
    weights, _ = _read(MotionAdapter, Path(directory), motion_adapter_config(model.config))
    return inherit_motion_adapter(model, weights)


def load_vae(model: EmoModel, directory: Path) -> KeyReport:
    """A diffusers ``AutoencoderKL`` into the VAE, its scaling factor too."""
    weights, config = _read(AutoencoderKL, Path(directory), vae_config(model.config))
    report = inherit("vae", "vae.autoencoder.", model.vae.autoencoder.state_dict(), weights)
    model.vae.autoencoder.register_to_config(scaling_factor=config["scaling_factor"])
    return report


def load_wav2vec2(model: EmoModel, directory: Path) -> KeyReport:
    """A transformers ``Wav2Vec2Model``, also inside a ``Wav2Vec2ForCTC``, into the audio encoder."""
    ours = wav2vec2_config(model.config).to_dict()
    weights, _ = _read(Wav2Vec2Model, Path(directory), {name: ours[name] for name in WAV2VEC2_SHAPE})
    return inherit("audio_encoder", "audio_encoder.wav2vec2.", model.audio_encoder.wav2vec2.state_dict(), weights)


def inherit_sd15_unet(model: EmoModel, weights: Mapping[str, Tensor]) -> KeyReport:
    """As :func:`load_sd15_unet`, from a state dict.

    Reference-attention inherits norm, query and output of the text attention. Its keys and values were of another
    width, those of text: they start as those of the self-attention before it, whose inputs are alike.
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
    """As :func:`load_motion_adapter`, from a state dict."""
    own = {name: tensor for name, tensor in model.backbone.state_dict().items() if "motion_modules" in name}
    return inherit("temporal", "backbone.", own, weights)


@torch.no_grad()
def inherit(part: str, prefix: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> KeyReport:
    """Copy ``weights`` into the tensors ``own`` of the same key; ``prefix`` leads to them in the EmoModel."""
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
    """The config of the diffusers ``UNet2DConditionModel`` that fits, but for the width of its text."""
    levels = config.attention_levels
    return {
        "in_channels": config.latent_channels,
        "out_channels": config.latent_channels,
        "block_out_channels": config.block_out_channels,
        "down_block_types": ["CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in levels],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ["CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(levels)],
        "layers_per_block": config.layers_per_block,
        "attention_head_dim": config.attention_heads,  # diffusers calls the number of heads so
        "num_attention_heads": None,
        "norm_num_groups": config.norm_groups,
        "use_linear_projection": False,
        "addition_embed_type": None,
        "class_embed_type": None,
    }


def motion_adapter_config(config: EmoConfig) -> dict[str, Any]:
    """The config of the diffusers ``MotionAdapter`` that fits; one without a middle block leaves ours new."""
    return {
        "block_out_channels": config.block_out_channels,
        "motion_layers_per_block": config.layers_per_block,
        "motion_num_attention_heads": config.temporal_heads,
        "motion_norm_num_groups": config.norm_groups,
    }


def vae_config(config: EmoConfig) -> dict[str, Any]:
    """The config of the diffusers ``AutoencoderKL`` that fits, but for its scaling factor."""
    channels = 3 * config.vae_patch**2
    return {"in_channels": channels, "out_channels": channels, **config.vae, "shift_factor": None}


#: What must agree in the config of a wav2vec 2.0: all that its arithmetic depends on.
WAV2VEC2_SHAPE = (
    *("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("conv_dim", "conv_kernel", "conv_stride", "conv_bias", "feat_extract_norm", "feat_extract_activation"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "do_stable_layer_norm", "layer_norm_eps"),
    "add_adapter",
)


def _read(library_class: Any, directory: Path, fitting: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and config of a directory whose config has the values ``fitting``."""
    path = directory / "config.json"
    try:
        config = _defaults(library_class) | json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{directory} is no {library_class.__name__}: it has no config.json") from None
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    for name, value in json.loads(json.dumps(fitting)).items():  # tuples as the lists that they are in a file
        if json.loads(json.dumps(config.get(name))) != value:
            kind = library_class.__name__
            raise ValueError(f"{directory} is no {kind} of this size: {name} is {config.get(name)}, not {value}")
    published, unknown = read_published(library_class, directory)
    weights = published.state_dict()
    # What the library had no place for has no tensor; it only needs its line in the report.
    return weights | {name: torch.empty(0) for name in unknown}, config


def _defaults(library_class: Any) -> dict[str, Any]:
    """What an older config.json does not mention."""
    if library_class is Wav2Vec2Model:
        return dict(Wav2Vec2Config().to_dict())
    return {name: p.default for name, p in inspect.signature(library_class).parameters.items()}


def key_table(report: KeyReport, verbose: bool = False) -> str:
    """Keys per part and kind, and each of them if ``verbose``."""
    counts = Counter((key.part, key.kind) for key in report)
    parts = list(dict.fromkeys(key.part for key in report))
    lines = ["  ".join([f"{'keys':<16}", *(f"{kind:>9}" for kind in Kind)])]
    for part in parts:
        lines.append("  ".join([f"{part:<16}", *(f"{counts[part, kind]:>{max(9, len(kind))}}" for kind in Kind)]))
    if verbose:
        lines += [f"{key.part}: {key.kind}: {key.name}" for key in report]
    return "\n".join(lines)
