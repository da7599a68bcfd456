"""Frames of a puppet: its mesh posed, seen by a camera, and coloured by the photograph.

Two layers are drawn. The photograph is warped as a whole at a low resolution, because around the face it bends gently.
The face, the eyes and the mouth are drawn over it at the full one, because there things hide each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.clips.face_mesh import FACE_POINTS
from training.speakers.motion import Motion
from training.speakers.puppets.face_tables import OUTER_LIPS, face_tables
from training.speakers.puppets.layers import draw_front, sample
from training.speakers.puppets.look import Look
from training.speakers.puppets.pose import Pose, pose
from training.speakers.puppets.puppet import Puppet
from training.speakers.puppets.rasterizer import rasterize
from training.speakers.rendering import Rendering

SUPERSAMPLING = 2
_COARSE = 4  # supersampled pixels to a pixel of the coarse layer, in each direction
_CAMERA = 3.0  # distance of the camera from the face, in widths of the picture
_CPU_CHUNK, _CHUNK = 4, 64  # frames drawn at once
_BOX_POINTS = (1, 168)  # landmarks of the nose: its tip, and its root between the eyes
_BOX_SIZE = 1.18  # side of the face box in widths of the face: the detectors' median on portraits


@dataclass(frozen=True)
class _Camera:
    """What the frame shows of the photograph.

    Attributes:
        centre: (2,) middle of the frame in the photograph, x and y down.
        zoom: size of the photograph in frames.
        depth: z at which that is the size.
    """

    centre: Tensor
    zoom: float
    depth: float

    @classmethod
    def of(cls, puppet: Puppet, look: Look) -> _Camera:
        zoom = max(look.face_share / puppet.face_width, 1.0)
        centre = puppet.middle - torch.tensor(look.offset, device=puppet.middle.device) / zoom
        outline = puppet.points[face_tables().oval]
        return cls(centre.clamp(0.5 / zoom, 1 - 0.5 / zoom), zoom, float(outline[:, 2].mean()))

    def see(self, points: Tensor, side: int) -> Tensor:
        """Points (B, n, 3) -> x and y in pixels of a frame of `side`, and 1 / depth."""
        near = 1 / (_CAMERA + self.depth - points[..., 2:])
        down = points[..., :2] * points.new_tensor([1, -1])
        pixels = ((down - self.centre) * _CAMERA * near * self.zoom + 0.5) * side
        return torch.cat([pixels, near], -1)

    def places(self, side: int) -> Tensor:
        """Where the pixels of a frame of `side` are in the photograph, (side, side, 2)."""
        line = (torch.arange(side, device=self.centre.device) + 0.5) / side - 0.5
        return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1) / self.zoom + self.centre


@torch.no_grad()
def render_puppet(puppet: Puppet, motion: Motion, look: Look, resolution: int) -> Rendering:
    """Draws the frames of a motion.

    Args:
        puppet: who is seen.
        motion: B frames.
        look: how the clip is taken.
        resolution: side of a frame in pixels; even, if the look compresses the video.
    """
    camera = _Camera.of(puppet, look)
    side = SUPERSAMPLING * resolution
    picture = torch.cat([look.source(puppet.picture[:3]), puppet.picture[3:]])
    background = look.behind(look.source(puppet.background))
    behind = sample(background, camera.places(side).flatten(0, 1)).T.unflatten(1, (side, side))
    chunk = _CPU_CHUNK if picture.device.type == "cpu" else _CHUNK
    frames, faces, landmarks = [], [], []
    for start in range(0, len(motion), chunk):
        posed = pose(puppet, motion[start : start + chunk], 1 / camera.zoom)
        drawn = _draw(puppet, posed, picture, behind, camera)
        frames.append(F.avg_pool2d(drawn, SUPERSAMPLING))
        faces.append(_face_box(puppet, posed, camera, resolution))
        landmarks.append(camera.see(posed.mesh[:, :FACE_POINTS], resolution)[..., :2])
    everywhere = torch.cat(landmarks)
    return Rendering(look.graded(torch.cat(frames)), torch.cat(faces), _mouth_box(everywhere), everywhere)


def _draw(puppet: Puppet, posed: Pose, picture: Tensor, behind: Tensor, camera: _Camera) -> Tensor:
    """Draws the layers over what is behind the person, (3, s, s) in supersampled pixels: (B, 3, s, s)."""
    side = behind.shape[-1]
    places = _warp(puppet, posed, camera, side // _COARSE)
    fine = F.interpolate(places.permute(0, 3, 1, 2), size=(side, side), mode="bilinear", align_corners=False)
    grid = 2 * fine.permute(0, 2, 3, 1) - 1
    warped = F.grid_sample(picture.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False)
    frames = torch.lerp(behind.expand(len(grid), -1, -1, -1), warped[:, :3], warped[:, 3:])
    points = torch.cat([posed.mesh[:, :FACE_POINTS], posed.eyes, posed.mouth, posed.cavity], 1)
    fragments, colours = draw_front(puppet, posed, picture[:3], camera.see(points, side), side)
    frames.flatten(2)[fragments.frame, :, fragments.pixel] = colours
    return frames


def _warp(puppet: Puppet, posed: Pose, camera: _Camera, side: int) -> Tensor:
    """Where each pixel of coarse frames comes from in the photograph, (B, side, side, 2)."""
    fragments = rasterize(camera.see(posed.mesh, side), puppet.triangles, side)
    places = camera.places(side).expand(len(posed.mesh), -1, -1, -1).clone()
    corners = puppet.texture[puppet.triangles[fragments.triangle]]
    places.flatten(1, 2)[fragments.frame, fragments.pixel] = (corners * fragments.weights[:, :, None]).sum(1)
    return places


def _mouth_box(landmarks: Tensor) -> Tensor:
    """The lips and a pixel around them, (B, 4): x, y, width and height in pixels."""
    lips = landmarks[:, list(OUTER_LIPS)]
    low, high = lips.amin(1) - 1, lips.amax(1) + 1
    return torch.cat([low, high - low], 1)


def _face_box(puppet: Puppet, posed: Pose, camera: _Camera, resolution: int) -> Tensor:
    """The face as OpenCV's detectors box it, (B, 4): x, y, width and height in pixels."""
    middle = camera.see(posed.mesh[:, list(_BOX_POINTS)].mean(1, keepdim=True), resolution)[:, 0, :2]
    side = middle.new_full((len(middle), 2), _BOX_SIZE * puppet.face_width * camera.zoom * resolution)
    return torch.cat([middle - side / 2, side], 1)
