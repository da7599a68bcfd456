"""The geometry of a drawn head: where its points are seen, and where the rays of the pixels meet it.

The head is an ellipsoid whose cheeks taper to the chin. It turns about a pivot in the neck and is seen in parallel
projection. Lengths are in head units (see `training.speakers.drawn.heads`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.clips.rotation import rotation_matrix
from training.speakers.drawn.canvas import plane, smooth
from training.speakers.drawn.heads import Portraits
from training.speakers.motion import Motion

_LIP_RISE, _LIP_DROP = 0.09, 0.31  # head units that the lips of a wide-open mouth are above and below the rest line
_JAW_DROP = 0.10  # head units that the chin falls with it
_PIVOT = (0.0, 1.05, -0.35)  # where the head turns on the neck


class Scene:
    """A batch of B heads in position, and the rays of all pixels in the coordinates of each head.

    Args:
        portraits: B people.
        motion: B positions.
        resolution: side of a frame in pixels.

    Attributes:
        portraits, motion, resolution: as given.
        unit: (B,) pixels per head unit; `px` (B, 1, 1) is the same as a plane.
        rotation: (B, 3, 3) from the head's coordinates to the viewer's.
        offset: (B, 3) shift that the turn about the neck adds, in the viewer's coordinates.
        origin: (B, 2) middle of the resting head in pixels.
        chin: (B,) height of the chin below the middle of the head.
        x, y: (B, 1, W) and (B, H, 1) viewer's coordinates of the pixels.
        view: (B, 3) unit vector towards the viewer, in the head's coordinates.
        light: (B, 3) unit vector towards the light, in the head's coordinates.
        half: (B, 3) unit vector between these two, where gloss is brightest.
        rays: (B, 3, H, W) point on each pixel's ray, in the head's coordinates.
    """

    def __init__(self, portraits: Portraits, motion: Motion, resolution: int) -> None:
        self.portraits, self.motion, self.resolution = portraits, motion, resolution
        p = portraits
        device = p.scale.device
        self.unit = p.scale * resolution
        self.px = plane(self.unit)
        self.rotation = rotation_matrix(motion.rotation)
        pivot = torch.tensor(_PIVOT, device=device)
        self.offset = pivot - self.rotation @ pivot  # viewer = rotation @ head + offset
        self.origin = (p.centre + motion.translation) * resolution
        self.chin = p.jaw + _JAW_DROP * motion.mouth_opening
        grid = torch.arange(resolution, device=device) + 0.5
        self.x = ((grid - self.origin[:, :1]) / self.unit[:, None])[:, None, :]
        self.y = ((grid - self.origin[:, 1:]) / self.unit[:, None])[:, :, None]
        self.view = self.rotation[:, 2]
        self.light = (self.rotation.mT @ p.light[:, :, None])[:, :, 0]
        half = self.light + self.view
        self.half = half / half.norm(dim=-1, keepdim=True)
        across, down = self.x - plane(self.offset[:, 0]), self.y - plane(self.offset[:, 1])
        rays = torch.stack(torch.broadcast_tensors(across, down), 1)
        depth = self.rotation[:, 2, :, None, None] * -plane(self.offset[:, 2:3])
        self.rays = torch.einsum("bij,bihw->bjhw", self.rotation[:, :2], rays) + depth

    def project(self, points: Tensor) -> Tensor:
        """Head coordinates (B, n, 3) -> pixels (B, n, 2)."""
        viewed = points @ self.rotation.mT + self.offset[:, None]
        return self.origin[:, None] + viewed[..., :2] * self.unit[:, None, None]

    def on_face(self, x: Tensor, y: Tensor) -> Tensor:
        """Points (B, n) of the face's front -> head coordinates (B, n, 3)."""
        p = self.portraits
        height = torch.where(y > 0, self.chin[:, None], p.cranium[:, None])
        width = _half_width(y, p.taper[:, None], self.chin[:, None])
        z = p.depth[:, None] * (1 - (x / width) ** 2 - (y / height) ** 2).clamp(min=0.05).sqrt()
        return torch.stack([x, y, z], -1)

    def face_box(self) -> Tensor:
        """The face as OpenCV's detectors box it, (B, 4): x, y, width and height in pixels."""
        p = self.portraits
        zero = torch.zeros_like(p.jaw)
        middle = self.project(self.on_face(zero[:, None], (0.17 * p.jaw)[:, None]))[:, 0]
        side = 2.0 * self.unit  # the detectors' median on frontal faces
        return torch.cat([middle - side[:, None] / 2, side[:, None], side[:, None]], 1)

    def mouth_box(self) -> Tensor:
        """The lips, (B, 4): x, y, width and height in pixels."""
        half_width, top, bottom = self.mouth_shape()
        p = self.portraits
        zero = torch.zeros_like(half_width)
        x = torch.stack([-half_width, half_width, zero, zero], 1)
        above = p.mouth_y - top - p.upper_lip * 1.15
        below = p.mouth_y + bottom + p.lower_lip * 1.15
        points = self.project(self.on_face(x, torch.stack([p.mouth_y, p.mouth_y, above, below], 1)))
        low, high = points.amin(1) - 1, points.amax(1) + 1
        return torch.cat([low, high - low], 1)

    def mouth_shape(self) -> tuple[Tensor, Tensor, Tensor]:
        """Half-width, and how far the lips part above and below the rest line, in head units (B,) each."""
        m = self.motion
        half_width = self.portraits.mouth_half_width * (0.66 + 0.62 * m.mouth_width)
        half_width = half_width * (1 - 0.12 * m.mouth_opening)
        return half_width, _LIP_RISE * m.mouth_opening, _LIP_DROP * m.mouth_opening

    def hit(self, shell: float | Tensor, lift: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Intersects the rays with the head's ellipsoid.

        Args:
            shell: growth of the ellipsoid in head units, a number or (B, 1, 1).
            lift: rise of the ellipsoid in head units.

        Returns:
            the points (B, 3, H, W), the normals (B, 3, H, W), and 1 - the rays' squared distances from the axis in
            radii (B, H, W), which is positive inside of the silhouette.
        """
        p = self.portraits
        rays = self.rays
        ox, oy, oz = rays[:, 0], rays[:, 1] + lift, rays[:, 2]
        dx, dy, dz = (plane(self.view[:, i]) for i in range(3))
        guess = oy + dy * plane(p.depth) * (1 - ox * ox - (oy / plane(self.chin)) ** 2).clamp(min=0)
        a = 1 / (_half_width(guess, plane(p.taper), plane(self.chin)) + shell)
        b = 1 / (torch.where(guess > 0, plane(self.chin), plane(p.cranium)) + shell)
        c = 1 / (plane(p.depth) + shell)
        ux, uy, uz, vx, vy, vz = ox * a, oy * b, oz * c, dx * a, dy * b, dz * c
        square = vx * vx + vy * vy + vz * vz
        along = (ux * vx + uy * vy + uz * vz) / square
        rim = 1 - (ux * ux + uy * uy + uz * uz) + along * along * square
        depth = (rim.clamp(min=0) / square).sqrt() - along
        x, y, z = ox + depth * dx, oy + depth * dy, oz + depth * dz
        nx, ny, nz = x * a * a, y * b * b, z * c * c
        scale = torch.rsqrt(nx * nx + ny * ny + nz * nz)
        return torch.stack([x, y - lift, z], 1), torch.stack([nx * scale, ny * scale, nz * scale], 1), rim

    def hairline(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The height (head units) at which hair ends over the face's `x`, and the cosine of its slope."""
        p = self.portraits
        ramp = ((x.abs() - 0.52) / 0.42).clamp(0, 1)
        side = ramp * ramp * (3 - 2 * ramp)
        front = plane(p.hairline) + plane(p.hair_part) * x + plane(p.hair_fringe) * torch.sin(x * 17)
        drop = plane(p.hair_side) - front
        slope = drop * ramp * (1 - ramp) * (6 / 0.42)
        return front + drop * side, torch.rsqrt(1 + slope * slope)


def _half_width(y: Tensor, taper: Tensor, chin: Tensor) -> Tensor:
    """Half-width of the head at height `y`: the cheeks taper to the chin."""
    return 1 - taper * smooth(y / chin)
