"""What a drawn head is: who is seen.

Lengths are in head units: the head's half-width is 1, and from the middle of the head x points right, y down and z
towards the viewer. `training.speakers.drawn.render` draws heads, `training.speakers.drawn.people` invents them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from training.speakers.motion import TensorRows


@dataclass(frozen=True)
class Portraits(TensorRows):
    """Who is seen, in which framing and light.

    Every field is float32 (B,) in head units unless noted; colours are linear RGB (B, 3).
    """

    centre: Tensor  # (B, 2) middle of the head, fractions of the frame
    scale: Tensor  # half-width of the head as a fraction of the frame's width
    cranium: Tensor  # height above the middle of the head
    jaw: Tensor  # height below the middle of the head
    depth: Tensor
    taper: Tensor  # share of the width that the chin lacks
    skin: Tensor  # colour
    blush: Tensor  # strength, 0 to 1
    eye_x: Tensor
    eye_y: Tensor
    eye_width: Tensor
    eye_height: Tensor
    eye_tilt: Tensor
    iris: Tensor  # colour
    brow_y: Tensor
    brow_thickness: Tensor
    brow_arch: Tensor
    brow_tilt: Tensor
    nose_y: Tensor
    nose_width: Tensor
    nose_height: Tensor  # relative to the usual nose
    mouth_y: Tensor
    mouth_half_width: Tensor
    mouth_curve: Tensor
    upper_lip: Tensor
    lower_lip: Tensor
    lips: Tensor  # colour
    ear: Tensor  # size relative to the usual ear; 0: hidden by hair
    hair: Tensor  # colour
    hair_present: Tensor  # 0 or 1
    hair_volume: Tensor
    hairline: Tensor  # y at the forehead
    hair_side: Tensor  # y down to which hair covers the temples
    hair_part: Tensor  # slope of the hairline
    hair_fringe: Tensor  # unevenness of the hairline
    hair_curl: Tensor  # 0 or 1
    hair_length: Tensor  # y down to which hair falls behind the head; 0: none
    bun: Tensor  # radius; 0: none
    beard: Tensor  # opacity
    moustache: Tensor  # opacity
    glasses: Tensor  # opacity
    glasses_round: Tensor  # 0 square to 1 round
    glasses_colour: Tensor
    cloth: Tensor  # colour
    cloth_trim: Tensor  # colour of the collar
    neck: Tensor  # half-width
    neckline: Tensor  # depth of the collar
    stripes: Tensor  # 0 or 1
    background: Tensor  # (B, 2, 3) colours above and below
    blobs: Tensor  # (B, 4, 6) x, y, radius in fractions of the frame, and colour of spots in the background
    light: Tensor  # (B, 3) unit vector towards the key light
    light_colour: Tensor
    ambient: Tensor  # colour
