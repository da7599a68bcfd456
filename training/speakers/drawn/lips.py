"""The mouth of a drawn head: lips, and teeth and tongue between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.speakers.drawn.canvas import Region, colour, edge, over, plane, smooth
from training.speakers.drawn.scene import Scene
from training.speakers.drawn.skin import Surface


@dataclass(frozen=True)
class _Mouth:
    """The outlines of a mouth in head units, (B, h, w) each or broadcast to it.

    Attributes:
        v: y below the rest line, which is that of the corners.
        across: x from -1 at the left corner to 1 at the right one.
        arch: 1 in the middle, falling to 0 at the corners.
        rest: y at which closed lips meet.
        upper: y of the upper lip's lower rim.
        lower: y of the lower lip's upper rim.
        ends: distance to the nearer corner, positive inside.
    """

    v: Tensor
    across: Tensor
    arch: Tensor
    rest: Tensor
    upper: Tensor
    lower: Tensor
    ends: Tensor


def paint_mouth(scene: Scene, frame: Tensor, surface: Surface) -> None:
    """Paints the mouth into `frame` (B, 3, H, W) in place."""
    p, px = scene.portraits, scene.px
    half_width, top, bottom = scene.mouth_shape()
    zero = torch.zeros_like(top)
    centre = scene.project(scene.on_face(zero[:, None], (p.mouth_y + 0.08)[:, None]))[:, 0]
    region = Region(centre, 0.40, 0.30, scene.resolution)
    patch, light = region.take(frame), region.take(surface.light)
    u, v = region.take(surface.point[:, 0]), region.take(surface.point[:, 1]) - plane(p.mouth_y)
    across = u / plane(half_width)
    arch = (1 - across * across).clamp(min=0)
    rest = plane(p.mouth_curve) * (arch - 0.6)  # corners up: a friendly mouth
    upper, lower = rest - plane(top) * arch, rest + plane(bottom) * arch.sqrt() * (0.6 + 0.4 * arch)
    mouth = _Mouth(v, across, arch, rest, upper, lower, ends=(1 - across.abs()) * plane(half_width))
    patch = _paint_lips(scene, patch, light, mouth)
    opening = plane(scene.motion.mouth_opening)
    inner = torch.minimum(v - upper, lower - v)
    hole = edge(torch.minimum(inner, mouth.ends) * px) * smooth(opening / 0.06)
    patch = over(patch, _inside(scene, light, mouth, inner, plane(bottom)).expand_as(patch), hole)
    # Closed lips meet in a dark line.
    seam = torch.exp(-(((v - rest) * px / (0.4 + 0.016 * px)) ** 2)) * edge(mouth.ends * px)
    patch = patch * (1 - 0.62 * seam * (1 - smooth(opening / 0.10)))[:, None]
    region.put(frame, patch)


def _paint_lips(scene: Scene, patch: Tensor, light: Tensor, mouth: _Mouth) -> Tensor:
    p = scene.portraits
    v, across, arch = mouth.v, mouth.across, mouth.arch
    rounded = plane((0.5 - scene.motion.mouth_width).clamp(min=0))
    bow = arch.sqrt() * (1 - 0.28 * torch.exp(-((across / 0.16) ** 2))) * (0.55 + 0.45 * arch)
    top = mouth.upper - plane(p.upper_lip) * bow * (1 + 0.7 * rounded)
    bottom = mouth.lower + plane(p.lower_lip) * arch.sqrt() * (0.5 + 0.5 * arch) * (1 + 0.5 * rounded)
    lips = edge(torch.minimum(torch.minimum(v - top, bottom - v), mouth.ends) * scene.px)
    # The upper lip faces down and the lower one up: the light falls on the lower.
    rise = ((v - mouth.lower) / plane(p.lower_lip)).clamp(0, 1)
    on_lower = 0.98 + 0.5 * rise * (1 - rise) - 0.25 * rise
    shade = torch.where(v < (mouth.upper + mouth.lower) / 2, 0.78 + 0 * v, on_lower)
    gloss = torch.exp(-(((rise - 0.4) / 0.22) ** 2) - (across / 0.45) ** 2) * (v > mouth.lower)
    # A soft shadow below the lower lip.
    crease = torch.exp(-(((v - bottom - 0.05) / 0.05) ** 2) - (across / 0.7) ** 2)
    patch = patch * (1 - 0.20 * crease)[:, None]
    return over(patch, plane(p.lips) * (light * shade * 1.15)[:, None] + 0.10 * gloss[:, None], lips)


def _inside(scene: Scene, light: Tensor, mouth: _Mouth, inner: Tensor, bottom: Tensor) -> Tensor:
    """The colour between the lips, (B, 3, h, w): dark, with the tongue and the upper teeth."""
    v, across, px, device = mouth.v, mouth.across, scene.px, mouth.v.device
    depth = (inner / 0.12).clamp(0, 1)[:, None]
    dark = colour(0.24, 0.06, 0.06, device) * (1 - 0.72 * depth)
    tongue = 1 - (across / 0.60) ** 2 - ((v - (bottom - 0.02)) / (0.08 + 0.22 * bottom)) ** 2
    flesh = colour(0.52, 0.17, 0.18, device) * (0.30 + 0.6 * tongue.clamp(0, 1))[:, None]
    inside = over(dark, flesh, edge(tongue * px * 0.1))
    spread = 0.3 + 0.7 * plane(scene.motion.mouth_width)
    teeth_edge = mouth.rest - 0.015 + 0.075 * (1 - 0.35 * across * across) * spread
    teeth = edge((teeth_edge - v) * px) * smooth((0.86 - across.abs()) / 0.2)
    ivory = colour(0.95, 0.93, 0.88, device) * (0.82 * light / (light + 0.3) + 0.10)[:, None]
    return over(inside, ivory, teeth * 0.95)
