"""The hair of a drawn head: behind the head, on it, and on the lip and chin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.speakers.drawn.canvas import edge, over, plane, smooth
from training.speakers.drawn.scene import Scene


@dataclass(frozen=True)
class HairShell:
    """The ellipsoid around the head that carries the hair, as the rays of the pixels meet it.

    Attributes:
        point: (B, 3, H, W) head coordinates.
        normal: (B, 3, H, W) unit vectors.
        cover: (B, H, W) share of each pixel that it covers.
    """

    point: Tensor
    normal: Tensor
    cover: Tensor


def hair_shell(scene: Scene) -> HairShell | None:
    """Where hair may be seen; None if nobody has any."""
    p = scene.portraits
    if not p.hair_present.any():
        return None
    point, normal, rim = scene.hit(_thickness(scene), lift=0.06)
    if p.hair_curl.any():
        angle = torch.atan2(scene.y + 0.1, scene.x)
        waves = 0.045 * torch.sin(angle * 23) + 0.03 * torch.sin(angle * 41 + 1)
        rim = rim + plane(p.hair_curl) * waves
    return HairShell(point, normal, edge(rim * scene.px / 2) * plane(p.hair_present))


def _thickness(scene: Scene) -> Tensor:
    return 0.035 + plane(scene.portraits.hair_volume)


def paint_hair_behind(scene: Scene, frame: Tensor) -> Tensor:
    """Buns and long hair behind the neck and the head, over `frame` (B, 3, H, W)."""
    p = scene.portraits
    back = scene.rotation @ torch.tensor([0.0, 0.0, -0.4], device=scene.px.device) + scene.offset
    roll = torch.deg2rad(scene.motion.rotation[:, 2])
    sine, cosine = plane(torch.sin(roll)), plane(torch.cos(roll))
    dx, dy = scene.x - plane(back[:, 0]), scene.y - plane(back[:, 1])
    x, y = cosine * dx + sine * dy, cosine * dy - sine * dx
    if p.bun.any():
        size = plane(p.bun).clamp(min=0.01)
        bx, by = x / size, (y + plane(p.cranium + 0.12)) / size
        inside = 1 - bx * bx - by * by
        shade = 0.55 + 0.5 * inside.clamp(min=0).sqrt() * (0.8 + 0.2 * torch.sin(bx * 9 + by * 5)) - 0.2 * by
        alpha = edge(inside * scene.px * size / 2) * plane((p.bun > 0).float())
        frame = over(frame, plane(p.hair) * shade[:, None], alpha)
    if p.hair_length.any():
        volume = plane(p.hair_volume)
        down = y.clamp(min=0) / plane(p.hair_length).clamp(min=0.1)
        up = y.clamp(max=0) / (plane(p.cranium) + volume)
        width = 1.02 + volume + 0.06 * y
        sides = x / width
        inside = 1 - sides * sides - (down * down) ** 2 - up * up
        strands = torch.sin(x * 31 + 2 * torch.sin(y * 3)) + 0.6 * torch.sin(x * 57 + y * 5)
        shade = 0.55 + 0.08 * strands + 0.25 * plane(p.light[:, 0]) * sides
        alpha = edge(inside * scene.px / 2) * plane((p.hair_length > 0).float())
        frame = over(frame, plane(p.hair) * shade[:, None], alpha)
    return frame


def paint_nape(scene: Scene, frame: Tensor, shell: HairShell) -> Tensor:
    """The far inside of the hair, which shows beside a turned head, over `frame` (B, 3, H, W)."""
    p = scene.portraits
    behind = edge((plane(p.hair_side) - shell.point[:, 1]) * scene.px * 0.8)
    return over(frame, plane(p.hair * 0.5), shell.cover * behind)


def paint_hair(scene: Scene, frame: Tensor, shell: HairShell) -> Tensor:
    """Hair down to the hairline, straight or curly, over `frame` (B, 3, H, W)."""
    p = scene.portraits
    x, y, _ = shell.point.unbind(1)
    line, cosine = scene.hairline(x / (1 + 0.5 * _thickness(scene)))
    alpha = shell.cover * edge((line - y) * cosine * scene.px * 0.8)
    strand = x * 27 / (1.25 - 0.5 * y).clamp(min=0.4)
    straight = 0.7 * torch.sin(strand + 3 * plane(p.hair_part) * y) + 0.5 * torch.sin(strand * 2.7 + y * 3)
    curls = torch.sin(x * 21 + 2 * torch.sin(y * 13)) * torch.sin(y * 23 + 2 * torch.sin(x * 11)) * 1.6
    texture = torch.lerp(straight, curls, plane(p.hair_curl))
    diffuse = (shell.normal * plane(scene.light)).sum(1).clamp(min=0)
    shine = (shell.normal * plane(scene.half)).sum(1).clamp(min=0) ** 2
    shine = shine * shine
    shine = shine * shine * shine  # to the 12th power
    body = (0.42 + 0.62 * diffuse) * (1 + 0.13 * texture)
    edge_shade = 1 - 0.35 * torch.exp((y - line).clamp(max=0) * 9)
    gloss = (0.12 * shine * (1 + 0.6 * texture))[:, None] * (0.35 + 0.6 * plane(p.hair))
    return over(frame, plane(p.hair) * 1.1 * (body * edge_shade)[:, None] + gloss, alpha)


def paint_beard(scene: Scene, albedo: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Beards and moustaches, over the skin's own colour.

    Args:
        scene: B heads.
        albedo: (B, 3, h, w) colour of the skin.
        u: (B, h, w) x in the head's coordinates.
        v: (B, h, w) y in the head's coordinates.
    """
    p = scene.portraits
    if not (p.beard.any() or p.moustache.any()):
        return albedo
    _, top, _ = scene.mouth_shape()
    line = plane(p.mouth_y - 0.06) - 0.85 * (u.abs() - 0.42)  # from the corners of the mouth up to the ears
    beard = smooth((v - line) / 0.16) * smooth((u.abs() - 0.30) / 0.12 + (v - plane(p.mouth_y + 0.22)) / 0.10)
    lip = v - plane(p.mouth_y - top - p.upper_lip - 0.06) - 0.25 * u * u
    moustache = torch.exp(-((lip / 0.065) ** 2)) * smooth((0.46 - u.abs()) / 0.12)
    cover = torch.maximum(beard * plane(p.beard), moustache * plane(p.moustache))
    grain = 0.85 + 0.15 * torch.sin(u * 83 + 3 * torch.sin(v * 29)) * torch.sin(v * 47 + 2 * torch.sin(u * 31))
    return over(albedo, plane(p.hair) * grain[:, None] * 1.15, cover * 0.9)
