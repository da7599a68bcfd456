"""The skin of a drawn head: its relief (nose, eye sockets, cheeks, chin), its colour and the light on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from training.speakers.drawn.canvas import Region, colour, edge, over, plane
from training.speakers.drawn.hair import paint_beard
from training.speakers.drawn.scene import Scene


@dataclass(frozen=True)
class Surface:
    """The head's surface as the rays of the pixels meet it; eyes and mouth are painted on it.

    Attributes:
        point: (B, 3, H, W) head coordinates.
        light: (B, H, W) brightness of what is there.
        cover: (B, H, W) share of each pixel that the head covers.
    """

    point: Tensor
    light: Tensor
    cover: Tensor


class _Relief(NamedTuple):
    """The face's height field, (B, h, w) each: slopes along x and y, a darkening, and redness."""

    slope_u: Tensor
    slope_v: Tensor
    shade: Tensor
    red: Tensor


class _Bump(NamedTuple):
    """A Gaussian hill: its height from 0 to 1, and its slopes along x and y."""

    level: Tensor
    slope_u: Tensor
    slope_v: Tensor


def paint_skin(scene: Scene, frame: Tensor) -> tuple[Tensor, Surface]:
    """The head without eyes, mouth and hair, over `frame` (B, 3, H, W); and the surface that they are painted on."""
    p = scene.portraits
    point, normal, rim = scene.hit(0.0)
    middle = scene.project(scene.on_face(torch.zeros_like(p.jaw)[:, None], (0.36 * p.jaw)[:, None]))[:, 0]
    region = Region(middle, 0.62, 0.62, scene.resolution)
    u, v = region.take(point[:, 0]), region.take(point[:, 1])
    relief = _relief(scene, u, v)
    for axis, slope in enumerate((relief.slope_u, relief.slope_v)):
        component = normal[:, axis].contiguous()
        region.put(component, region.take(component) - slope)
        normal[:, axis] = component
    normal = normal * torch.rsqrt((normal * normal).sum(1, keepdim=True))

    diffuse = (normal * plane(scene.light)).sum(1)
    diffuse = (0.82 * diffuse + 0.18).clamp(min=0)
    sky = 0.90 - 0.18 * normal[:, 1]
    occlusion = _occlusion(scene, point, normal)
    albedo = plane(p.skin).repeat(1, 1, *point.shape[-2:])
    warm = colour(0.10, -0.06, -0.05, p.skin.device)
    patch = region.take(albedo) * (1 + warm * (relief.red * 2)[:, None]) * relief.shade[:, None]
    region.put(albedo, paint_beard(scene, patch, u, v))
    light = plane(p.ambient) * sky[:, None] + plane(p.light_colour) * diffuse[:, None] * 1.1
    # Skin scatters red light into its shadows.
    scatter = (diffuse * (1 - diffuse)).clamp(min=0)[:, None] * colour(0.22, 0.05, 0.0, p.skin.device)
    paint = albedo * (light + scatter) * occlusion[:, None] + 0.10 * _shine(scene, normal)[:, None]
    paint = paint * (1.25 - 0.33 * paint)  # highlights keep their colour
    surface = Surface(point, (0.36 * sky + 0.78 * diffuse) * occlusion, edge(rim * scene.px / 2))
    return over(frame, paint, surface.cover), surface


def _occlusion(scene: Scene, point: Tensor, normal: Tensor) -> Tensor:
    """The share of light (B, H, W) that reaches the skin past its own curve and the hair above it."""
    p = scene.portraits
    facing = (normal * plane(scene.view)).sum(1).clamp(min=0)
    occlusion = 0.78 + 0.22 * facing
    if p.hair_present.any():
        drop = (point[:, 1] - scene.hairline(point[:, 0])[0]).clamp(min=0)
        occlusion = occlusion * (1 - 0.35 * plane(p.hair_present) * torch.exp(-drop * 9))
    return occlusion


def _shine(scene: Scene, normal: Tensor) -> Tensor:
    shine = (normal * plane(scene.half)).sum(1).clamp(min=0) ** 2
    shine = shine * shine
    shine = shine * shine
    return shine * shine * shine  # to the 24th power


def _relief(scene: Scene, u: Tensor, v: Tensor) -> _Relief:
    """The relief at the head's x `u` and y `v`, (B, h, w) each."""
    p = scene.portraits
    # What sticks out shifts against the surface behind it as the head turns.
    tilt_u, tilt_v = scene.view[:, 0] / scene.view[:, 2], scene.view[:, 1] / scene.view[:, 2]
    nose_u, nose_v = -0.30 * tilt_u, p.nose_y - 0.30 * tilt_v
    height, width = plane(p.nose_height), plane(p.nose_width)
    aside = u - plane(nose_u)

    bridge = _bump(u - plane(0.5 * nose_u), v - plane(p.nose_y - 0.22), width * 0.85, 0.30, 0.085 * height)
    tip = _bump(aside, v - plane(nose_v), width * 1.05, 0.13, 0.13 * height)
    wings = _bump(aside.abs() - width, v - plane(nose_v + 0.04), 0.08, 0.08, 0.035)
    socket = _bump(u.abs() - plane(p.eye_x), v - plane(p.eye_y - 0.02), 0.30, 0.17, -0.045)
    cheek = _bump(u.abs() - 0.56, v - plane(p.eye_y + 0.45), 0.30, 0.26, 0.05)
    chin = _bump(u, v - plane(scene.chin - 0.16), 0.26, 0.14, 0.04)
    slope_u = bridge.slope_u + tip.slope_u + wings.slope_u * torch.sign(aside)
    slope_u = slope_u + (socket.slope_u + cheek.slope_u) * torch.sign(u) + chin.slope_u
    slope_v = bridge.slope_v + tip.slope_v + wings.slope_v + socket.slope_v + cheek.slope_v + chin.slope_v

    nostril_u, nostril_v = aside.abs() - width * 0.55, v - plane(nose_v + 0.105)
    nostrils = torch.exp(-((nostril_u / 0.055) ** 2) - (nostril_v / 0.030) ** 2)
    under = torch.exp(-((aside / (width * 1.1)) ** 2) - ((v - plane(nose_v + 0.15)) / 0.05) ** 2)
    shade = (1 - 0.55 * nostrils) * (1 - 0.08 * under) * (1 - 0.20 * socket.level)
    red = 0.7 * plane(p.blush) * cheek.level + 0.2 * tip.level + 0.15 * wings.level
    return _Relief(slope_u, slope_v, shade, red)


def _bump(du: Tensor, dv: Tensor, wide: float | Tensor, tall: float, height: float | Tensor) -> _Bump:
    """A hill of a width, a length and a height at distances `du` and `dv` from its top, all in head units."""
    du, dv = du / wide, dv / tall
    level = torch.exp(-du * du - dv * dv)
    return _Bump(level, -2 * height * level * du / wide, -2 * height * level * dv / tall)
