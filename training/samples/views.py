"""Views of a clip: the same speaker mirrored, a little nearer and in another light (*ours*).

A model that has few people to learn from sees more faces, in more places, so.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from emo_rt.media.boxes import Box, union
from training.clips.clip import TrainingClip

#: Shortest side of a view's part of the frame, in sides of the frame.
NEAREST = 0.85

#: Largest change of a colour's brightness, as a factor, and of the gamma of all.
COLOUR_CHANGE, GAMMA_CHANGE = 1.15, 1.25


@dataclass(frozen=True)
class View:
    """How a view shows the frames of a clip.

    Attributes:
        side: height and width of the frames and of the view in pixels
        mirrored: whether left and right change places
        part: square of the frame that becomes the view, in whole pixels
        gains: factors of red, green and blue (3,)
        gamma: exponent of the brightness
    """

    side: int
    mirrored: bool
    part: Box
    gains: np.ndarray
    gamma: float


def view_names(name: str, count: int) -> list[str]:
    """Names of so many views of a clip; the first is the clip's own."""
    return [name, *(f"{name}-view{number}" for number in range(1, count))]


def random_view(clip: TrainingClip, number: int, side: int) -> View:
    """View `number` of a clip; every second one is mirrored. The choice follows from the face boxes and the number.

    The face stays inside, as far as it was.

    Args:
        clip: clip whose face boxes count
        number: number of the view, from 1
        side: height and width of the frames in pixels
    """
    rng = np.random.Generator(np.random.Philox(key=[zlib.crc32(clip.face_box.tobytes()), number]))
    face = union(Box(*map(float, box)) for box in clip.face_box)
    size = min(max(round(side * rng.uniform(NEAREST, 1)), round(face.width), round(face.height)), side)

    def edge(low: float, length: float) -> float:
        """Where the part begins: so that it holds [low, low + length), if it can."""
        first, last = max(0, low + length - size), min(side - size, low)
        return float(round(rng.uniform(first, last)) if first <= last else min(max(round(first), 0), side - size))

    part = Box(edge(face.x, face.width), edge(face.y, face.height), size, size)
    gains = np.exp(rng.uniform(-1, 1, 3) * np.log(COLOUR_CHANGE))
    gamma = float(np.exp(rng.uniform(-1, 1) * np.log(GAMMA_CHANGE)))
    return View(side, number % 2 == 1, part, gains, gamma)


def seen(clip: TrainingClip, view: View, device: torch.device) -> TrainingClip:
    """The clip as a view shows it. In a mirrored view the head turns, and looks, to the other side. A landmark keeps
    its number, so that the left eye's are at the right one.

    Args:
        clip: clip, with or without its frames
        view: how to show it
        device: where to compute
    """
    side, left, top, size = view.side, view.part.x, view.part.y, view.part.width

    def moved(boxes: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (boxes - np.array([left, top, 0, 0], np.float32)) * np.float32(side / size)
        if view.mirrored:
            scaled[:, 0] = side - scaled[:, 0] - scaled[:, 2]
        return scaled

    frames = _pictures(clip.frames, view, device) if len(clip.frames) else clip.frames
    landmarks = clip.landmarks
    if len(landmarks):
        landmarks = (landmarks - np.array([left, top], np.float32)) * np.float32(side / size)
        landmarks[..., 0] = side - landmarks[..., 0] if view.mirrored else landmarks[..., 0]
    sides = np.float32(-1 if view.mirrored else 1)
    return replace(
        clip,
        frames=frames,
        face_box=moved(clip.face_box),
        mouth_box=moved(clip.mouth_box),
        landmarks=landmarks,
        rotation=clip.rotation * np.array([sides, 1, sides], np.float32) if clip.knows("rotation") else clip.rotation,
        gaze=clip.gaze * np.array([sides, 1], np.float32) if clip.knows("gaze") else clip.gaze,
    )


def _pictures(frames: np.ndarray, view: View, device: torch.device) -> np.ndarray:
    """RGB uint8 frames (t, h, w, 3) as a view shows them."""
    left, top, size = int(view.part.x), int(view.part.y), int(view.part.width)
    part = torch.from_numpy(frames)[:, top : top + size, left : left + size].to(device)
    pictures = part.movedim(-1, 1).float() / 255
    pictures = interpolate(pictures, (view.side, view.side), mode="bicubic", antialias=True).clamp(0, 1) ** view.gamma
    pictures = (pictures * torch.from_numpy(view.gains).float().to(device)[:, None, None]).clamp(0, 1)
    pictures = pictures.flip(-1) if view.mirrored else pictures
    levels: np.ndarray = (255 * pictures).round().to(torch.uint8).movedim(1, -1).contiguous().cpu().numpy()
    return levels
