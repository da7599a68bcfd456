"""The audio encoder: wav2vec 2.0's own hidden states, per video frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import emo_model
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from emo_rt.media.boxes import Box
from training.model.conditions import Conditions
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline


@pytest.fixture
def waveform(model: EmoModel) -> Tensor:
    config = model.config
    samples = config.audio_window_frames * config.sample_rate // config.frames_per_second
    return 0.2 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))


def test_a_window_gives_the_clips_frames_and_their_margins(model: EmoModel, waveform: Tensor) -> None:
    config = model.config
    features = model.audio_encoder(waveform)
    assert features.shape == (2, config.clip_frames + 2 * config.audio_margin, config.audio_features)


def test_hidden_states_are_those_of_transformers(model: EmoModel, waveform: Tensor) -> None:
    """Normalised as wav2vec 2.0's feature extractor does, and padded by half of what its convolutions overlap."""
    normalised = Wav2Vec2FeatureExtractor(do_normalize=True)(
        [row.numpy() for row in waveform], sampling_rate=16_000, return_tensors="pt"
    ).input_values
    padded = torch.nn.functional.pad(normalised, (40, 40))
    expected = model.audio_encoder.wav2vec2(padded, output_hidden_states=True).hidden_states
    ours = model.audio_encoder.hidden_states(waveform)
    assert len(ours) == model.config.wav2vec2["num_hidden_layers"] == len(expected) - 1
    torch.testing.assert_close(ours, expected[1:], rtol=0, atol=1e-5)


def test_a_frame_has_the_outputs_of_all_blocks_over_its_own_time(model: EmoModel, waveform: Tensor) -> None:
    """Two features of 20 ms for each frame of 40 ms; the context on both sides is gone."""
    states, features = model.audio_encoder.hidden_states(waveform), model.audio_encoder(waveform)
    context = model.config.audio_context
    for frame in range(features.shape[1]):
        first = 2 * (frame + context)
        expected = torch.cat([state[:, first : first + 2].mean(1) for state in states], -1)
        torch.testing.assert_close(features[:, frame], expected)


def test_loudness_and_offset_do_not_matter(model: EmoModel, waveform: Tensor) -> None:
    features = model.audio_encoder(waveform)
    torch.testing.assert_close(model.audio_encoder(0.5 * waveform + 0.1), features, rtol=0, atol=1e-4)
    assert (model.audio_encoder(waveform.flip(1)) - features).abs().max() > 1e-2


def test_silence_has_finite_features(model: EmoModel, waveform: Tensor) -> None:
    assert torch.isfinite(model.audio_encoder(torch.zeros_like(waveform))).all()


def test_a_clip_hears_its_window_and_nothing_beyond() -> None:
    model = emo_model(steps=1)
    config = model.config
    samples = config.sample_rate // config.frames_per_second
    frames = 3 * config.clip_frames
    rng = np.random.default_rng(0)
    portrait = rng.integers(0, 256, (config.resolution, config.resolution, 3), dtype=np.uint8)
    voice = (0.1 * rng.standard_normal(frames * samples)).astype(np.float32)
    end = (config.clip_frames + config.audio_margin + config.audio_context) * samples
    pipeline, box = EmoPipeline(model), Box(8, 8, 16, 16)
    video = pipeline(portrait, box, voice, frames)
    assert video.shape == (frames, config.resolution, config.resolution, 3)
    for first_changed, same in ((end, True), (end - samples, False)):
        other = voice.copy()
        other[first_changed:] = other[first_changed:][::-1]
        first_clip = pipeline(portrait, box, other, config.clip_frames)
        assert np.array_equal(first_clip, video[: config.clip_frames]) == same


def test_the_first_clips_motion_frames_are_zeros_and_the_next_ones_its_last_latents(
    model: EmoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, motion, clips = model.config, [], []
    pipeline = EmoPipeline(model)
    portrait_and_motion, denoise = model.portrait_and_motion, pipeline.denoise

    def note_motion(reference: Tensor, latents: Tensor, portrait_pull: float) -> Conditions:
        motion.append(latents)
        assert portrait_pull == config.portrait_pull
        return portrait_and_motion(reference, latents, portrait_pull)

    def note_clip(*arguments: Tensor) -> Tensor:
        clips.append(denoise(*arguments))
        return clips[-1]

    monkeypatch.setattr(model, "portrait_and_motion", note_motion)
    monkeypatch.setattr(pipeline, "denoise", note_clip)
    portrait = np.zeros((config.resolution, config.resolution, 3), np.uint8)
    pipeline(portrait, Box(8, 8, 16, 16), np.zeros(0, np.float32), 2 * config.clip_frames - 1, steps=1)
    assert not motion[0].any()
    assert torch.equal(motion[1], clips[0][:, -config.motion_frames :])
    assert len(motion) == len(clips) == 2
