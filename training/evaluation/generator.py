"""Generated videos that are kept: a long evaluation goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from torch import nn

from emo_rt.atomic import atomic_write
from emo_rt.media.boxes import Box
from training.model.conditions import Conditions
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline


class Generator:
    """The reference pipeline, with videos kept in files that are named after all that a video follows from.

    Attributes:
        model: model that generates the videos.
        steps: number of DDIM steps.
        guidance_scale: weight of the voice against no voice.
    """

    def __init__(
        self,
        model: EmoModel,
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        directory: Path | None = None,
        without: str | None = None,
    ) -> None:
        """Prepares the pipeline.

        Args:
            model: model that generates the videos.
            steps: number of DDIM steps; None means the config's.
            guidance_scale: weight of the voice against no voice; None means the config's.
            directory: directory of the kept videos; None keeps none.
            without: field of `Conditions` that the Backbone does not get, for an ablation.
        """
        self.model = model
        self.steps = model.config.steps if steps is None else steps
        self.guidance_scale = model.config.guidance_scale if guidance_scale is None else guidance_scale
        self._directory = directory
        self._without = without
        self._pipeline = EmoPipeline(model)
        self._fingerprint = _fingerprint_of_model(model) if directory else b""

    def __call__(
        self, portrait: np.ndarray, face_box: Box, waveform: np.ndarray, frames: int, *, seed: int, speed: float
    ) -> np.ndarray:
        """A generated video, or the kept one.

        Args:
            portrait: RGB uint8 (resolution, resolution, 3).
            face_box: the face in the portrait's pixels.
            waveform: voice (samples,), mono float32 at the config's sample rate.
            frames: number of frames.
            seed: seed of the noise.
            speed: head speed asked for, in degrees per frame.

        Returns:
            RGB uint8 (frames, resolution, resolution, 3).
        """
        if self._directory is None:
            return self._generated(portrait, face_box, waveform, frames, seed, speed)
        settings = [asdict(face_box), frames, seed, speed, self.steps, self.guidance_scale]
        settings += [self._without] if self._without else []
        content = (self._fingerprint, json.dumps(settings).encode(), portrait.tobytes(), waveform.tobytes())
        path = self._directory / f"{hashlib.sha256(b'/'.join(content)).hexdigest()[:20]}.npz"
        if path.exists():
            with np.load(path) as archive:
                kept: np.ndarray = archive["frames"]
            return kept
        video = self._generated(portrait, face_box, waveform, frames, seed, speed)
        self._directory.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.savez_compressed(file, frames=video)
        return video

    def _generated(
        self, portrait: np.ndarray, face_box: Box, waveform: np.ndarray, frames: int, seed: int, speed: float
    ) -> np.ndarray:
        with left_out(self.model.backbone, self._without):
            return self._pipeline(
                portrait,
                face_box,
                waveform,
                frames,
                seed=seed,
                steps=self.steps,
                guidance_scale=self.guidance_scale,
                speed=speed,
            )


@contextmanager
def left_out(backbone: nn.Module, name: str | None) -> Iterator[None]:
    """While it lasts, a Backbone gets its conditions without the field of this name; None leaves them whole."""

    def emptied(_: nn.Module, arguments: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(
            replace(value, **{name: getattr(Conditions(), name)}) if name and isinstance(value, Conditions) else value
            for value in arguments
        )

    hook = backbone.register_forward_pre_hook(emptied)
    try:
        yield
    finally:
        hook.remove()


def _fingerprint_of_model(model: EmoModel) -> bytes:
    """A digest of the config and of every weight."""
    digest = hashlib.sha256(json.dumps(asdict(model.config)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
