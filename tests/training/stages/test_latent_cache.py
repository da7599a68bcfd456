"""Latents are encoded once for each encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model

from training.stages.latent_cache import LatentCache

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def test_frames_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = emo_model().vae
    encoded = LatentCache(tmp_path, vae).latents("clip", FRAMES)
    assert encoded.dtype == torch.float16
    assert encoded.shape == (40, 4, 8, 8)

    def no_more(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(vae, "encode", no_more)
    assert torch.equal(LatentCache(tmp_path, vae).latents("clip", FRAMES), encoded)


def test_another_encoder_has_a_cache_of_its_own_and_another_decoder_has_not(tmp_path: Path) -> None:
    vae = emo_model().vae
    first = LatentCache(tmp_path, vae).directory
    with torch.no_grad():
        vae.autoencoder.decoder.conv_in.bias += 1
        assert LatentCache(tmp_path, vae).directory == first
        vae.autoencoder.encoder.conv_in.bias += 1
        assert LatentCache(tmp_path, vae).directory != first


def test_a_cache_that_cannot_be_written_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = LatentCache(tmp_path, emo_model().vae)

    def half(file: object, latents: np.ndarray) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(OSError, match="no space left"):
        cache.latents("clip", FRAMES)
    assert not list(cache.directory.iterdir())
