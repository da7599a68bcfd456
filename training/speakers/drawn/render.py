"""Pictures of drawn heads: shaded, antialiased, and turning in three dimensions.

Every pixel's ray is intersected with the ellipsoid of the head; eyes, brows, nose and mouth are functions of the point
hit, so that they turn with the head. Edges are antialiased by signed distance in pixels. The small features are
computed only in the region around them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.speakers.drawn.body import paint_background, paint_clothes, paint_ears, paint_neck
from training.speakers.drawn.eyes import paint_eyes
from training.speakers.drawn.hair import hair_shell, paint_hair, paint_hair_behind, paint_nape
from training.speakers.drawn.heads import Portraits
from training.speakers.drawn.lips import paint_mouth
from training.speakers.drawn.scene import Scene
from training.speakers.drawn.skin import paint_skin
from training.speakers.motion import Motion
from training.speakers.rendering import Rendering

# Frames drawn at once. On a CPU, larger planes fall out of its cache.
_CPU_CHUNK, _CHUNK = 8, 256


@torch.no_grad()
def render(portraits: Portraits, motion: Motion, resolution: int) -> Rendering:
    """Draws frame i of a motion with person i of the portraits.

    Args:
        portraits: B people, or one for all frames.
        motion: B frames.
        resolution: side of a frame in pixels.

    Raises:
        ValueError: if there are several people, but not one for each frame.
    """
    frames = len(motion)
    if len(portraits) == 1 and frames > 1:
        portraits = portraits.repeat(frames)
    if len(portraits) != frames:
        raise ValueError(f"{len(portraits)} portraits for {frames} frames")
    chunk = _CPU_CHUNK if motion.rotation.device.type == "cpu" else _CHUNK
    parts = []
    for start in range(0, frames, chunk):
        scene = Scene(portraits[start : start + chunk], motion[start : start + chunk], resolution)
        parts.append((_paint(scene), scene.face_box(), scene.mouth_box()))
    return Rendering(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _paint(scene: Scene) -> Tensor:
    """Paints a scene from back to front: (B, 3, H, W) in [0, 1]."""
    frame = paint_background(scene)
    frame = paint_clothes(scene, frame)
    frame = paint_hair_behind(scene, frame)
    frame = paint_neck(scene, frame)
    frame = paint_ears(scene, frame)
    shell = hair_shell(scene)
    if shell is not None:
        frame = paint_nape(scene, frame, shell)
    frame, surface = paint_skin(scene, frame)
    paint_mouth(scene, frame, surface)
    paint_eyes(scene, frame, surface)
    if shell is not None:
        frame = paint_hair(scene, frame, shell)
    return frame.clamp(0, 1)
