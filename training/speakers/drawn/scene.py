"""The geometry of a drawn head: where its points are seen, and where the rays of the pixels meet it.

The head is an ellipsoid whose cheeks taper to the chin. It turns about a pivot in the neck and is seen in parallel
projection. Lengths are in head units (see `training.speakers.drawn.heads`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.clips.rotation import rotation_matrix
from training.speakers.drawn.heads import Motion, Portraits

MOUTH_DROP = 0.31  # head units between the lips of a wide-open mouth below, and a quarter of it above, the rest line
_JAW_DROP = 0.10  # head units that the chin falls with it
_PIVOT = (0.0, 1.05, -0.35)  # where the head turns on the neck


def plane(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1); (B, 3) -> (B, 3, 1, 1)."""
    return values[..., None, None]


def smooth(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def edge(distance: Tensor) -> Tensor:
    """Signed distance in pixels, positive inside -> coverage."""
    return (distance + 0.5).clamp(0, 1)


class Scene:
    """One batch of heads in position."""

    def __init__(self, portraits: Portraits, motion: Motion, resolution: int) -> None:
        self.p, self.m, self.resolution = portraits, motion, resolution
        p = portraits
        device = p.scale.device
        self.unit = p.scale * resolution  # pixels per head unit
        self.px = plane(self.unit)
        self.rotation = rotation_matrix(motion.rotation)
        pivot = torch.tensor(_PIVOT, device=device)
        self.offset = pivot - self.rotation @ pivot  # viewer = rotation @ head + offset
        self.origin = (p.centre + motion.translation) * resolution  # [B, 2] pixels of the resting head's middle
        self.chin = p.jaw + _JAW_DROP * motion.mouth_opening
        grid = torch.arange(resolution, device=device) + 0.5
        self.x = ((grid - self.origin[:, :1]) / self.unit[:, None])[:, None, :]  # [B, 1, W] viewer's, head units
        self.y = ((grid - self.origin[:, 1:]) / self.unit[:, None])[:, :, None]  # [B, H, 1]
        self.view = self.rotation[:, 2]  # towards the viewer, in the head's coordinates
        self.light = (self.rotation.mT @ p.light[:, :, None])[:, :, 0]
        half = self.light + self.view
        self.half = half / half.norm(dim=-1, keepdim=True)
        across, down = self.x - plane(self.offset[:, 0]), self.y - plane(self.offset[:, 1])
        rays = torch.stack(torch.broadcast_tensors(across, down), 1)
        depth = self.rotation[:, 2, :, None, None] * -plane(self.offset[:, 2:3])
        self.rays = torch.einsum("bij,bihw->bjhw", self.rotation[:, :2], rays) + depth  # [B, 3, H, W]

    def project(self, points: Tensor) -> Tensor:
        """Head coordinates (B, n, 3) -> pixels (B, n, 2)."""
        viewed = points @ self.rotation.mT + self.offset[:, None]
        return self.origin[:, None] + viewed[..., :2] * self.unit[:, None, None]

    def on_face(self, x: Tensor, y: Tensor) -> Tensor:
        """Points (B, n) of the face's front -> head coordinates (B, n, 3)."""
        p = self.p
        height = torch.where(y > 0, self.chin[:, None], p.cranium[:, None])
        width = self.half_width(y, p.taper[:, None], self.chin[:, None])
        z = p.depth[:, None] * (1 - (x / width) ** 2 - (y / height) ** 2).clamp(min=0.05).sqrt()
        return torch.stack([x, y, z], -1)

    @staticmethod
    def half_width(y: Tensor, taper: Tensor, chin: Tensor) -> Tensor:
        """Of the head at height `y`: the cheeks taper to the chin."""
        return 1 - taper * smooth(y / chin)

    def face_box(self) -> Tensor:
        p = self.p
        zero = torch.zeros_like(p.jaw)
        middle = self.project(self.on_face(zero[:, None], (0.17 * p.jaw)[:, None]))[:, 0]
        side = 2.0 * self.unit  # the detectors' median on frontal faces
        return torch.cat([middle - side[:, None] / 2, side[:, None], side[:, None]], 1)

    def mouth_box(self) -> Tensor:
        half_width, top, bottom = self.mouth_shape()
        p = self.p
        zero = torch.zeros_like(half_width)
        x = torch.stack([-half_width, half_width, zero, zero], 1)
        above = p.mouth_y - top - p.upper_lip * 1.15
        below = p.mouth_y + bottom + p.lower_lip * 1.15
        points = self.project(self.on_face(x, torch.stack([p.mouth_y, p.mouth_y, above, below], 1)))
        low, high = points.amin(1) - 1, points.amax(1) + 1
        return torch.cat([low, high - low], 1)

    def mouth_shape(self) -> tuple[Tensor, Tensor, Tensor]:
        """Half-width, and how far the lips part above and below the rest line, in head units (B,) each."""
        half_width = self.p.mouth_half_width * (0.66 + 0.62 * self.m.mouth_width)
        half_width = half_width * (1 - 0.12 * self.m.mouth_opening)
        return half_width, 0.09 * self.m.mouth_opening, MOUTH_DROP * self.m.mouth_opening

    def hit(self, shell: float | Tensor, lift: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Intersects the rays with the head's ellipsoid, grown by `shell` head units and raised by `lift`.

        Returns the point (B, 3, H, W), its normal, the radii's squared distance to the silhouette (positive inside) and
        the depth of the ray.
        """
        p = self.p
        rays = self.rays
        ox, oy, oz = rays[:, 0], rays[:, 1] + lift, rays[:, 2]
        dx, dy, dz = (plane(self.view[:, i]) for i in range(3))
        guess = oy + dy * plane(p.depth) * (1 - ox * ox - (oy / plane(self.chin)) ** 2).clamp(min=0)
        a = 1 / (self.half_width(guess, plane(p.taper), plane(self.chin)) + shell)
        b = 1 / (torch.where(guess > 0, plane(self.chin), plane(p.cranium)) + shell)
        c = 1 / (plane(p.depth) + shell)
        ux, uy, uz, vx, vy, vz = ox * a, oy * b, oz * c, dx * a, dy * b, dz * c
        square = vx * vx + vy * vy + vz * vz
        along = (ux * vx + uy * vy + uz * vz) / square
        rim = 1 - (ux * ux + uy * uy + uz * uz) + along * along * square  # 1 - squared distance of the ray
        depth = (rim.clamp(min=0) / square).sqrt() - along
        x, y, z = ox + depth * dx, oy + depth * dy, oz + depth * dz
        nx, ny, nz = x * a * a, y * b * b, z * c * c
        scale = torch.rsqrt(nx * nx + ny * ny + nz * nz)
        return torch.stack([x, y - lift, z], 1), torch.stack([nx * scale, ny * scale, nz * scale], 1), rim, depth

    def hairline(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The height (head units) at which hair ends over the face's `x`, and the cosine of its slope."""
        p = self.p
        ramp = ((x.abs() - 0.52) / 0.42).clamp(0, 1)
        side = ramp * ramp * (3 - 2 * ramp)
        front = plane(p.hairline) + plane(p.hair_part) * x + plane(p.hair_fringe) * torch.sin(x * 17)
        drop = plane(p.hair_side) - front
        slope = drop * ramp * (1 - ramp) * (6 / 0.42)
        return front + drop * side, torch.rsqrt(1 + slope * slope)
