"""The six graphs of a bundle, each a small module with tensors in and tensors out.

A module's ``forward`` takes tensors in the order of ``inputs`` and returns them in the order of ``outputs``; the names
are those of the exported graph. Batches of one are left out of the graphs' shapes where that reads better.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.backbone import stack_conditions
from training.config import EmoConfig
from training.model import EmoModel
from training.vae import to_float


@dataclass
class Graph:
    """A module to export, example inputs by name, and the names of its outputs."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]

    @property
    def arguments(self) -> tuple[Tensor | dict[str, Tensor], ...]:
        """The inputs as ``forward`` takes them: conditions of any number come last, in a dictionary."""
        fixed = BackboneGraph.FIXED_INPUTS if isinstance(self.module, BackboneGraph) else tuple(self.inputs)
        rest = {name: tensor for name, tensor in self.inputs.items() if name not in fixed}
        return (*(self.inputs[name] for name in fixed), *([rest] if rest else []))

    @torch.no_grad()
    def run(self) -> dict[str, Tensor]:
        """PyTorch's outputs for the example inputs."""
        result = self.module(*self.arguments)
        return result if isinstance(result, dict) else {self.outputs[0]: result}


class AudioEncoderGraph(nn.Module):
    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.audio_encoder = model.audio_encoder

    def forward(self, waveform: Tensor) -> Tensor:
        out: Tensor = self.audio_encoder(waveform)[0]
        return out


class ConditioningGraph(nn.Module):
    """Keys and values of the voice and the speed, and the encoded face region: once per clip."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, audio_features: Tensor, head_speed: Tensor, face_region: Tensor) -> dict[str, Tensor]:
        dtype = audio_features.dtype
        return self.model.voice_and_place(audio_features[None], head_speed[None].to(dtype), face_region.to(dtype))


class VAEEncoderGraph(nn.Module):
    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.vae = model.vae
        self.dtype = model.backbone.conv_in.weight.dtype

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
        dtype = self.model.backbone.conv_in.weight.dtype
        portrait, motion = reference_latents.to(dtype), motion_latents[None].to(dtype)
        return self.model.portrait_and_motion(portrait, motion, self.model.config.portrait_pull)


class BackboneGraph(nn.Module):
    """One DDIM step: the Backbone on a batch of two, guidance, and the step's arithmetic in float32."""

    FIXED_INPUTS = ("latents", "timestep", "guidance_scale", "latents_coefficient", "prediction_coefficient")

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.audio_projection = model.audio_projection
        self.config = model.config

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        guidance_scale: Tensor,
        latents_coefficient: Tensor,
        prediction_coefficient: Tensor,
        conditions: dict[str, Tensor],
    ) -> Tensor:
        batch = latents.to(self.backbone.conv_in.weight.dtype)[None].expand(2, -1, -1, -1, -1)
        both = stack_conditions(self.without_voice(conditions), conditions)
        predictions = self.backbone(batch, timestep.expand(2), both).float()
        without_voice, with_voice = predictions[0], predictions[1]
        prediction = without_voice + guidance_scale * (with_voice - without_voice)
        return latents_coefficient * latents + prediction_coefficient * prediction

    def without_voice(self, conditions: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same conditions with the voice of no one; those keys are constants of the graph."""
        config = self.config
        silence = torch.zeros(1, config.clip_frames + 2 * config.audio_margin, config.audio_features)
        silence = silence.to(self.audio_projection.position)
        return conditions | self.backbone.audio_conditions(self.audio_projection(silence))


class VAEDecoderGraph(nn.Module):
    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.vae = model.vae
        self.dtype = model.backbone.conv_in.weight.dtype

    def forward(self, latents: Tensor) -> Tensor:
        frames = self.pixels(latents).round().clamp(0, 255).movedim(-3, -1)
        return frames.to(torch.uint8)  # last: TensorRT gives uint8 only as an output

    def pixels(self, latents: Tensor) -> Tensor:
        """The pictures (f, 3, h, w) on the scale of uint8, before they are rounded."""
        return (self.vae.decode(latents.to(self.dtype)).float() + 1) * 127.5


@torch.no_grad()
def graphs(model: EmoModel) -> dict[str, Graph]:
    """All graphs of a model, with random example inputs of the right shapes.

    Conditions have the model's own dtype; latents and what comes from outside stay float32.
    """
    config = model.config
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    frame = (config.latent_channels, config.latent_size, config.latent_size)
    pixels = torch.randint(256, (1, config.resolution, config.resolution, 3), generator=generator, dtype=torch.uint8)
    inner = config.clip_frames + 2 * config.audio_margin
    voice = {
        "audio_features": normal(inner, config.audio_features).to(model.backbone.conv_in.weight.dtype),
        "head_speed": torch.full((inner,), config.speed),
        "face_region": _centre(config),
    }
    faces = {"reference_latents": normal(1, *frame), "motion_latents": normal(config.motion_frames, *frame)}
    conditioning, reference_net = ConditioningGraph(model), ReferenceNetGraph(model)
    voice_conditions, face_conditions = conditioning(**voice), reference_net(**faces)
    scalars = {
        "timestep": torch.tensor([500.0]),
        "guidance_scale": torch.tensor([config.guidance_scale]),
        "latents_coefficient": torch.tensor([0.5]),
        "prediction_coefficient": torch.tensor([0.5]),
    }
    latents = normal(config.clip_frames, *frame)
    samples = config.audio_window_frames * config.sample_rate // config.frames_per_second
    return {
        "audio_encoder": Graph(AudioEncoderGraph(model), {"waveform": normal(1, samples)}, ["audio_features"]),
        "conditioning": Graph(conditioning, voice, list(voice_conditions)),
        "vae_encoder": Graph(VAEEncoderGraph(model), {"image": pixels}, ["latents"]),
        "reference_net": Graph(reference_net, faces, list(face_conditions)),
        "backbone": Graph(
            BackboneGraph(model),
            {"latents": latents, **scalars, **voice_conditions, **face_conditions},
            ["next_latents"],
        ),
        "vae_decoder": Graph(VAEDecoderGraph(model), {"latents": latents}, ["frames"]),
    }


def _centre(config: EmoConfig) -> Tensor:
    quarter = config.resolution // 4
    region = torch.zeros(1, 1, config.resolution, config.resolution)
    region[..., quarter:-quarter, quarter:-quarter] = 1
    return region
