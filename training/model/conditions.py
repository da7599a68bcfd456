"""Conditions of the Backbone: everything that does not change between two denoising steps (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from training.model.attention import KeyValue
from training.model.controls import Lids


@dataclass(frozen=True, eq=False)
class Conditions:
    """Everything that a denoising step takes beside latents and timestep.

    Keys and values are projected for one layer each, and stored by the number of that layer: spatial attention layers
    in the order of `UNet.attention_layers`, temporal modules in the order of `UNet.temporal_modules`. The Backbone
    leaves out an attention whose keys and values are missing, and adds nothing where another field is None. So the
    image stage trains without voice and motion frames, the video stage without head speed, and a cached step runs
    without the deep layers.

    In the shapes b is the batch, f the frames of a clip, n its motion frames, m the audio margin, hw the pixels of a
    layer's feature maps and c its channels. The batch of `audio` and `audio_embedding` may be larger where that of all
    other fields is 1. Guidance uses a batch of two voices: none, then the voice.

    Attributes:
        audio: keys and values of the voice for each spatial attention layer, each (b, f, 2m + 1, c).
        audio_embedding: map of the voice that is added to the time embedding, (b, f, time_channels).
        gesture_embedding: map of the head's turns that is added to the time embedding and scales feature maps,
            (b, f, time_channels).
        closing: how far the eyes are shut (b, f), from 0, open, to 1, shut, for a model with eyelids.
        face_latents: encoded face region that is added to the noisy latents, (b, latent_channels, h, w).
        speed: keys and values of the head speed for each temporal module, each (b, f, c).
        reference: keys and values of the portrait for each spatial attention layer, each (b, hw, c).
        motion: keys and values of the motion frames for the first and the second attention of each temporal module,
            each (b·hw, n, c).
        known_maps: maps of portrait and motion frames that are added to the first feature maps,
            (b, block_out_channels[0], h, w).
        last_latents: latents of the frame before the clip (b, latent_channels, h, w). A Backbone that predicts the
            sample predicts the difference from them.
        portrait: the portrait (b, 3, resolution, resolution) in [-1, 1], for a model that moves its pixels.
        eyelids: where its pixels come from when its eyes shut (b, 2, resolution / 2, resolution / 2), see `Eyelids`.
    """

    audio: Mapping[int, KeyValue] = field(default_factory=dict)
    audio_embedding: Tensor | None = None
    gesture_embedding: Tensor | None = None
    closing: Tensor | None = None
    face_latents: Tensor | None = None
    speed: Mapping[int, KeyValue] = field(default_factory=dict)
    reference: Mapping[int, KeyValue] = field(default_factory=dict)
    motion: Mapping[int, tuple[KeyValue, KeyValue]] = field(default_factory=dict)
    known_maps: Tensor | None = None
    last_latents: Tensor | None = None
    portrait: Tensor | None = None
    eyelids: Tensor | None = None

    @property
    def lids(self) -> Lids | None:
        """How the eyes of the portrait shut, for a model with eyelids."""
        if self.eyelids is None or self.closing is None:
            return None
        return Lids(self.eyelids, self.closing)

    @classmethod
    def merged(cls, *parts: Conditions) -> Conditions:
        """Conditions with the fields of all `parts`. Raises `ValueError` if two parts have the same field."""
        given: dict[str, Any] = {}
        for part in parts:
            for name, value in vars(part).items():
                if value is None or (isinstance(value, Mapping) and not value):
                    continue
                if name in given:
                    raise ValueError(f"two parts of the conditions have {name}")
                given[name] = value
        return cls(**given)

    @classmethod
    def from_named_tensors(cls, tensors: Mapping[str, Tensor]) -> Conditions:
        """Conditions of the tensors that `named_tensors` gives.

        Raises:
            ValueError: if a name is unknown, or a key, a value or one of a module's two attentions is missing.
        """
        first, second = _numbered("motion_first", tensors), _numbered("motion_second", tensors)
        conditions = cls(
            audio=_numbered("audio", tensors),
            audio_embedding=tensors.get("audio_embedding"),
            gesture_embedding=tensors.get("gesture_embedding"),
            closing=tensors.get("closing"),
            face_latents=tensors.get("face_latents"),
            speed=_numbered("speed", tensors),
            reference=_numbered("reference", tensors),
            motion={module: (first[module], second[module]) for module in first if module in second},
            known_maps=tensors.get("known_maps"),
            last_latents=tensors.get("last_latents"),
            portrait=tensors.get("portrait"),
            eyelids=tensors.get("eyelids"),
        )
        known = conditions.named_tensors()
        unknown = [name for name in tensors if name not in known]
        if unknown:
            raise ValueError(f"conditions that are unknown or incomplete: {', '.join(unknown)}")
        return conditions

    def named_tensors(self) -> dict[str, Tensor]:
        """Tensors with the names, and in the order, of the exported graphs: `audio_key_00` to `eyelids`.

        A name such as `motion_first_key_07` consists of field, attention of the temporal module, part and layer number.
        """
        tensors: dict[str, Tensor | None] = {
            **_named("audio", self.audio),
            "audio_embedding": self.audio_embedding,
            "gesture_embedding": self.gesture_embedding,
            "closing": self.closing,
            "face_latents": self.face_latents,
            **_named("speed", self.speed),
            **_named("reference", self.reference),
            **_named("motion_first", {module: first for module, (first, _) in self.motion.items()}),
            **_named("motion_second", {module: second for module, (_, second) in self.motion.items()}),
            "known_maps": self.known_maps,
            "last_latents": self.last_latents,
            "portrait": self.portrait,
            "eyelids": self.eyelids,
        }
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def map(self, function: Callable[[Tensor], Tensor]) -> Conditions:
        """Conditions whose tensors are what `function` returns for these."""
        return self.from_named_tensors({name: function(tensor) for name, tensor in self.named_tensors().items()})

    def to(self, dtype: torch.dtype) -> Conditions:
        """Conditions whose tensors have another dtype."""
        return self.map(lambda tensor: tensor.to(dtype))

    def unconditional(self) -> Conditions:
        """Conditions of the first of two voices: no voice."""
        return self._of_voices(slice(None, 1))

    def conditional(self) -> Conditions:
        """Conditions of the second of two voices: the voice itself."""
        return self._of_voices(slice(1, None))

    def for_layers(self, attention_layers: Collection[int], temporal_modules: Collection[int]) -> Conditions:
        """Conditions without the keys and values of all other layers.

        Args:
            attention_layers: numbers of the spatial attention layers.
            temporal_modules: numbers of the temporal modules.
        """
        return replace(
            self,
            audio={layer: pair for layer, pair in self.audio.items() if layer in attention_layers},
            speed={module: pair for module, pair in self.speed.items() if module in temporal_modules},
            reference={layer: pair for layer, pair in self.reference.items() if layer in attention_layers},
            motion={module: pairs for module, pairs in self.motion.items() if module in temporal_modules},
        )

    def _of_voices(self, voices: slice) -> Conditions:
        embedding = self.audio_embedding
        return replace(
            self,
            audio={layer: (key[voices], value[voices]) for layer, (key, value) in self.audio.items()},
            audio_embedding=None if embedding is None else embedding[voices],
        )


def _named(kind: str, pairs: Mapping[int, KeyValue]) -> dict[str, Tensor]:
    return {
        f"{kind}_{part}_{number:02d}": tensor
        for number in sorted(pairs)
        for part, tensor in zip(("key", "value"), pairs[number], strict=True)
    }


def _numbered(kind: str, tensors: Mapping[str, Tensor]) -> dict[int, KeyValue]:
    """Complete pairs of keys and values among `tensors`, by their number."""
    pairs = {}
    for name, key in tensors.items():
        number = name.removeprefix(f"{kind}_key_")
        value = tensors.get(f"{kind}_value_{number}")
        if number.isdecimal() and value is not None:
            pairs[int(number)] = (key, value)
    return pairs
