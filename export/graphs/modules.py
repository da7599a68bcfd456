"""The graphs of a bundle as PyTorch modules: what is computed once per portrait, once per clip and at every step.

A module's `forward` takes tensors in the order of `ExportGraph.input_names`, and conditions as a dictionary under the
names of `Conditions.named_tensors`. All names are those of the exported graph.

In the shapes f is the number of frames of a clip, n of its motion frames, m the audio margin, and (c, h, w) the shape
of the latents of a frame. Conditions, features and embeddings have the model's dtype, or float32 if that is bfloat16:
NumPy has no bfloat16. Latents, coefficients and inputs from outside are float32, pictures uint8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.controls import GESTURES
from training.model.model import EmoModel
from training.model.vae import to_float
from training.model.warp import composed


@dataclass
class ExportGraph:
    """A graph to export.

    Attributes:
        module: module that computes the graph.
        inputs: example inputs by name.
        outputs: names of the outputs, in the order of `forward`.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in the order of `forward`: conditions come last."""
        return [*self._fixed_inputs, *self.conditions]

    @property
    def conditions(self) -> dict[str, Tensor]:
        """Those of the example inputs that are conditions: named tensors."""
        return {name: tensor for name, tensor in self.inputs.items() if name not in self._fixed_inputs}

    def arguments(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor | dict[str, Tensor], ...]:
        """Inputs as the arguments of `forward`: conditions are one dictionary."""
        conditions = {name: inputs[name] for name in self.conditions}
        return (*(inputs[name] for name in self._fixed_inputs), *([conditions] if conditions else []))

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs of the module by name, for `inputs` or the example inputs."""
        result = self.module(*self.arguments(inputs or self.inputs))
        return result if isinstance(result, dict) else {self.outputs[0]: result}

    @property
    def _fixed_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that are not conditions."""
        fixed: tuple[str, ...] = getattr(self.module, "FIXED_INPUTS", tuple(self.inputs))
        return fixed


def dtype_of(model: EmoModel) -> torch.dtype:
    """Dtype that a model computes in."""
    return model.backbone.conv_in.weight.dtype


def at_end(tensor: Tensor) -> Tensor:
    """Output of a graph: bfloat16 becomes float32, all other dtypes stay."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


class AudioEncoderGraph(nn.Module):
    """A(f) of the voice around a clip: once per clip."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.audio_encoder = model.audio_encoder

    def forward(self, waveform: Tensor) -> Tensor:
        """Window (1, samples) of `audio_window_frames` video frames to `audio_features` (f + 2m, audio_features)."""
        out: Tensor = self.audio_encoder(waveform)[0]
        return at_end(out)


class ConditioningGraph(nn.Module):
    """Conditions of no voice and of the voice, of the speed and of the face region: once per clip."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, audio_features: Tensor, head_speed: Tensor, face_region: Tensor, gestures: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Named tensors of a clip's conditions of voice and place.

        Args:
            audio_features: A(f) of the clip and its margins (f + 2m, audio_features).
            head_speed: head rotation speeds (f + 2m,) in degrees per frame.
            face_region: mask (1, 1, resolution, resolution) of 0 and 1.
            gestures: as in `GestureEncoder.forward` (f, 4), for a model that takes them.

        Returns:
            `audio_key_..` and `audio_value_..` (2, f, 2m + 1, channels) of each spatial attention layer, with no voice
            first; `audio_embedding` (2, f, time_channels), `gesture_embedding` (1, f, time_channels) and `closing`
            (1, f) if the config has them; `face_latents` (1, c, h, w);
            `speed_key_..` and `speed_value_..` (1, f, channels) of each temporal module.
        """
        dtype = dtype_of(self.model)
        both = torch.stack([torch.zeros_like(audio_features), audio_features]).to(dtype)
        made = None if gestures is None else gestures[None].to(dtype)
        conditions = self.model.voice_and_place(both, head_speed[None].to(dtype), face_region.to(dtype), made)
        return {name: at_end(tensor) for name, tensor in conditions.named_tensors().items()}


class VAEEncoderGraph(nn.Module):
    """Latents of the portrait: once per portrait."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.vae = model.vae
        self.dtype = dtype_of(model)

    def forward(self, image: Tensor) -> Tensor:
        """RGB picture (1, resolution, resolution, 3) of uint8 to `latents` (1, c, h, w) of float32."""
        return self.vae.encode(to_float(image).to(self.dtype)).float()


class ReferenceNetGraph(nn.Module):
    """Conditions of the portrait and the motion frames in one batch (paper, section 3.2): once per clip.

    The portrait's share is the same for every clip. To compute it again costs one frame of one network per clip, and
    saves a second copy of the weights.
    """

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, reference_latents: Tensor, motion_latents: Tensor) -> dict[str, Tensor]:
        """Named tensors of a clip's conditions of portrait and motion frames.

        Args:
            reference_latents: latents of the portrait (1, c, h, w).
            motion_latents: latents of the motion frames (n, c, h, w); zeros before the first clip.

        Returns:
            `reference_key_..` and `reference_value_..` (1, pixels, channels) of each spatial attention layer;
            `motion_first_key_..` to `motion_second_value_..` (pixels, n, channels) of each temporal module;
            `known_maps` (1, block_out_channels[0], h, w), and `last_latents` (1, c, h, w) or `portrait`
            (1, 3, resolution, resolution) with `eyelids` (1, 2, resolution / 2, resolution / 2), if the config has
            them.
        """
        dtype = dtype_of(self.model)
        portrait, motion = reference_latents.to(dtype), motion_latents[None].to(dtype)
        conditions = self.model.portrait_and_motion(portrait, motion, self.model.config.portrait_pull)
        return {name: at_end(tensor) for name, tensor in conditions.named_tensors().items()}


class TimeEmbeddingGraph(nn.Module):
    """Embedding of a timestep: once per step of the schedule."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, timestep: Tensor) -> Tensor:
        """Timestep (1,) of the noise schedule to `time_embedding` (1, time_channels)."""
        return at_end(self.backbone.embed_time(timestep))


class BackboneGraph(nn.Module):
    """One DDIM step without guidance: the Backbone on the voice, and the step's arithmetic in float32.

    It is a cached step, which runs the outermost level alone, if the conditions have `deep_features` of an earlier one.
    """

    FIXED_INPUTS: tuple[str, ...] = ("latents", "time_embedding", "latents_coefficient", "prediction_coefficient")

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone, self.vae = model.backbone, model.vae
        self.dtype = dtype_of(model)

    def forward(
        self,
        latents: Tensor,
        time_embedding: Tensor,
        latents_coefficient: Tensor,
        prediction_coefficient: Tensor,
        conditions: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """Latents of the next timestep.

        Args:
            latents: noisy latents (f, c, h, w).
            time_embedding: embedded timestep (1, time_channels).
            latents_coefficient: factor (1,) of the latents.
            prediction_coefficient: factor (1,) of the prediction.
            conditions: outputs of `ConditioningGraph` and `ReferenceNetGraph`, with both voices. For a cached step,
                those of `Backbone.cached_step_conditions`, and `deep_features` (f, channels, h, w).

        Returns:
            `next_latents` (f, c, h, w); of a full step also `deep_features` (f, channels, h, w).
        """
        both_voices, deep_features = _without_deep_features(conditions)
        (prediction,), deep = self.predictions(latents, time_embedding, both_voices.conditional(), deep_features)
        prediction = composed(prediction, both_voices, self.vae)
        return {"next_latents": latents_coefficient * latents + prediction_coefficient * prediction, **deep}

    def predictions(
        self, latents: Tensor, time_embedding: Tensor, conditions: Conditions, deep_features: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Prediction of the Backbone for each voice of the conditions.

        Args:
            latents: noisy latents (f, c, h, w).
            time_embedding: embedded timestep (1, time_channels).
            conditions: conditions of one clip and one or more voices.
            deep_features: deep features of an earlier step for all voices (voices·f, channels, h, w).

        Returns:
            predictions (voices, f, c, h, w) of float32, or (voices, f, c + WARP_MAPS, h, w) with a warp;
            `deep_features` unless they were given.
        """
        conditions = conditions.to(self.dtype)
        given = None if deep_features is None else deep_features.to(self.dtype)
        latents, time_embedding = latents.to(self.dtype)[None], time_embedding.to(self.dtype)
        predictions, deep = self.backbone.predict(latents, time_embedding, conditions, deep_features=given)
        return predictions.float(), {"deep_features": at_end(deep)} if given is None else {}


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
        """Latents of the next timestep.

        Args:
            latents: noisy latents (f, c, h, w).
            time_embedding: embedded timestep (1, time_channels).
            guidance_scale: weight (1,) of the voice; 1 means no guidance.
            latents_coefficient: factor (1,) of the latents.
            prediction_coefficient: factor (1,) of the guided prediction.
            conditions: outputs of `ConditioningGraph` and `ReferenceNetGraph`, with both voices. For a cached step,
                those of `Backbone.cached_step_conditions`, and `deep_features` (2·f, channels, h, w).

        Returns:
            `next_latents` (f, c, h, w); of a full step also `deep_features` (2·f, channels, h, w).
        """
        both_voices, deep_features = _without_deep_features(conditions)
        (without_voice, with_voice), deep = self.predictions(latents, time_embedding, both_voices, deep_features)
        prediction = without_voice + guidance_scale * (with_voice - without_voice)
        prediction = composed(prediction, both_voices, self.vae)
        return {"next_latents": latents_coefficient * latents + prediction_coefficient * prediction, **deep}


def _without_deep_features(tensors: dict[str, Tensor]) -> tuple[Conditions, Tensor | None]:
    """Conditions of a step's named tensors, and the deep features among these."""
    named = {name: tensor for name, tensor in tensors.items() if name != "deep_features"}
    return Conditions.from_named_tensors(named), tensors.get("deep_features")


class VAEDecoderGraph(nn.Module):
    """Frames of a clip's latents: once per clip."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.vae = model.vae
        self.dtype = dtype_of(model)

    def forward(self, latents: Tensor) -> Tensor:
        """Clean latents (f, c, h, w) to RGB `frames` (f, resolution, resolution, 3) of uint8."""
        frames = self.pixels(latents).round().clamp(0, 255).movedim(-3, -1)
        return frames.to(torch.uint8)  # last: TensorRT gives uint8 only as an output

    def pixels(self, latents: Tensor) -> Tensor:
        """Frames (f, 3, resolution, resolution) of float32 on the scale of uint8, before they are rounded."""
        return (self.vae.decode(latents.to(self.dtype)).float() + 1) * 127.5


class _RandomTensors:
    """Example inputs of the right shapes: to compute the real ones takes minutes at the paper's size."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        """Float32."""
        return torch.randn(shape, generator=self.generator)

    def between_graphs(self, *shape: int) -> Tensor:
        """A tensor that one graph gives another."""
        return at_end(self.normal(*shape).to(self.dtype))

    def picture(self, *shape: int) -> Tensor:
        """Pixels of uint8."""
        return torch.randint(256, shape, generator=self.generator, dtype=torch.uint8)

    def outputs(self, module: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors like the outputs of `module` for `inputs`."""
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        without_values = [{name: tensor.to("meta") for name, tensor in part.items()} for part in (state, inputs)]
        outputs = torch.func.functional_call(module, without_values[0], (), without_values[1])
        return {name: self.normal(*tensor.shape).to(tensor.dtype) for name, tensor in outputs.items()}


@torch.no_grad()
def export_graphs(model: EmoModel) -> dict[str, ExportGraph]:
    """All graphs of a model by name, with random example inputs."""
    config, random = model.config, _RandomTensors(dtype_of(model))
    frame = (config.latent_channels, config.latent_size, config.latent_size)
    image = random.picture(1, config.resolution, config.resolution, 3)
    inner = config.clip_frames + 2 * config.audio_margin
    voice = {
        "audio_features": random.between_graphs(inner, config.audio_features),
        "head_speed": torch.full((inner,), config.speed),
        "face_region": _centre(config),
    }
    if config.takes_gestures:
        voice["gestures"] = torch.zeros(config.clip_frames, GESTURES)
    faces = {
        "reference_latents": random.normal(1, *frame),
        "motion_latents": random.normal(config.motion_frames, *frame),
    }
    conditioning, reference_net = ConditioningGraph(model), ReferenceNetGraph(model)
    voice_conditions, face_conditions = random.outputs(conditioning, voice), random.outputs(reference_net, faces)
    time_embedding, timestep = TimeEmbeddingGraph(model), {"timestep": torch.tensor([500.0])}
    latents, embedded = random.normal(config.clip_frames, *frame), time_embedding(**timestep)
    steps = _step_graphs(model, random, latents, embedded, voice_conditions | face_conditions)
    waveform = random.normal(1, config.audio_window_frames * config.sample_rate // config.frames_per_second)
    return {
        "audio_encoder": ExportGraph(AudioEncoderGraph(model), {"waveform": waveform}, ["audio_features"]),
        "conditioning": ExportGraph(conditioning, voice, list(voice_conditions)),
        "vae_encoder": ExportGraph(VAEEncoderGraph(model), {"image": image}, ["latents"]),
        "reference_net": ExportGraph(reference_net, faces, list(face_conditions)),
        "time_embedding": ExportGraph(time_embedding, timestep, ["time_embedding"]),
        **steps,
        "vae_decoder": ExportGraph(VAEDecoderGraph(model), {"latents": latents}, ["frames"]),
    }


def _step_graphs(
    model: EmoModel,
    random: _RandomTensors,
    latents: Tensor,
    time_embedding: Tensor,
    conditions: dict[str, Tensor],
) -> dict[str, ExportGraph]:
    """Full and cached steps, without and with guidance, from the latents and named conditions of one clip."""
    config = model.config
    step = {
        "latents": latents,
        "time_embedding": time_embedding,
        "latents_coefficient": torch.tensor([0.5]),
        "prediction_coefficient": torch.tensor([0.5]),
    }
    guided_step = {"guidance_scale": torch.tensor([config.guidance_scale])} | step
    cached = model.backbone.cached_step_conditions(Conditions.from_named_tensors(conditions)).named_tensors()
    deep_shape = (*config.block_out_channels[:2][-1:], config.latent_size, config.latent_size)
    deep = {"deep_features": random.between_graphs(config.clip_frames, *deep_shape)}
    guided_deep = {"deep_features": random.between_graphs(2 * config.clip_frames, *deep_shape)}
    backbone, guided_backbone = BackboneGraph(model), GuidedBackboneGraph(model)
    full_outputs, cached_outputs = ["next_latents", "deep_features"], ["next_latents"]
    return {
        "backbone": ExportGraph(backbone, step | conditions, full_outputs),
        "guided_backbone": ExportGraph(guided_backbone, guided_step | conditions, full_outputs),
        "cached_backbone": ExportGraph(backbone, step | cached | deep, cached_outputs),
        "cached_guided_backbone": ExportGraph(guided_backbone, guided_step | cached | guided_deep, cached_outputs),
    }


def _centre(config: EmoConfig) -> Tensor:
    """Face region (1, 1, resolution, resolution) in the middle of the picture."""
    quarter = config.resolution // 4
    region = torch.zeros(1, 1, config.resolution, config.resolution)
    region[..., quarter:-quarter, quarter:-quarter] = 1
    return region
