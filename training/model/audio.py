"""Audio layers: wav2vec 2.0 features of each video frame and of its neighbours (paper, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from training.model.config import EmoConfig

#: Samples that wav2vec 2.0's convolutions see, and step by. With half the difference as padding on each side, a window
#: of k video frames (at 25 Hz and 16 kHz) gives exactly 2k features.
RECEPTIVE_FIELD, HOP = 400, 320


class AudioEncoder(nn.Module):
    """wav2vec 2.0 over one window of sound; A(f) is the concatenated output of all its blocks.

    Raises:
        ValueError: if a video frame does not last a multiple of `HOP` samples.
    """

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.config = config
        self.features_per_frame = config.sample_rate // config.frames_per_second // HOP
        if self.features_per_frame * HOP * config.frames_per_second != config.sample_rate:
            raise ValueError(f"a video frame must last a multiple of {HOP} samples")
        self.wav2vec2 = Wav2Vec2Model(wav2vec2_config(config))

    def hidden_states(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Waveforms (b, samples) to the output of each block, each (b, samples / 320, hidden_size).

        As in wav2vec 2.0's feature extractor, each waveform is first scaled to zero mean and unit variance.
        """
        waveform = waveform - waveform.mean(-1, keepdim=True)
        waveform = waveform * torch.rsqrt(waveform.square().mean(-1, keepdim=True) + 1e-7)
        padding = (RECEPTIVE_FIELD - HOP) // 2
        waveform = F.pad(waveform, (padding, padding)).to(self.wav2vec2.dtype)
        output = self.wav2vec2(waveform, output_hidden_states=True)
        return tuple(output.hidden_states[1:])

    def forward(self, waveform: Tensor) -> Tensor:
        """A(f) of the clip's frames and their margins.

        Args:
            waveform: windows (b, samples) of `config.audio_window_frames` video frames.

        Returns:
            audio features (b, f + 2m, audio_features).
        """
        return self.features(self.hidden_states(waveform))

    def features(self, hidden_states: tuple[Tensor, ...]) -> Tensor:
        """A(f) (b, f + 2m, audio_features) of the outputs of all blocks, which `hidden_states` gives."""
        features = torch.cat(hidden_states, -1)
        features = features.unflatten(1, (-1, self.features_per_frame)).mean(2)
        context = self.config.audio_context
        return features[:, context : features.shape[1] - context]


class AudioProjection(nn.Module):
    """A(f - m) ... A(f + m) to the 2m + 1 tokens that frame f attends to (the projection is *ours*)."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.window = 2 * config.audio_margin + 1
        width = config.audio_channels
        self.norm = nn.LayerNorm(config.audio_features)
        self.mlp = nn.Sequential(nn.Linear(config.audio_features, width), nn.SiLU(), nn.Linear(width, width))
        self.position = nn.Parameter(torch.randn(self.window, width) * 0.02)

    def forward(self, audio_features: Tensor) -> Tensor:
        """Audio features (b, f + 2m, audio_features) to tokens (b, f, 2m + 1, audio_channels). Zeros mean no voice."""
        tokens = self.mlp(self.norm(audio_features))
        return tokens.unfold(1, self.window, 1).transpose(2, 3) + self.position


def wav2vec2_config(config: EmoConfig) -> Wav2Vec2Config:
    """Config of the audio encoder, without the masking and dropout of its pretraining."""
    return Wav2Vec2Config(
        **config.wav2vec2,
        vocab_size=32,
        apply_spec_augment=False,
        layerdrop=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
    )
