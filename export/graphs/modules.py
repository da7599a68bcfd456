"""The graphs of a bundle, each a small module with tensors in and tensors out.

A module's ``forward`` takes tensors in the order of ``inputs`` and returns them in the order of ``outputs``; the names
are those of the exported graph. Batches of one are left out of the graphs' shapes where that reads better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.vae import to_float


@dataclass
class ExportGraph:
    """A module to export, example inputs by name, and the names of its outputs."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]

    @property
    def input_names(self) -> list[str]:
        """In the order of ``forward``: conditions of any number come last."""
        fixed: tuple[str, ...] = getattr(self.module, "FIXED_INPUTS", tuple(self.inputs))
        return [*fixed, *(name for name in self.inputs if name not in fixed)]

    def arguments(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor | dict[str, Tensor], ...]:
        """The inputs as ``forward`` takes them: conditions in a dictionary."""
        fixed: tuple[str, ...] = getattr(self.module, "FIXED_INPUTS", tuple(self.inputs))
        rest = {name: inputs[name] for name in self.input_names[len(fixed) :]}
        return (*(inputs[name] for name in fixed), *([rest] if rest else []))

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """PyTorch's outputs, for the example inputs or others."""
        result = self.module(*self.arguments(inputs or self.inputs))
        return result if isinstance(result, dict) else {self.outputs[0]: result}


def dtype_of(model: EmoModel) -> torch.dtype:
    """What a model computes in."""
    return model.backbone.conv_in.weight.dtype


def at_end(tensor: Tensor) -> Tensor:
    """What a graph gives on: bfloat16 stays within, NumPy does not know it."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


class AudioEncoderGraph(nn.Module):
    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.audio_encoder = model.audio_encoder

    def forward(self, waveform: Tensor) -> Tensor:
        out: Tensor = self.audio_encoder(waveform)[0]
        return at_end(out)


class ConditioningGraph(nn.Module):
    """Keys and values of no voice, of the voice and of the speed, and the encoded face region: once per clip."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, audio_features: Tensor, head_speed: Tensor, face_region: Tensor) -> dict[str, Tensor]:
        dtype = dtype_of(self.model)
        both = torch.stack([torch.zeros_like(audio_features), audio_features]).to(dtype)
        conditions = self.model.voice_and_place(both, head_speed[None].to(dtype), face_region.to(dtype))
        return {name: at_end(tensor) for name, tensor in conditions.items()}


class VAEEncoderGraph(nn.Module):
    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.vae = model.vae
        self.dtype = dtype_of(model)

    def forward(self, image: Tensor) -> Tensor:
        return self.vae.encode(to_float(image).to(self.dtype)).float()


class ReferenceNetGraph(nn.Module):
    """Keys and values of the portrait and the motion frames in one batch (paper, section 3.2): once per clip.

    The portrait's share is the same for every clip; computing it again costs one frame of one network per clip, and
    spares a second copy of the weights.
    """

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, reference_latents: Tensor, motion_latents: Tensor) -> dict[str, Tensor]:
        dtype = dtype_of(self.model)
        portrait, motion = reference_latents.to(dtype), motion_latents[None].to(dtype)
        conditions = self.model.portrait_and_motion(portrait, motion, self.model.config.portrait_pull)
        return {name: at_end(tensor) for name, tensor in conditions.items()}


class TimeEmbeddingGraph(nn.Module):
    """What the Backbone makes of a timestep before anything else: once per step of the schedule."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, timestep: Tensor) -> Tensor:
        return at_end(self.backbone.embed_time(timestep))


class BackboneGraph(nn.Module):
    """One DDIM step without guidance: the Backbone on the voice, and the step's arithmetic in float32.

    Where ``deep_features`` of an earlier step are among the conditions, it is a cached one: the outermost level alone.
    """

    FIXED_INPUTS: tuple[str, ...] = ("latents", "time_embedding", "latents_coefficient", "prediction_coefficient")

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.dtype = dtype_of(model)

    def forward(
        self,
        latents: Tensor,
        time_embedding: Tensor,
        latents_coefficient: Tensor,
        prediction_coefficient: Tensor,
        conditions: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        heard = {name: tensor[1:] if name.startswith("audio_") else tensor for name, tensor in conditions.items()}
        (prediction,), deep = self.predictions(latents, time_embedding, heard)
        return {"next_latents": latents_coefficient * latents + prediction_coefficient * prediction, **deep}

    def predictions(
        self, latents: Tensor, time_embedding: Tensor, conditions: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One for each voice of the conditions, (voices, f, c, h, w), and the deep features if they are new."""
        conditions = {name: tensor.to(self.dtype) for name, tensor in conditions.items()}
        known = conditions.pop("deep_features", None)
        latents, time_embedding = latents.to(self.dtype)[None], time_embedding.to(self.dtype)
        predictions, deep = self.backbone.predict(latents, time_embedding, conditions, deep_features=known)
        return predictions.float(), {"deep_features": at_end(deep)} if known is None else {}


class GuidedBackboneGraph(BackboneGraph):
    """One DDIM step with guidance from no voice to the voice; what the two share is computed once."""

    FIXED_INPUTS = (*BackboneGraph.FIXED_INPUTS[:2], "guidance_scale", *BackboneGraph.FIXED_INPUTS[2:])

    def forward(  # type: ignore[override]
        self,
        latents: Tensor,
        time_embedding: Tensor,
        guidance_scale: Tensor,
        latents_coefficient: Tensor,
        prediction_coefficient: Tensor,
        conditions: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        (without_voice, with_voice), deep = self.predictions(latents, time_embedding, conditions)
        prediction = without_voice + guidance_scale * (with_voice - without_voice)
        return {"next_latents": latents_coefficient * latents + prediction_coefficient * prediction, **deep}


class VAEDecoderGraph(nn.Module):
    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.vae = model.vae
        self.dtype = dtype_of(model)

    def forward(self, latents: Tensor) -> Tensor:
        frames = self.pixels(latents).round().clamp(0, 255).movedim(-3, -1)
        return frames.to(torch.uint8)  # last: TensorRT gives uint8 only as an output

    def pixels(self, latents: Tensor) -> Tensor:
        """The pictures (f, 3, h, w) on the scale of uint8, before they are rounded."""
        return (self.vae.decode(latents.to(self.dtype)).float() + 1) * 127.5


@torch.no_grad()
def export_graphs(model: EmoModel) -> dict[str, ExportGraph]:
    """All graphs of a model, with random example inputs of the right shapes.

    Conditions have the model's own dtype, or float32 for bfloat16; latents and what comes from outside stay float32.
    What one graph hands to another is random, too: computing it takes minutes at the paper's size.
    """
    config = model.config
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def like_outputs(module: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        without_values = [{name: tensor.to("meta") for name, tensor in part.items()} for part in (state, inputs)]
        outputs = torch.func.functional_call(module, without_values[0], (), without_values[1])
        return {name: normal(*tensor.shape).to(tensor.dtype) for name, tensor in outputs.items()}

    frame = (config.latent_channels, config.latent_size, config.latent_size)
    pixels = torch.randint(256, (1, config.resolution, config.resolution, 3), generator=generator, dtype=torch.uint8)
    inner = config.clip_frames + 2 * config.audio_margin
    voice = {
        "audio_features": at_end(normal(inner, config.audio_features).to(dtype_of(model))),
        "head_speed": torch.full((inner,), config.speed),
        "face_region": _centre(config),
    }
    faces = {"reference_latents": normal(1, *frame), "motion_latents": normal(config.motion_frames, *frame)}
    conditioning, reference_net = ConditioningGraph(model), ReferenceNetGraph(model)
    voice_conditions, face_conditions = like_outputs(conditioning, voice), like_outputs(reference_net, faces)
    time_embedding, timestep = TimeEmbeddingGraph(model), {"timestep": torch.tensor([500.0])}
    step = {
        "latents": normal(config.clip_frames, *frame),
        "time_embedding": time_embedding(**timestep),
        "latents_coefficient": torch.tensor([0.5]),
        "prediction_coefficient": torch.tensor([0.5]),
        **voice_conditions,
        **face_conditions,
    }
    guidance = {"guidance_scale": torch.tensor([config.guidance_scale])}
    cached_step = model.backbone.cached_step_conditions(step)
    deep_shape = (config.clip_frames, *config.block_out_channels[:2][-1:], config.latent_size, config.latent_size)
    deep, guided_deep = (at_end(normal(n * deep_shape[0], *deep_shape[1:]).to(dtype_of(model))) for n in (1, 2))
    backbone, guided_backbone, outputs = BackboneGraph(model), GuidedBackboneGraph(model), ["next_latents"]
    samples = config.audio_window_frames * config.sample_rate // config.frames_per_second
    return {
        "audio_encoder": ExportGraph(AudioEncoderGraph(model), {"waveform": normal(1, samples)}, ["audio_features"]),
        "conditioning": ExportGraph(conditioning, voice, list(voice_conditions)),
        "vae_encoder": ExportGraph(VAEEncoderGraph(model), {"image": pixels}, ["latents"]),
        "reference_net": ExportGraph(reference_net, faces, list(face_conditions)),
        "time_embedding": ExportGraph(time_embedding, timestep, ["time_embedding"]),
        "backbone": ExportGraph(backbone, step, [*outputs, "deep_features"]),
        "guided_backbone": ExportGraph(guided_backbone, guidance | step, [*outputs, "deep_features"]),
        "cached_backbone": ExportGraph(backbone, cached_step | {"deep_features": deep}, outputs),
        "cached_guided_backbone": ExportGraph(
            guided_backbone, guidance | cached_step | {"deep_features": guided_deep}, outputs
        ),
        "vae_decoder": ExportGraph(VAEDecoderGraph(model), {"latents": step["latents"]}, ["frames"]),
    }


def _centre(config: EmoConfig) -> Tensor:
    quarter = config.resolution // 4
    region = torch.zeros(1, 1, config.resolution, config.resolution)
    region[..., quarter:-quarter, quarter:-quarter] = 1
    return region
