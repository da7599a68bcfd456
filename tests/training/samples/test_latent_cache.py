"""Latents are encoded once for each encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import emo_model

from training.clips import compact
from training.samples.clip_folder import ClipFolder
from training.samples.latent_cache import LatentCache
from training.speakers.speaker import make_clip

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def test_latents_are_kept(tmp_path: Path) -> None:
    vae = emo_model().vae
    assert LatentCache(tmp_path, vae).find("clip") is None
    encoded = LatentCache(tmp_path, vae).encode("clip", FRAMES)
    assert encoded.dtype == torch.float16
    assert encoded.shape == (40, 4, 8, 8)
    found = LatentCache(tmp_path, vae).find("clip")
    assert found is not None
    assert torch.equal(found, encoded)
    assert found.stride() == encoded.stride()  # what is computed from either is the same bits


def test_clips_are_encoded_once_and_their_pictures_read_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = emo_model()
    clip = make_clip(1, seconds=0.4, resolution=32)
    clip.save(tmp_path / "1.npz")
    clip.save(tmp_path / "2.labels.npz")
    first = ClipFolder(tmp_path, model.config, model.vae)

    def no_more(*_: object) -> None:
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(model.vae, "encode", no_more)
    monkeypatch.setattr(compact, "read_h264", no_more)
    again = ClipFolder(tmp_path, model.config, model.vae)
    assert first.tensors.latents is not None
    assert again.tensors.latents is not None
    assert torch.equal(first.tensors.latents, again.tensors.latents)
    assert torch.equal(first.tensors.waveform, again.tensors.waveform)
    assert again.tensors.waveform.any(1).sum() > 10


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
        cache.encode("clip", FRAMES)
    assert not list(cache.directory.iterdir())
