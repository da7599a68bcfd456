"""Latents of clips, encoded once and kept in a folder beside the clips."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emo_rt.atomic import atomic_write
from training.model.vae import VAE, to_float

#: Frames that the VAE encodes at once.
ENCODED_FRAMES = 32


class LatentCache:
    """The latents that one VAE makes of the clips of a folder.

    They lie in `latents-*/` in that folder, one `.npy` for each clip. Every VAE has a cache of its own, named after the
    hash of its encoder. Several processes may fill a cache at the same time.

    Args:
        folder: directory of the clips
        vae: encoder of the frames
    """

    def __init__(self, folder: Path, vae: VAE) -> None:
        self.directory = Path(folder) / f"latents-{encoder_fingerprint(vae)}"
        self.vae = vae

    def find(self, name: str) -> Tensor | None:
        """Latents (t, c, h, w) in float16 of a clip, or None if the cache lacks them."""
        path = self._path(name)
        return torch.from_numpy(np.load(path)) if path.exists() else None

    @torch.no_grad()
    def encode(self, name: str, frames: np.ndarray) -> Tensor:
        """Latents (t, c, h, w) in float16 of a clip's RGB uint8 frames (t, h, w, 3), which the cache keeps."""
        device = next(self.vae.parameters()).device
        parts = torch.from_numpy(frames).split(ENCODED_FRAMES)
        latents = torch.cat([self.vae.encode(to_float(part.to(device))).half().cpu() for part in parts]).contiguous()
        self.directory.mkdir(exist_ok=True)
        with atomic_write(self._path(name)) as file:
            np.save(file, latents.numpy())
        return latents

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.npy"


def encoder_fingerprint(vae: VAE) -> str:
    """Hash of all that latents depend on: the scaling factor and the encoder's weights, not the decoder's."""
    digest = hashlib.sha256(str(vae.scaling_factor).encode())
    for name, tensor in vae.state_dict().items():
        if not any(part in name for part in ("decoder.", "post_quant_conv.")):
            digest.update((tensor.detach().float().cpu() + 0.0).numpy().tobytes())  # -0.0 and 0.0 are the same weight
    return digest.hexdigest()[:12]
