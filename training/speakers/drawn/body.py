"""What is around a drawn face: background, clothes, neck and ears."""

from __future__ import annotations

import torch
from torch import Tensor

from training.speakers.drawn.canvas import edge, over, plane, smooth
from training.speakers.drawn.scene import Scene


def paint_background(scene: Scene) -> Tensor:
    """A ramp between two colours with soft spots, (B, 3, H, W)."""
    p, size = scene.portraits, scene.resolution
    ramp = torch.linspace(0, 1, size, device=scene.px.device)
    down = ramp[None, None, :, None].expand(len(p), 1, size, size)
    frame = torch.lerp(plane(p.background[:, 0]), plane(p.background[:, 1]), down)
    for index in range(p.blobs.shape[1]):
        x, y, radius = p.blobs[:, index, :3].unbind(1)
        # A Gaussian is a product of two profiles: no exponential of a full plane.
        rows = torch.exp(-(((ramp - y[:, None]) / radius[:, None]) ** 2))
        columns = torch.exp(-(((ramp - x[:, None]) / radius[:, None]) ** 2))
        frame = over(frame, plane(p.blobs[:, index, 3:]), 0.6 * rows[:, :, None] * columns[:, None, :])
    return frame


def paint_clothes(scene: Scene, frame: Tensor) -> Tensor:
    """Shoulders in plain or striped cloth, over `frame` (B, 3, H, W)."""
    p = scene.portraits
    x, y = scene.x, scene.y
    top = plane(p.jaw + 0.20)
    dx, dy = x / 2.05, (y - top - 1.3) / 1.3
    inside = 1 - dx * dx * dx.abs() - dy * dy
    light = 0.62 + 0.3 * plane(p.light[:, 0]) * dx - 0.35 * dy
    weave = 1 - 0.16 * plane(p.stripes) * torch.sin(y * 26).sign()
    return over(frame, plane(p.cloth) * (light * weave).clamp(0.15, 1.2)[:, None], edge(inside * scene.px * 0.75))


def paint_neck(scene: Scene, frame: Tensor) -> Tensor:
    """The neck with the chin's shadow, and the collar around it, over `frame` (B, 3, H, W)."""
    p, px = scene.portraits, scene.px
    top = plane(p.jaw)
    below = (scene.y - top).clamp(-0.6, 1.2)
    lean = plane(scene.offset[:, 0] * 0.5) * (1 - (below + 0.4) / 0.8).clamp(0, 1)
    width = plane(p.neck) + 0.55 * (below - 0.12).clamp(min=0) ** 1.5
    across = (scene.x - lean) / width
    bottom = 0.26 + plane(p.neckline) * (1 - (scene.x / (plane(p.neck) + 0.35)) ** 2)
    sides = (1 - across.abs()) * width * px
    alpha = edge(torch.minimum(sides, (bottom - below) * px)) * edge((scene.y - top + 0.8) * px)
    trim = edge(torch.minimum(sides + 0.05 * px, (bottom + 0.09 - below) * px)) * (below > bottom - 0.12)
    frame = over(frame, plane(p.cloth_trim) * 0.8, trim)
    round_off = (1 - across * across).clamp(min=0).sqrt()
    shadow = 0.50 * torch.exp(-(((below - 0.02).clamp(min=0) / 0.28) ** 2))
    light = (0.40 + 0.5 * round_off + 0.35 * plane(p.light[:, 0]) * across) * (1 - shadow)
    tint = plane(p.skin) * (plane(p.ambient) * 0.3 + light[:, None] * plane(p.light_colour) * 1.1)
    return over(frame, tint, alpha)


def paint_ears(scene: Scene, frame: Tensor) -> Tensor:
    """Both ears, over `frame` (B, 3, H, W); the head hides what is behind it."""
    p = scene.portraits
    if not p.ear.any():
        return frame
    for side in (-1.0, 1.0):
        middle = torch.stack([side * torch.ones_like(p.ear), p.eye_y + 0.14, torch.full_like(p.ear, -0.12)], 1)
        seen = (scene.rotation @ middle[:, :, None])[:, :, 0] + scene.offset
        dx = (scene.x - plane(seen[:, 0])) / 0.17
        dy = (scene.y - plane(seen[:, 1])) / 0.29
        radius = (dx * dx + dy * dy) / plane(p.ear.clamp(min=0.1)) ** 2
        shade = 0.55 + 0.35 * smooth((radius - 0.2) / 0.6) + 0.25 * side * plane(p.light[:, 0])
        tint = plane(p.skin * torch.tensor([1.0, 0.90, 0.88], device=p.skin.device))
        alpha = edge((1 - radius) * scene.px * 0.09) * plane((p.ear > 0).float())
        frame = over(frame, tint * shade[:, None], alpha)
    return frame
