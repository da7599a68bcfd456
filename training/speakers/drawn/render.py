"""Draws `training.speakers.drawn.heads`: shaded, antialiased heads that turn in three dimensions.

Every pixel's ray is intersected with the ellipsoid of the head; eyes, brows, nose and mouth are functions of the point
hit, so that they turn with the head. Edges are antialiased by signed distance in pixels. The small features are
computed in windows around them only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.speakers.drawn.heads import Motion, Portraits
from training.speakers.drawn.scene import Scene, edge, plane, smooth

_CHUNK = 8  # frames drawn at once on a CPU: larger planes fall out of its cache


@dataclass(frozen=True)
class Rendering:
    """`frames`: (B, 3, H, W) in [0, 1]; boxes (B, 4): x, y, width, height in pixels.

    `face_box` follows the convention of OpenCV's frontal face detectors: a square from above the brows to the chin.
    `mouth_box` holds the lips.
    """

    frames: Tensor
    face_box: Tensor
    mouth_box: Tensor


@torch.no_grad()
def render(portraits: Portraits, motion: Motion, resolution: int) -> Rendering:
    """Draws frame i of `motion` with person i of `portraits`; a single person is repeated."""
    frames = len(motion)
    if len(portraits) == 1 and frames > 1:
        portraits = portraits.repeat(frames)
    if len(portraits) != frames:
        raise ValueError(f"{len(portraits)} portraits for {frames} frames")
    chunk = _CHUNK if motion.rotation.device.type == "cpu" else 256
    parts = []
    for start in range(0, frames, chunk):
        part = _Painter(portraits[start : start + chunk], motion[start : start + chunk], resolution)
        parts.append((part.paint(), part.face_box(), part.mouth_box()))
    return Rendering(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _over(frame: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Lays `colour` (B, 3, 1 or H, 1 or W) over `frame` (B, 3, H, W) with coverage `alpha` (B, H, W)."""
    return torch.lerp(frame, colour.expand_as(frame), alpha[:, None])


class _Window:
    """A rectangle of the frame around a point, of the same size for the whole batch."""

    def __init__(self, centre: Tensor, width: float, height: float, resolution: int) -> None:
        """`centre` (B, 2) in pixels; the sizes are fractions of the frame."""
        self.size = (min(round(height * resolution), resolution), min(round(width * resolution), resolution))
        corner = centre.round().long() - torch.tensor([self.size[1] // 2, self.size[0] // 2], device=centre.device)
        limits = torch.tensor([resolution - self.size[1], resolution - self.size[0]], device=centre.device)
        corner = torch.minimum(corner.clamp(min=0), limits)
        rows = corner[:, 1, None] + torch.arange(self.size[0], device=centre.device)
        columns = corner[:, 0, None] + torch.arange(self.size[1], device=centre.device)
        self.index = (rows[:, :, None] * resolution + columns[:, None, :]).flatten(1)  # [B, h * w]

    def take(self, planes: Tensor) -> Tensor:
        """(B, ..., H, W) -> (B, ..., h, w)."""
        index = self.index if planes.ndim == 3 else self.index[:, None].expand(-1, planes.shape[1], -1)
        return planes.flatten(-2).gather(-1, index).unflatten(-1, self.size)

    def put(self, planes: Tensor, values: Tensor) -> None:
        index = self.index if planes.ndim == 3 else self.index[:, None].expand(-1, planes.shape[1], -1)
        planes.flatten(-2).scatter_(-1, index, values.flatten(-2))


class _Painter(Scene):
    """Paints one batch from back to front."""

    def paint(self) -> Tensor:
        frame = self.paint_background()
        frame = self.paint_body(frame)
        frame = self.paint_back_hair(frame)
        frame = self.paint_neck(frame)
        frame = self.paint_ears(frame)
        frame = self.paint_nape(frame)
        frame = self.paint_head(frame)
        self.paint_mouth(frame)
        self.paint_eyes(frame)
        frame = self.paint_hair(frame)
        return frame.clamp(0, 1)

    def paint_background(self) -> Tensor:
        p = self.p
        size = self.resolution
        ramp = torch.linspace(0, 1, size, device=self.px.device)
        down = ramp[None, None, :, None].expand(len(p), 1, size, size)
        frame = torch.lerp(plane(p.background[:, 0]), plane(p.background[:, 1]), down)
        for index in range(p.blobs.shape[1]):
            x, y, radius = p.blobs[:, index, :3].unbind(1)
            # A Gaussian is a product of two profiles: no exponential of a full plane.
            rows = torch.exp(-(((ramp - y[:, None]) / radius[:, None]) ** 2))
            columns = torch.exp(-(((ramp - x[:, None]) / radius[:, None]) ** 2))
            frame = _over(frame, plane(p.blobs[:, index, 3:]), 0.6 * rows[:, :, None] * columns[:, None, :])
        return frame

    def paint_body(self, frame: Tensor) -> Tensor:
        p = self.p
        x, y = self.x, self.y
        top = plane(p.jaw + 0.20)
        dx, dy = x / 2.05, (y - top - 1.3) / 1.3
        inside = 1 - dx * dx * dx.abs() - dy * dy
        light = 0.62 + 0.3 * plane(p.light[:, 0]) * dx - 0.35 * dy
        weave = 1 - 0.16 * plane(p.stripes) * torch.sin(y * 26).sign()
        return _over(frame, plane(p.cloth) * (light * weave).clamp(0.15, 1.2)[:, None], edge(inside * self.px * 0.75))

    def paint_back_hair(self, frame: Tensor) -> Tensor:
        p = self.p
        back = self.rotation @ torch.tensor([0.0, 0.0, -0.4], device=self.px.device) + self.offset
        roll = torch.deg2rad(self.m.rotation[:, 2])
        sine, cosine = plane(torch.sin(roll)), plane(torch.cos(roll))
        dx, dy = self.x - plane(back[:, 0]), self.y - plane(back[:, 1])
        x, y = cosine * dx + sine * dy, cosine * dy - sine * dx
        if p.bun.any():
            size = plane(p.bun).clamp(min=0.01)
            bx, by = x / size, (y + plane(p.cranium + 0.12)) / size
            inside = 1 - bx * bx - by * by
            shade = 0.55 + 0.5 * inside.clamp(min=0).sqrt() * (0.8 + 0.2 * torch.sin(bx * 9 + by * 5)) - 0.2 * by
            alpha = edge(inside * self.px * size / 2) * plane((p.bun > 0).float())
            frame = _over(frame, plane(p.hair) * shade[:, None], alpha)
        if p.hair_length.any():
            volume = plane(p.hair_volume)
            down = y.clamp(min=0) / plane(p.hair_length).clamp(min=0.1)
            up = y.clamp(max=0) / (plane(p.cranium) + volume)
            width = 1.02 + volume + 0.06 * y
            sides = x / width
            inside = 1 - sides * sides - (down * down) ** 2 - up * up
            strands = torch.sin(x * 31 + 2 * torch.sin(y * 3)) + 0.6 * torch.sin(x * 57 + y * 5)
            shade = 0.55 + 0.08 * strands + 0.25 * plane(p.light[:, 0]) * sides
            alpha = edge(inside * self.px / 2) * plane((p.hair_length > 0).float())
            frame = _over(frame, plane(p.hair) * shade[:, None], alpha)
        return frame

    def paint_neck(self, frame: Tensor) -> Tensor:
        p = self.p
        top = plane(p.jaw)
        below = (self.y - top).clamp(-0.6, 1.2)
        lean = plane(self.offset[:, 0] * 0.5) * (1 - (below + 0.4) / 0.8).clamp(0, 1)
        width = plane(p.neck) + 0.55 * (below - 0.12).clamp(min=0) ** 1.5
        across = (self.x - lean) / width
        bottom = 0.26 + plane(p.neckline) * (1 - (self.x / (plane(p.neck) + 0.35)) ** 2)
        sides = (1 - across.abs()) * width * self.px
        alpha = edge(torch.minimum(sides, (bottom - below) * self.px)) * edge((self.y - top + 0.8) * self.px)
        trim = edge(torch.minimum(sides + 0.05 * self.px, (bottom + 0.09 - below) * self.px)) * (below > bottom - 0.12)
        frame = _over(frame, plane(p.cloth_trim) * 0.8, trim)
        round_off = (1 - across * across).clamp(min=0).sqrt()
        shadow = 0.50 * torch.exp(-(((below - 0.02).clamp(min=0) / 0.28) ** 2))
        light = (0.40 + 0.5 * round_off + 0.35 * plane(p.light[:, 0]) * across) * (1 - shadow)
        tint = plane(p.skin) * (plane(p.ambient) * 0.3 + light[:, None] * plane(p.light_colour) * 1.1)
        return _over(frame, tint, alpha)

    def paint_ears(self, frame: Tensor) -> Tensor:
        p = self.p
        if not p.ear.any():
            return frame
        for side in (-1.0, 1.0):
            middle = torch.stack([side * torch.ones_like(p.ear), p.eye_y + 0.14, torch.full_like(p.ear, -0.12)], 1)
            seen = (self.rotation @ middle[:, :, None])[:, :, 0] + self.offset
            dx = (self.x - plane(seen[:, 0])) / 0.17
            dy = (self.y - plane(seen[:, 1])) / 0.29
            radius = (dx * dx + dy * dy) / plane(p.ear.clamp(min=0.1)) ** 2
            shade = 0.55 + 0.35 * smooth((radius - 0.2) / 0.6) + 0.25 * side * plane(p.light[:, 0])
            tint = plane(p.skin * torch.tensor([1.0, 0.90, 0.88], device=p.skin.device))
            alpha = edge((1 - radius) * self.px * 0.09) * plane((p.ear > 0).float())
            frame = _over(frame, tint * shade[:, None], alpha)
        return frame

    def paint_head(self, frame: Tensor) -> Tensor:
        p = self.p
        point, normal, rim, _ = self.hit(0.0)
        self.point = point
        middle = self.project(self.on_face(torch.zeros_like(p.jaw)[:, None], (0.36 * p.jaw)[:, None]))[:, 0]
        window = _Window(middle, 0.62, 0.62, self.resolution)
        u, v = window.take(point[:, 0]), window.take(point[:, 1])
        slope_u, slope_v, shade, red = self.relief(u, v)
        for axis, slope in enumerate((slope_u, slope_v)):
            component = normal[:, axis].contiguous()
            window.put(component, window.take(component) - slope)
            normal[:, axis] = component
        normal = normal * torch.rsqrt((normal * normal).sum(1, keepdim=True))
        diffuse = (normal * plane(self.light)).sum(1)
        diffuse = (0.82 * diffuse + 0.18).clamp(min=0)
        facing = (normal * plane(self.view)).sum(1).clamp(min=0)
        shine = (normal * plane(self.half)).sum(1).clamp(min=0) ** 2
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine * shine  # to the 24th power
        sky = 0.90 - 0.18 * normal[:, 1]
        occlusion = 0.78 + 0.22 * facing
        if p.hair_present.any():
            drop = (point[:, 1] - self.hairline(point[:, 0])[0]).clamp(min=0)
            occlusion = occlusion * (1 - 0.35 * plane(p.hair_present) * torch.exp(-drop * 9))
        self.lit = (0.36 * sky + 0.78 * diffuse) * occlusion  # kept for the lips and eyes
        albedo = plane(p.skin).repeat(1, 1, *point.shape[-2:])
        warm = torch.tensor([0.10, -0.06, -0.05], device=p.skin.device)[None, :, None, None]
        patch = window.take(albedo) * (1 + warm * (red * 2)[:, None]) * shade[:, None]
        patch = self.paint_beard(patch, u, v)
        window.put(albedo, patch)
        light = plane(p.ambient) * sky[:, None] + plane(p.light_colour) * diffuse[:, None] * 1.1
        # Skin scatters red light into its shadows.
        scatter = (diffuse * (1 - diffuse)).clamp(min=0)[:, None] * torch.tensor(
            [0.22, 0.05, 0.0], device=p.skin.device
        )[None, :, None, None]
        colour = albedo * (light + scatter) * occlusion[:, None] + 0.10 * shine[:, None]
        colour = colour * (1.25 - 0.33 * colour)  # highlights keep their colour
        self.head = edge(rim * self.px / 2)
        return _over(frame, colour, self.head)

    def relief(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The face's height field: slopes along u and v, a darkening (creases, nostrils), and redness."""
        p = self.p
        # What sticks out shifts against the surface behind it as the head turns.
        tilt_u, tilt_v = self.view[:, 0] / self.view[:, 2], self.view[:, 1] / self.view[:, 2]
        nose_u, nose_v = -0.30 * tilt_u, p.nose_y - 0.30 * tilt_v
        slope_u, slope_v = torch.zeros_like(u), torch.zeros_like(v)
        m = u.abs()

        def bump(du: Tensor, dv: Tensor, wide: float | Tensor, tall: float | Tensor, height: float | Tensor) -> Tensor:
            nonlocal slope_u, slope_v
            du, dv = du / wide, dv / tall
            level = torch.exp(-du * du - dv * dv)
            slope_u = slope_u - 2 * height * level * du / wide
            slope_v = slope_v - 2 * height * level * dv / tall
            return level

        height, width = plane(p.nose_height), plane(p.nose_width)
        bridge = plane(0.5 * nose_u)
        bump(u - bridge, v - plane(p.nose_y - 0.22), width * 0.85, 0.30, 0.085 * height)
        tip = bump(u - plane(nose_u), v - plane(nose_v), width * 1.05, 0.13, 0.13 * height)
        sign = torch.sign(u - plane(nose_u))
        wing = (u - plane(nose_u)).abs() - width
        bump_u = slope_u
        slope_u = torch.zeros_like(u)
        wings = bump(wing, v - plane(nose_v + 0.04), 0.08, 0.08, 0.035)
        slope_u = bump_u + slope_u * sign
        centre_u = slope_u
        slope_u = torch.zeros_like(u)
        socket = bump(m - plane(p.eye_x), v - plane(p.eye_y - 0.02), 0.30, 0.17, -0.045)
        cheek = bump(m - 0.56, v - plane(p.eye_y + 0.45), 0.30, 0.26, 0.05)
        slope_u = centre_u + slope_u * torch.sign(u)
        bump(u, v - plane(self.chin - 0.16), 0.26, 0.14, 0.04)
        nostril_u = (u - plane(nose_u)).abs() - width * 0.55
        nostril_v = v - plane(nose_v + 0.105)
        nostrils = torch.exp(-((nostril_u / 0.055) ** 2) - (nostril_v / 0.030) ** 2)
        under = torch.exp(-(((u - plane(nose_u)) / (width * 1.1)) ** 2) - ((v - plane(nose_v + 0.15)) / 0.05) ** 2)
        shade = (1 - 0.55 * nostrils) * (1 - 0.08 * under) * (1 - 0.20 * socket)
        red = 0.7 * plane(p.blush) * cheek + 0.2 * tip + 0.15 * wings
        return slope_u, slope_v, shade, red

    def paint_beard(self, albedo: Tensor, u: Tensor, v: Tensor) -> Tensor:
        p = self.p
        if not (p.beard.any() or p.moustache.any()):
            return albedo
        _, top, _ = self.mouth_shape()
        line = plane(p.mouth_y - 0.06) - 0.85 * (u.abs() - 0.42)  # from the corners of the mouth up to the ears
        beard = smooth((v - line) / 0.16) * smooth((u.abs() - 0.30) / 0.12 + (v - plane(p.mouth_y + 0.22)) / 0.10)
        lip = v - plane(p.mouth_y - top - p.upper_lip - 0.06) - 0.25 * u * u
        moustache = torch.exp(-((lip / 0.065) ** 2)) * smooth((0.46 - u.abs()) / 0.12)
        cover = torch.maximum(beard * plane(p.beard), moustache * plane(p.moustache))
        grain = 0.85 + 0.15 * torch.sin(u * 83 + 3 * torch.sin(v * 29)) * torch.sin(v * 47 + 2 * torch.sin(u * 31))
        return _over(albedo, plane(p.hair) * grain[:, None] * 1.15, cover * 0.9)

    def paint_mouth(self, frame: Tensor) -> None:
        p, m = self.p, self.m
        half_width, top, bottom = self.mouth_shape()
        zero = torch.zeros_like(top)
        centre = self.project(self.on_face(zero[:, None], (p.mouth_y + 0.08)[:, None]))[:, 0]
        window = _Window(centre, 0.40, 0.30, self.resolution)
        patch, lit = window.take(frame), window.take(self.lit)
        u, v = window.take(self.point[:, 0]), window.take(self.point[:, 1]) - plane(p.mouth_y)
        px = self.px
        across = u / plane(half_width)
        arch = (1 - across * across).clamp(min=0)
        rest = plane(p.mouth_curve) * (arch - 0.6)  # corners up: a friendly mouth
        upper, lower = rest - plane(top) * arch, rest + plane(bottom) * arch.sqrt() * (0.6 + 0.4 * arch)
        rounded = plane((0.5 - m.mouth_width).clamp(min=0))
        bow = arch.sqrt() * (1 - 0.28 * torch.exp(-((across / 0.16) ** 2))) * (0.55 + 0.45 * arch)
        lip_top = upper - plane(p.upper_lip) * bow * (1 + 0.7 * rounded)
        lip_bottom = lower + plane(p.lower_lip) * arch.sqrt() * (0.5 + 0.5 * arch) * (1 + 0.5 * rounded)
        ends = (1 - across.abs()) * plane(half_width)
        lips = edge(torch.minimum(torch.minimum(v - lip_top, lip_bottom - v), ends) * px)
        # The upper lip faces down and the lower one up: the light falls on the lower.
        rise = ((v - lower) / plane(p.lower_lip)).clamp(0, 1)
        shade = torch.where(v < (upper + lower) / 2, 0.78 + 0 * v, 0.98 + 0.5 * rise * (1 - rise) - 0.25 * rise)
        gloss = torch.exp(-(((rise - 0.4) / 0.22) ** 2) - (across / 0.45) ** 2) * (v > lower)
        # A soft shadow below the lower lip.
        crease = torch.exp(-(((v - lip_bottom - 0.05) / 0.05) ** 2) - (across / 0.7) ** 2)
        patch = patch * (1 - 0.20 * crease)[:, None]
        patch = _over(patch, plane(p.lips) * (lit * shade * 1.15)[:, None] + 0.10 * gloss[:, None], lips)
        inner = torch.minimum(v - upper, lower - v)
        hole = edge(torch.minimum(inner, ends) * px) * smooth(plane(m.mouth_opening) / 0.06)
        depth = (inner / 0.12).clamp(0, 1)[:, None]
        dark = torch.tensor([0.24, 0.06, 0.06], device=u.device)[None, :, None, None] * (1 - 0.72 * depth)
        tongue_y = plane(bottom) - 0.02
        tongue = 1 - (across / 0.60) ** 2 - ((v - tongue_y) / (0.08 + 0.22 * plane(bottom))) ** 2
        flesh = torch.tensor([0.52, 0.17, 0.18], device=u.device)[None, :, None, None]
        flesh = flesh * (0.30 + 0.6 * tongue.clamp(0, 1))[:, None]
        interior = _over(dark.expand_as(patch), flesh, edge(tongue * px * 0.1))
        teeth_edge = rest - 0.015 + 0.075 * (1 - 0.35 * across * across) * (0.3 + 0.7 * plane(m.mouth_width))
        teeth = edge((teeth_edge - v) * px) * smooth((0.86 - across.abs()) / 0.2)
        ivory = torch.tensor([0.95, 0.93, 0.88], device=u.device)[None, :, None, None]
        interior = _over(interior, ivory * (0.82 * lit / (lit + 0.3) + 0.10)[:, None], teeth * 0.95)
        patch = _over(patch, interior, hole)
        # Closed lips meet in a dark line.
        seam = torch.exp(-(((v - rest) * px / (0.4 + 0.016 * px)) ** 2)) * edge(ends * px)
        patch = patch * (1 - 0.62 * seam * (1 - smooth(plane(m.mouth_opening) / 0.10)))[:, None]
        window.put(frame, patch)

    def paint_eyes(self, frame: Tensor) -> None:
        """Eyes, brows and glasses; both sides at once in mirrored coordinates."""
        p, m = self.p, self.m
        zero = torch.zeros_like(p.eye_y)
        centre = self.project(self.on_face(zero[:, None], (p.eye_y - 0.08)[:, None]))[:, 0]
        window = _Window(centre, 0.64, 0.36, self.resolution)
        patch, lit = window.take(frame), window.take(self.lit)
        u, v = window.take(self.point[:, 0]), window.take(self.point[:, 1]) - plane(p.eye_y)
        px = self.px
        side = torch.sign(u)
        out = u.abs() - plane(p.eye_x)  # towards the temple
        across = out / plane(p.eye_width)
        level = v - plane(p.eye_tilt) * across
        arch = (1 - across * across).clamp(min=0)
        height = plane(p.eye_height)
        bottom = 0.62 * height * arch
        blink = plane(m.blink)
        top = torch.lerp((-height * arch.sqrt() * (0.6 + 0.4 * arch)), bottom, 0.96 * blink)
        ends = (1 - across.abs()) * plane(p.eye_width)
        eye = edge(torch.minimum(torch.minimum(level - top, bottom - level), ends) * px)
        # Lid: lighter above the lashes, with a crease.
        crease = torch.exp(-(((level - top * (1 - 0.4 * blink) + 0.055 - 0.03 * arch) / 0.022) ** 2))
        patch = patch * (1 - 0.30 * crease * smooth((1.15 - across.abs()) / 0.3))[:, None]
        below = torch.exp(-(((level - bottom - 0.03) / 0.03) ** 2)) * smooth((1.1 - across.abs()) / 0.3)
        patch = patch * (1 - 0.16 * below)[:, None]
        white = 0.96 - 0.35 * torch.exp(-(level - top) / 0.05) - 0.18 * across * across
        sclera = torch.tensor([0.97, 0.95, 0.93], device=u.device)[None, :, None, None]
        inside = sclera * (white * (0.35 + 0.65 * lit))[:, None]
        radius = height * 0.92
        du = out * side - plane(m.gaze[:, 0]) * plane(p.eye_width) * 0.42
        dv = v - plane(m.gaze[:, 1]) * height * 0.35 + 0.10 * height
        distance = torch.sqrt(du * du + dv * dv + 1e-6) / radius
        glow = (0.75 + 0.55 * dv / radius) * (1 - 0.65 * smooth((distance - 0.72) / 0.3))
        inside = _over(inside, plane(p.iris) * glow[:, None] * 1.1, edge((1 - distance) * radius * px))
        pupil = edge((0.46 - distance) * radius * px)
        inside = inside * (1 - 0.92 * pupil)[:, None]
        hx, hy = du / radius - 0.32 * plane(torch.sign(p.light[:, 0])), dv / radius + 0.36
        glint = edge((0.27 - torch.sqrt(hx * hx + hy * hy + 1e-6)) * radius * px)
        inside = inside + 0.85 * glint[:, None]
        patch = _over(patch, inside, eye)
        lash_width = 0.018 + 0.022 * smooth((across + 0.6) / 1.4)
        lash = edge((lash_width - (level - top + 0.008).abs()) * px) * smooth((1.10 - across.abs()) / 0.12)
        patch = patch * (1 - 0.85 * lash)[:, None]
        patch = self.paint_brows(patch, u, v)
        if p.glasses.any():
            patch = self.paint_glasses(patch, u, v, window.take(self.head))
        window.put(frame, patch)

    def paint_brows(self, patch: Tensor, u: Tensor, v: Tensor) -> Tensor:
        p = self.p
        across = (u.abs() - plane(p.eye_x + 0.02)) / 0.29
        line = plane(p.brow_y - p.eye_y - 0.07 * self.m.brow) - plane(p.brow_arch) * (1 - (across - 0.25) ** 2)
        line = line + plane(p.brow_tilt) * across
        thickness = plane(p.brow_thickness) * (1 - 0.45 * across.clamp(min=0)) * smooth((1.05 - across.abs()) / 0.35)
        strands = 0.93 + 0.07 * torch.sin(u.abs() * 90 + v * 45)
        alpha = edge((thickness - (v - line).abs()) * self.px) * 0.9 * (thickness > 0.004)
        return _over(patch, plane(p.hair.clamp(max=0.45) * 0.6) * strands[:, None], alpha)

    def paint_glasses(self, patch: Tensor, u: Tensor, v: Tensor, on_head: Tensor) -> Tensor:
        p = self.p
        lift = 0.25 * self.view / self.view[:, 2:]
        u, v = u + plane(lift[:, 0]), v + plane(lift[:, 1])
        dx = (u.abs() - plane(p.eye_x + 0.01)) / 0.345
        dy = (v - 0.03) / 0.29
        soft, hard = dx * dx + dy * dy, dx**4 + dy**4
        radius = torch.lerp(hard.sqrt(), soft, plane(p.glasses_round)).clamp(min=1e-6).sqrt()
        rim = edge((0.028 - ((radius - 1) * 0.31).abs()) * self.px)
        bridge = edge((0.024 - (v + 0.06 - 0.2 * u * u).abs()) * self.px) * (radius > 1) * (u.abs() < 0.4)
        temple = edge((0.022 - (v + 0.04).abs()) * self.px) * (radius > 1) * (u.abs() > 0.6)
        glare = 0.07 * smooth((1 - radius) / 0.1) * smooth((0.2 - (dx * torch.sign(u) + dy + 0.2).abs()) / 0.1)
        patch = patch + (glare * plane(p.glasses))[:, None]
        cover = torch.maximum(torch.maximum(rim, bridge), temple) * plane(p.glasses) * on_head
        return _over(patch, plane(p.glasses_colour), cover)

    def paint_nape(self, frame: Tensor) -> Tensor:
        """The far inside of the hair, which shows beside a turned head."""
        p = self.p
        if not p.hair_present.any():
            return frame
        shell = 0.035 + plane(p.hair_volume)
        point, normal, rim, _ = self.hit(shell, lift=0.06)
        if p.hair_curl.any():
            angle = torch.atan2(self.y + 0.1, self.x)
            waves = 0.045 * torch.sin(angle * 23) + 0.03 * torch.sin(angle * 41 + 1)
            rim = rim + plane(p.hair_curl) * waves
        self.hair = point, normal, edge(rim * self.px / 2) * plane(p.hair_present)
        behind = edge((plane(p.hair_side) - point[:, 1]) * self.px * 0.8)
        return _over(frame, plane(p.hair * 0.5), self.hair[2] * behind)

    def paint_hair(self, frame: Tensor) -> Tensor:
        p = self.p
        if not p.hair_present.any():
            return frame
        shell = 0.035 + plane(p.hair_volume)
        point, normal, cover = self.hair
        x, y, _ = point.unbind(1)
        line, cosine = self.hairline(x / (1 + 0.5 * shell))
        alpha = cover * edge((line - y) * cosine * self.px * 0.8)
        strand = x * 27 / (1.25 - 0.5 * y).clamp(min=0.4)
        straight = 0.7 * torch.sin(strand + 3 * plane(p.hair_part) * y) + 0.5 * torch.sin(strand * 2.7 + y * 3)
        curls = torch.sin(x * 21 + 2 * torch.sin(y * 13)) * torch.sin(y * 23 + 2 * torch.sin(x * 11)) * 1.6
        texture = torch.lerp(straight, curls, plane(p.hair_curl))
        diffuse = (normal * plane(self.light)).sum(1).clamp(min=0)
        shine = (normal * plane(self.half)).sum(1).clamp(min=0) ** 2
        shine = shine * shine
        shine = shine * shine * shine
        body = (0.42 + 0.62 * diffuse) * (1 + 0.13 * texture)
        edge_shade = 1 - 0.35 * torch.exp((y - line).clamp(max=0) * 9)
        gloss = (0.12 * shine * (1 + 0.6 * texture))[:, None] * (0.35 + 0.6 * plane(p.hair))
        return _over(frame, plane(p.hair) * 1.1 * (body * edge_shade)[:, None] + gloss, alpha)
