"""Temporal modules in AnimateDiff's shape, with motion frames and speed layers (paper, section 3.2)."""

from __future__ import annotations

from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from torch import Tensor, nn

from training.model.attention import KeyValue, attend, attention, concatenate, key_value, repeat, zero_output


class TemporalBlock(nn.Module):
    """AnimateDiff's block: two self-attentions over frames, cross-attention to speed, feed-forward.

    The motion frames are further keys and values of the self-attentions.
    """

    def __init__(self, channels: int, heads: int, positions: int, speed_channels: int) -> None:
        super().__init__()
        self.pos_embed = SinusoidalPositionalEmbedding(channels, positions)
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = attention(channels, heads)
        self.norm_speed = nn.LayerNorm(channels)
        self.attn_speed = zero_output(attention(channels, heads, speed_channels))
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    def positions(self, first: int, count: int) -> Tensor:
        """Positional embeddings (1, count, c) of `count` frames from frame `first` on."""
        table = self.pos_embed.pe
        assert isinstance(table, Tensor)
        return table[:, first : first + count]

    def motion_keys(self, hidden: Tensor) -> tuple[KeyValue, KeyValue]:
        """Keys and values of the motion frames for both attentions.

        Motion frames see only each other, so that their keys and values are the same at every denoising step.

        Args:
            hidden: hidden states of the motion frames (b·hw, n, c).

        Returns:
            for the first and the second attention, keys and values, each (b·hw, n, c).
        """
        position = self.positions(0, hidden.shape[1])
        normed = self.norm1(hidden) + position
        first = key_value(self.attn1, normed)
        hidden = hidden + attend(self.attn1, normed, *first)
        return first, key_value(self.attn2, self.norm2(hidden) + position)

    def forward(self, hidden: Tensor, motion: tuple[KeyValue, KeyValue] | None, speed: KeyValue | None) -> Tensor:
        """Attention over frames, to motion frames and to speed, then feed-forward.

        Args:
            hidden: hidden states (b·hw, f, c).
            motion: keys and values of the motion frames for both attentions, each (b·hw, n, c), or (hw, n, c) for the
                whole batch; None means no motion frames.
            speed: keys and values of the speed tokens, each (b, f, c), or (1, f, c) for the whole batch; None leaves
                the layer out.

        Returns:
            the next hidden states (b·hw, f, c).
        """
        frames = hidden.shape[1]
        position = self.positions(motion[0][0].shape[1] if motion else 0, frames)
        for index, (norm, layer) in enumerate([(self.norm1, self.attn1), (self.norm2, self.attn2)]):
            normed = norm(hidden) + position
            keys = key_value(layer, normed)
            if motion:
                known_key, known_value = (repeat(tensor, hidden.shape[0]) for tensor in motion[index])
                keys = concatenate((known_key, known_value), keys)
            hidden = hidden + attend(layer, normed, *keys)
        if speed is not None:  # all pixels of a sample share its speed: they form one long query
            batch = speed[0].shape[0]
            normed = (self.norm_speed(hidden) + position).reshape(batch, -1, hidden.shape[-1])
            hidden = hidden + attend(self.attn_speed, normed, *speed).reshape(hidden.shape)
        out: Tensor = hidden + self.ff(self.norm3(hidden))
        return out


class TemporalModule(nn.Module):
    """AnimateDiff's motion module: attention over the frames of each pixel."""

    def __init__(self, channels: int, heads: int, norm_groups: int, positions: int, speed_channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(channels, heads, positions, speed_channels)])
        self.proj_out = nn.Linear(channels, channels)
        # A new module is an identity, as in AnimateDiff.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    @property
    def block(self) -> TemporalBlock:
        """The transformer block."""
        block = self.transformer_blocks[0]
        assert isinstance(block, TemporalBlock)
        return block

    def enter(self, maps: Tensor) -> Tensor:
        """Feature maps (b, f, c, h, w) to hidden states (b·hw, f, c).

        The norm's statistics are over all frames, as in AnimateDiff.
        """
        batch, frames, channels = maps.shape[:3]
        normed = self.norm(maps.transpose(1, 2).flatten(3)).reshape(batch, channels, frames, -1)
        out: Tensor = self.proj_in(normed.permute(0, 3, 2, 1).reshape(-1, frames, channels))
        return out

    def motion_keys(self, motion_features: Tensor) -> tuple[KeyValue, KeyValue]:
        """Keys and values of motion features (b, n, c, h, w) for both attentions, each (b·hw, n, c)."""
        return self.block.motion_keys(self.enter(motion_features))

    def forward(self, maps: Tensor, motion: tuple[KeyValue, KeyValue] | None, speed: KeyValue | None) -> Tensor:
        """Feature maps (b, f, c, h, w) to the same shape; `motion` and `speed` as in `TemporalBlock.forward`."""
        batch, frames, channels, height, width = maps.shape
        hidden = self.proj_out(self.block(self.enter(maps), motion, speed))
        return maps + hidden.reshape(batch, height, width, frames, channels).permute(0, 3, 4, 1, 2)
