"""What the audio stage reads from a voice."""

from __future__ import annotations

from torch import Tensor, nn

from training.clips.phonemes import PHONEME_CLASSES
from training.model.config import EmoConfig


class VoiceHeads(nn.Module):
    """Linear layers that say what is heard and what the mouth does; only the audio stage has them (*ours*)."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.phonemes = nn.Linear(config.wav2vec2["hidden_size"], len(PHONEME_CLASSES))
        self.mouth = nn.Linear((2 * config.audio_margin + 1) * config.audio_channels, 2)

    def read_phonemes(self, hidden: Tensor) -> Tensor:
        """Output of the audio encoder's last block (b, k, hidden_size) to logits (b, k, classes) at 50 Hz."""
        logits: Tensor = self.phonemes(hidden)
        return logits

    def read_mouth(self, audio_tokens: Tensor) -> Tensor:
        """Audio tokens (b, f, 2m + 1, audio_channels) to the opening and the width of the mouth (b, f, 2)."""
        shape: Tensor = self.mouth(audio_tokens.flatten(2))
        return shape
