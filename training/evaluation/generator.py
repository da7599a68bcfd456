"""Generated videos that are kept: long evaluations go on where they stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from emo_rt.media.boxes import Box
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline


class Generator:
    """The reference pipeline, whose videos are files named after all that they follow from.

    Attributes:
        model: that generates.
        steps, guidance_scale: of sampling, in all videos.
    """

    def __init__(
        self,
        model: EmoModel,
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        directory: Path | None = None,
    ) -> None:
        """
        Args:
            steps, guidance_scale: the config's by default.
            directory: for the videos; without it none is kept.
        """
        self.model = model
        self.steps = model.config.steps if steps is None else steps
        self.guidance_scale = model.config.guidance_scale if guidance_scale is None else guidance_scale
        self._directory = directory
        self._pipeline = EmoPipeline(model)
        self._checkpoint = _fingerprint_of_model(model) if directory else b""

    def __call__(
        self, portrait: np.ndarray, face_box: Box, waveform: np.ndarray, frames: int, *, seed: int, speed: float
    ) -> np.ndarray:
        """As ``EmoPipeline``: RGB uint8 (frames, resolution, resolution, 3)."""
        if self._directory is None:
            return self._generated(portrait, face_box, waveform, frames, seed, speed)
        settings = [asdict(face_box), frames, seed, speed, self.steps, self.guidance_scale]
        content = (self._checkpoint, json.dumps(settings).encode(), portrait.tobytes(), waveform.tobytes())
        path = self._directory / f"{hashlib.sha256(b'/'.join(content)).hexdigest()[:20]}.npz"
        if path.exists():
            with np.load(path) as archive:
                kept: np.ndarray = archive["frames"]
            return kept
        video = self._generated(portrait, face_box, waveform, frames, seed, speed)
        self._directory.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez_compressed(file, frames=video)
        temporary.replace(path)
        return video

    def _generated(
        self, portrait: np.ndarray, face_box: Box, waveform: np.ndarray, frames: int, seed: int, speed: float
    ) -> np.ndarray:
        sampling = {"steps": self.steps, "guidance_scale": self.guidance_scale, "speed": speed}
        return self._pipeline(portrait, face_box, waveform, frames, seed=seed, **sampling)  # type: ignore[arg-type]


def _fingerprint_of_model(model: EmoModel) -> bytes:
    digest = hashlib.sha256(json.dumps(asdict(model.config)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
