"""Spatial attention in SD 1.5's shape: self-attention, then reference- and audio-attention (paper, section 3.2)."""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

#: Keys and values of an attention layer, each (..., k, c).
KeyValue = tuple[Tensor, Tensor]


def attention(query_dim: int, heads: int, key_dim: int | None = None) -> Attention:
    """An attention layer with SD's parameter names and without bias on query, key and value.

    Args:
        query_dim: width of the queries and of the output.
        heads: number of heads.
        key_dim: width of the tokens that keys and values are projected from; None means `query_dim`.
    """
    return Attention(query_dim, cross_attention_dim=key_dim, heads=heads, dim_head=query_dim // heads, bias=False)


def attend(layer: Attention, hidden: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to projected keys and values.

    Args:
        layer: attention layer with the query and output projections.
        hidden: hidden states (..., q, c).
        key: projected keys (..., k, c), with the same leading dimensions.
        value: projected values (..., k, c).

    Returns:
        (..., q, c)
    """
    query, key, value = (
        x.reshape(-1, x.shape[-2], layer.heads, x.shape[-1] // layer.heads).transpose(1, 2)
        for x in (layer.to_q(hidden), key, value)
    )  # [batch, heads, tokens, head_dim]: PyTorch has no fused kernel for more dimensions
    attended = scaled_dot_product_attention(query, key, value)
    out: Tensor = layer.to_out[0](attended.transpose(1, 2).reshape(hidden.shape))
    return out


def zero_output(layer: Attention) -> Attention:
    """Zero the output projection of a new layer, so that it does not disturb the inherited weights around it."""
    output = layer.to_out[0]
    assert isinstance(output, nn.Linear)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    return layer


class SpatialBlock(nn.Module):
    """SD's `BasicTransformerBlock`: self-attention, the layers of a subclass, feed-forward."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels, activation_fn="geglu")

    def self_attention(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., hw, c) with their self-attention added, of the same shape."""
        normed = self.norm1(hidden)
        return hidden + attend(self.attn1, normed, self.attn1.to_k(normed), self.attn1.to_v(normed))

    def feed_forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., hw, c) with their feed-forward layers added, of the same shape."""
        out: Tensor = hidden + self.ff(self.norm3(hidden))
        return out


class ReferenceBlock(SpatialBlock):
    """Block of the ReferenceNet: SD's without its text attention."""

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (b, hw, c) to the next hidden states and the reference features, both (b, hw, c).

        The features are the output of the self-attention behind the norm that precedes the cross-attention in SD.
        """
        hidden = self.self_attention(hidden)
        return self.feed_forward(hidden), self.norm2(hidden)


class BackboneBlock(SpatialBlock):
    """Block of the Backbone: reference-attention in the place of SD's text attention, then audio-attention."""

    def __init__(self, channels: int, heads: int, audio_channels: int) -> None:
        super().__init__(channels, heads)
        self.attn2 = attention(channels, heads, channels)
        self.norm_audio = nn.LayerNorm(channels)
        self.attn_audio = zero_output(attention(channels, heads, audio_channels))

    def forward(self, hidden: Tensor, reference: KeyValue | None, audio: KeyValue | None) -> Tensor:
        """Self-, reference- and audio-attention, then feed-forward.

        Args:
            hidden: hidden states (b, f, hw, c).
            reference: keys and values of the portrait, each (b, hw, c), or (1, hw, c) for the whole batch; None leaves
                the layer out.
            audio: keys and values of the voice, each (b, f, 2m + 1, c), or (voices, f, 2m + 1, c) where b is 1; None
                leaves the layer out.

        Returns:
            the next hidden states (b, f, hw, c), or (voices, f, hw, c).
        """
        hidden = self.self_attention(hidden)
        if reference is not None:  # all frames share these keys: they form one long query
            query = self.norm2(hidden).reshape(reference[0].shape[0], -1, hidden.shape[-1])
            hidden = hidden + attend(self.attn2, query, *reference).reshape(hidden.shape)
        if audio is not None:
            hidden = hidden.expand(audio[0].shape[0], -1, -1, -1)
            hidden = hidden + attend(self.attn_audio, self.norm_audio(hidden), *audio)
        return self.feed_forward(hidden)


class SpatialTransformer(nn.Module):
    """SD's `Transformer2DModel`: feature maps to tokens, one block, and back."""

    def __init__(self, channels: int, norm_groups: int, block: SpatialBlock) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def enter(self, maps: Tensor) -> Tensor:
        """Feature maps (b, c, h, w) to tokens (b, hw, c)."""
        out: Tensor = self.proj_in(self.norm(maps)).flatten(2).transpose(1, 2)
        return out

    def leave(self, hidden: Tensor, maps: Tensor) -> Tensor:
        """Tokens (b, hw, c) added to their maps (b, c, h, w), or (k·b, hw, c) to k copies of these.

        Returns:
            feature maps (b, c, h, w), or (k·b, c, h, w).
        """
        maps = repeat(maps, hidden.shape[0])
        out: Tensor = maps + self.proj_out(hidden.transpose(1, 2).reshape(maps.shape))
        return out

    def forward(self, maps: Tensor, frames: int, reference: KeyValue | None, audio: KeyValue | None) -> Tensor:
        """Feature maps behind a `BackboneBlock`.

        Args:
            maps: feature maps (b·f, c, h, w).
            frames: number of frames f of a clip.
            reference: keys and values as in `BackboneBlock.forward`.
            audio: keys and values as in `BackboneBlock.forward`.

        Returns:
            feature maps (b·f, c, h, w), or (voices·f, c, h, w).
        """
        hidden = self.block(self.enter(maps).unflatten(0, (-1, frames)), reference, audio)
        return self.leave(hidden.flatten(0, 1), maps)

    @property
    def block(self) -> nn.Module:
        """The transformer block."""
        return self.transformer_blocks[0]


def repeat(tensor: Tensor, batch: int) -> Tensor:
    """Copies of a tensor (b, ...), one after the other, that fill a batch: (batch, ...)."""
    copies = batch // tensor.shape[0]
    return tensor if copies == 1 else tensor.repeat(copies, *[1] * (tensor.ndim - 1))


def key_value(layer: Attention, tokens: Tensor) -> KeyValue:
    """Projected keys and values, each (..., k, c), of tokens (..., k, key_dim)."""
    return layer.to_k(tokens), layer.to_v(tokens)


def concatenate(first: KeyValue, second: KeyValue) -> KeyValue:
    """Keys and values (..., k1, c) followed by (..., k2, c): each (..., k1 + k2, c)."""
    return torch.cat([first[0], second[0]], -2), torch.cat([first[1], second[1]], -2)
