"""The work of a clip as calls of a model's graphs, on inputs that are the same for every precision."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.gpu_rows.measure import Call
from export.graphs.modules import (
    AudioEncoderGraph,
    BackboneGraph,
    ConditioningGraph,
    GuidedBackboneGraph,
    ReferenceNetGraph,
    TimeEmbeddingGraph,
    VAEDecoderGraph,
    dtype_of,
)
from training.model.conditions import Conditions
from training.model.model import EmoModel

#: What is computed once per clip: the voice, by a network of transformers, and all conditions.
VOICE_GRAPH, ONCE = "audio_encoder", "conditions"
#: The graphs of a clip, those of the shortest way to a result first.
CLIP_GRAPHS = (
    "guided_backbone",
    "vae_decoder",
    "cached_guided_backbone",
    "backbone",
    "cached_backbone",
    ONCE,
    VOICE_GRAPH,
)
#: The graphs that a slow row runs: enough to compare other rows with.
REFERENCE_GRAPHS = ("guided_backbone", "vae_decoder", ONCE, VOICE_GRAPH)


class ClipWork:
    """The graphs of a clip with their inputs on a device.

    The keys and values are the model's own, not random numbers: where attention has thousands of keys, random ones
    mean nothing. They come in the model's dtype, so that no step converts them.

    Args:
        model: model on its device
        device: PyTorch's device
    """

    def __init__(self, model: EmoModel, device: str) -> None:
        self.config, self.dtype, self.device = model.config, dtype_of(model), device
        self.generator = torch.Generator().manual_seed(0)
        config = self.config
        frame = (config.latent_channels, config.latent_size, config.latent_size)
        inner = config.clip_frames + 2 * config.audio_margin
        quarter = config.resolution // 4
        region = torch.zeros(1, 1, config.resolution, config.resolution)
        region[..., quarter:-quarter, quarter:-quarter] = 1
        self.voice = (
            self._normal(inner, config.audio_features).to(self.dtype),
            torch.full((inner,), config.speed, device=device),
            region.to(device),
        )
        self.faces = (self._normal(1, *frame), self._normal(config.motion_frames, *frame))
        self.latents = self._normal(config.clip_frames, *frame)
        self.waveform = self._normal(1, config.audio_window_frames * config.sample_rate // config.frames_per_second)
        self.audio_encoder, self.conditioning = AudioEncoderGraph(model), ConditioningGraph(model)
        self.reference_net, self.decoder = ReferenceNetGraph(model), VAEDecoderGraph(model)
        self.full, self.guided = BackboneGraph(model), GuidedBackboneGraph(model)
        self.time_embedding = TimeEmbeddingGraph(model)(torch.tensor([500.0], device=device)).to(self.dtype)
        made = {**self.conditioning(*self.voice), **self.reference_net(*self.faces)}
        self.conditions = {name: tensor.to(self.dtype) for name, tensor in made.items()}
        outer = model.backbone.cached_step_conditions(Conditions.from_named_tensors(self.conditions))
        self.outer_conditions = outer.named_tensors()
        self.deep_features: Tensor | None = None

    def call(self, graph: str) -> Call:
        """The call of one of `CLIP_GRAPHS`. Before a cached step, the full step with guidance must have run."""
        conditions = self.conditions
        half, scale = (torch.tensor([value], device=self.device) for value in (0.5, self.config.guidance_scale))
        if graph.startswith("cached"):
            assert self.deep_features is not None
            frames = self.config.clip_frames
            deep = self.deep_features if graph == "cached_guided_backbone" else self.deep_features[frames:]
            conditions = {**self.outer_conditions, "deep_features": deep}
        if graph == VOICE_GRAPH:
            return lambda: {"audio_features": self.audio_encoder(self.waveform)}
        if graph == ONCE:
            return lambda: {**self.conditioning(*self.voice), **self.reference_net(*self.faces)}
        if graph == "vae_decoder":
            return lambda: {"frames": self.decoder(self.latents)}
        if graph.endswith("guided_backbone"):
            return lambda: self.guided(self.latents, self.time_embedding, scale, half, half, conditions)
        return lambda: self.full(self.latents, self.time_embedding, half, half, conditions)

    def keep_deep_features(self, outputs: dict[str, Tensor]) -> None:
        """Keep the deep features among the outputs of a full step with guidance for the cached steps."""
        self.deep_features = outputs["deep_features"].to(self.dtype).clone()

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)
