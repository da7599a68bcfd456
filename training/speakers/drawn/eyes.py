"""The eyes of a drawn head, with brows and glasses. Both sides are painted at once, in mirrored coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.speakers.drawn.canvas import Region, colour, edge, over, plane, smooth
from training.speakers.drawn.scene import Scene
from training.speakers.drawn.skin import Surface


@dataclass(frozen=True)
class _Eyes:
    """The outlines of both eyes in head units, (B, h, w) each or broadcast to it.

    Attributes:
        side: -1 left and 1 right of the nose.
        out: distance from the eye's middle towards the temple.
        across: the same from -1 to 1 between the corners.
        v: y below the eyes' middle.
        level: the same, along the tilted eye.
        arch: 1 in the middle, falling to 0 at the corners.
        top: level of the upper lid.
        bottom: level of the lower lid.
        height: height of the open eye.
    """

    side: Tensor
    out: Tensor
    across: Tensor
    v: Tensor
    level: Tensor
    arch: Tensor
    top: Tensor
    bottom: Tensor
    height: Tensor


def paint_eyes(scene: Scene, frame: Tensor, surface: Surface) -> None:
    """Paints eyes, brows and glasses into `frame` (B, 3, H, W) in place."""
    p = scene.portraits
    zero = torch.zeros_like(p.eye_y)
    centre = scene.project(scene.on_face(zero[:, None], (p.eye_y - 0.08)[:, None]))[:, 0]
    region = Region(centre, 0.64, 0.36, scene.resolution)
    patch, light = region.take(frame), region.take(surface.light)
    u, v = region.take(surface.point[:, 0]), region.take(surface.point[:, 1]) - plane(p.eye_y)
    eyes = _outlines(scene, u, v)
    patch = _paint_lids(scene, patch, eyes)
    ends = (1 - eyes.across.abs()) * plane(p.eye_width)
    inside = torch.minimum(torch.minimum(eyes.level - eyes.top, eyes.bottom - eyes.level), ends)
    patch = over(patch, _eyeballs(scene, light, eyes), edge(inside * scene.px))
    patch = _paint_lashes(scene, patch, eyes)
    patch = _paint_brows(scene, patch, u, v)
    if p.glasses.any():
        patch = _paint_glasses(scene, patch, u, v, region.take(surface.cover))
    region.put(frame, patch)


def _outlines(scene: Scene, u: Tensor, v: Tensor) -> _Eyes:
    p = scene.portraits
    out = u.abs() - plane(p.eye_x)
    across = out / plane(p.eye_width)
    level = v - plane(p.eye_tilt) * across
    arch = (1 - across * across).clamp(min=0)
    height = plane(p.eye_height)
    bottom = 0.62 * height * arch
    top = torch.lerp((-height * arch.sqrt() * (0.6 + 0.4 * arch)), bottom, 0.96 * plane(scene.motion.blink))
    return _Eyes(torch.sign(u), out, across, v, level, arch, top, bottom, height)


def _paint_lids(scene: Scene, patch: Tensor, eyes: _Eyes) -> Tensor:
    """A crease above the lashes, and a shadow below the eye."""
    across, level = eyes.across, eyes.level
    blink = plane(scene.motion.blink)
    crease = torch.exp(-(((level - eyes.top * (1 - 0.4 * blink) + 0.055 - 0.03 * eyes.arch) / 0.022) ** 2))
    patch = patch * (1 - 0.30 * crease * smooth((1.15 - across.abs()) / 0.3))[:, None]
    below = torch.exp(-(((level - eyes.bottom - 0.03) / 0.03) ** 2)) * smooth((1.1 - across.abs()) / 0.3)
    return patch * (1 - 0.16 * below)[:, None]


def _eyeballs(scene: Scene, light: Tensor, eyes: _Eyes) -> Tensor:
    """The colour of what the lids leave open, (B, 3, h, w): white, iris, pupil and glint."""
    p, gaze, px = scene.portraits, scene.motion.gaze, scene.px
    white = 0.96 - 0.35 * torch.exp(-(eyes.level - eyes.top) / 0.05) - 0.18 * eyes.across * eyes.across
    sclera = colour(0.97, 0.95, 0.93, light.device)
    inside = sclera * (white * (0.35 + 0.65 * light))[:, None]
    radius = eyes.height * 0.92
    du = eyes.out * eyes.side - plane(gaze[:, 0]) * plane(p.eye_width) * 0.42
    dv = eyes.v - plane(gaze[:, 1]) * eyes.height * 0.35 + 0.10 * eyes.height
    distance = torch.sqrt(du * du + dv * dv + 1e-6) / radius
    glow = (0.75 + 0.55 * dv / radius) * (1 - 0.65 * smooth((distance - 0.72) / 0.3))
    inside = over(inside, plane(p.iris) * glow[:, None] * 1.1, edge((1 - distance) * radius * px))
    pupil = edge((0.46 - distance) * radius * px)
    inside = inside * (1 - 0.92 * pupil)[:, None]
    hx, hy = du / radius - 0.32 * plane(torch.sign(p.light[:, 0])), dv / radius + 0.36
    glint = edge((0.27 - torch.sqrt(hx * hx + hy * hy + 1e-6)) * radius * px)
    return inside + 0.85 * glint[:, None]


def _paint_lashes(scene: Scene, patch: Tensor, eyes: _Eyes) -> Tensor:
    width = 0.018 + 0.022 * smooth((eyes.across + 0.6) / 1.4)
    lash = edge((width - (eyes.level - eyes.top + 0.008).abs()) * scene.px)
    lash = lash * smooth((1.10 - eyes.across.abs()) / 0.12)
    return patch * (1 - 0.85 * lash)[:, None]


def _paint_brows(scene: Scene, patch: Tensor, u: Tensor, v: Tensor) -> Tensor:
    p = scene.portraits
    across = (u.abs() - plane(p.eye_x + 0.02)) / 0.29
    line = plane(p.brow_y - p.eye_y - 0.07 * scene.motion.brow) - plane(p.brow_arch) * (1 - (across - 0.25) ** 2)
    line = line + plane(p.brow_tilt) * across
    thickness = plane(p.brow_thickness) * (1 - 0.45 * across.clamp(min=0)) * smooth((1.05 - across.abs()) / 0.35)
    strands = 0.93 + 0.07 * torch.sin(u.abs() * 90 + v * 45)
    alpha = edge((thickness - (v - line).abs()) * scene.px) * 0.9 * (thickness > 0.004)
    return over(patch, plane(p.hair.clamp(max=0.45) * 0.6) * strands[:, None], alpha)


def _paint_glasses(scene: Scene, patch: Tensor, u: Tensor, v: Tensor, on_head: Tensor) -> Tensor:
    p, px = scene.portraits, scene.px
    lift = 0.25 * scene.view / scene.view[:, 2:]
    u, v = u + plane(lift[:, 0]), v + plane(lift[:, 1])
    dx = (u.abs() - plane(p.eye_x + 0.01)) / 0.345
    dy = (v - 0.03) / 0.29
    soft, hard = dx * dx + dy * dy, dx**4 + dy**4
    radius = torch.lerp(hard.sqrt(), soft, plane(p.glasses_round)).clamp(min=1e-6).sqrt()
    rim = edge((0.028 - ((radius - 1) * 0.31).abs()) * px)
    bridge = edge((0.024 - (v + 0.06 - 0.2 * u * u).abs()) * px) * (radius > 1) * (u.abs() < 0.4)
    temple = edge((0.022 - (v + 0.04).abs()) * px) * (radius > 1) * (u.abs() > 0.6)
    glare = 0.07 * smooth((1 - radius) / 0.1) * smooth((0.2 - (dx * torch.sign(u) + dy + 0.2).abs()) / 0.1)
    patch = patch + (glare * plane(p.glasses))[:, None]
    cover = torch.maximum(torch.maximum(rim, bridge), temple) * plane(p.glasses) * on_head
    return over(patch, plane(p.glasses_colour), cover)
