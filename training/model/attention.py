"""Spatial attention in SD 1.5's shape: self-attention, then reference- and audio-attention (paper, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn


def attention(query_dim: int, heads: int, key_dim: int | None = None) -> Attention:
    """An attention layer with SD's parameter names and no bias on query, key and value."""
    return Attention(query_dim, cross_attention_dim=key_dim, heads=heads, dim_head=query_dim // heads, bias=False)


def attend(layer: Attention, hidden: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with keys and values that are projected already.

    Args:
        layer: gives the query and output projections.
        hidden: (..., q, c).
        key, value: (..., k, c), with the same leading dimensions.

    Returns:
        (..., q, c)
    """
    query, key, value = (
        x.reshape(-1, x.shape[-2], layer.heads, x.shape[-1] // layer.heads).transpose(1, 2)
        for x in (layer.to_q(hidden), key, value)
    )  # [batch, heads, tokens, head_dim]: with more dimensions PyTorch leaves its fused kernel
    attended = F.scaled_dot_product_attention(query, key, value)
    out: Tensor = layer.to_out[0](attended.transpose(1, 2).reshape(hidden.shape))
    return out


def zero_output(layer: Attention) -> Attention:
    """Make a new layer an identity at first, so that it does not disturb the inherited weights around it."""
    output = layer.to_out[0]
    assert isinstance(output, nn.Linear)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    return layer


class SpatialBlock(nn.Module):
    """SD's ``BasicTransformerBlock``: self-attention, the layers of a subclass, feed-forward."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    def self_attention(self, hidden: Tensor) -> Tensor:
        normed = self.norm1(hidden)
        return hidden + attend(self.attn1, normed, self.attn1.to_k(normed), self.attn1.to_v(normed))

    def feed_forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.ff(self.norm3(hidden))
        return out


class ReferenceBlock(SpatialBlock):
    """Block of the ReferenceNet: SD's without its text attention."""

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """``hidden`` (b, hw, c) to the next hidden states and the reference features, both (b, hw, c).

        The features leave the self-attention, and pass the norm that in SD stands before the cross-attention.
        """
        hidden = self.self_attention(hidden)
        return self.feed_forward(hidden), self.norm2(hidden)


class BackboneBlock(SpatialBlock):
    """Block of the Backbone: SD's text attention became reference-attention; audio-attention follows it."""

    def __init__(self, channels: int, heads: int, audio_channels: int) -> None:
        super().__init__(channels, heads)
        self.attn2 = attention(channels, heads, channels)
        self.norm_audio = nn.LayerNorm(channels)
        self.attn_audio = zero_output(attention(channels, heads, audio_channels))

    def forward(
        self,
        hidden: Tensor,
        reference: tuple[Tensor, Tensor] | None,
        audio: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """
        Args:
            hidden: (b, f, hw, c).
            reference: keys and values, each (b, hw, c), or (1, hw, c) for all; None leaves the layer out.
            audio: keys and values, each (b, f, 2m + 1, c), or of several voices where b is 1; None leaves it out.

        Returns:
            (b, f, hw, c), or (voices, f, hw, c)
        """
        hidden = self.self_attention(hidden)
        if reference is not None:  # the same keys serve all frames: the frames become one long query
            query = self.norm2(hidden).reshape(reference[0].shape[0], -1, hidden.shape[-1])
            hidden = hidden + attend(self.attn2, query, *reference).reshape(hidden.shape)
        if audio is not None:
            hidden = hidden.expand(audio[0].shape[0], -1, -1, -1)
            hidden = hidden + attend(self.attn_audio, self.norm_audio(hidden), *audio)
        return self.feed_forward(hidden)


class SpatialTransformer(nn.Module):
    """SD's ``Transformer2DModel`` around one block, for feature maps."""

    def __init__(self, channels: int, norm_groups: int, block: SpatialBlock) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def enter(self, maps: Tensor) -> Tensor:
        """(b, c, h, w) to tokens (b, hw, c)."""
        out: Tensor = self.proj_in(self.norm(maps)).flatten(2).transpose(1, 2)
        return out

    def leave(self, hidden: Tensor, maps: Tensor) -> Tensor:
        """Tokens (b, hw, c) added to the maps (b, c, h, w) that they came from, or (k·b, hw, c) to k copies of them."""
        maps = repeat(maps, hidden.shape[0])
        out: Tensor = maps + self.proj_out(hidden.transpose(1, 2).reshape(maps.shape))
        return out

    @property
    def block(self) -> nn.Module:
        return self.transformer_blocks[0]


def repeat(tensor: Tensor, batch: int) -> Tensor:
    """As many copies of a tensor, one after the other in its first dimension, as make a batch of ``batch``."""
    copies = batch // tensor.shape[0]
    return tensor if copies == 1 else tensor.repeat(copies, *[1] * (tensor.ndim - 1))


def key_value(layer: Attention, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of ``tokens`` (..., k, c)."""
    return layer.to_k(tokens), layer.to_v(tokens)


def concatenate(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two sets of keys and values, one after the other."""
    return torch.cat([first[0], second[0]], -2), torch.cat([first[1], second[1]], -2)
