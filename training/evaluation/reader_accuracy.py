"""How well a face reader reads people whom it has never seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from training.clips.clip import TrainingClip
from training.evaluation.metrics import correlation, find_blinks, matched_events, nearest
from training.evaluation.reader import FaceReader

_GALLERY = 100


def reader_accuracy(reader: FaceReader, clips: Sequence[TrainingClip], blur: float = 1.0) -> dict[str, float]:
    """How well ``reader`` reads the renders of ``clips``: correlations are within a clip, and the mean over clips.

    Identity: how often the person is the nearest of all (at most 100), each known by the frame with the mouth most
    closed.

    Args:
        blur: shrink the frames by this factor and enlarge them again first, as a soft decoder would.
    """
    readings = [reader.read(_blurred(clip.frames, blur)) for clip in clips]
    pairs = list(zip(readings, clips, strict=True))

    def error(name: str) -> float:
        return float(np.mean([np.abs(getattr(reading, name) - getattr(clip, name)).mean() for reading, clip in pairs]))

    opening = [correlation(reading.mouth_opening, clip.mouth_opening) for reading, clip in pairs]
    centres = [(c.face_box[:, :2] + c.face_box[:, 2:] / 2) / c.frames.shape[1] for c in clips]
    off = [np.linalg.norm(r.face_centre - centre, axis=1).mean() for r, centre in zip(readings, centres, strict=True)]
    accuracy = {
        "clips": len(clips),
        "frames": sum(len(clip.frames) for clip in clips),
        "opening_correlation": float(np.mean(opening)),
        "opening_correlation_lowest": min(opening),
        "opening_error": error("mouth_opening"),
        "opening_deviation_ratio": float(np.mean([r.mouth_opening.std() / c.mouth_opening.std() for r, c in pairs])),
        "width_correlation": float(np.mean([correlation(r.mouth_width, c.mouth_width) for r, c in pairs])),
        "width_error": error("mouth_width"),
        "rotation_error_degrees": error("rotation"),
        "face_centre_error": float(np.mean(off)),  # widths of the picture
    }
    for axis, name in enumerate(("yaw", "pitch", "roll")):
        # A head that rests has no motion to correlate with.
        moving = [(r.rotation[:, axis], c.rotation[:, axis]) for r, c in pairs if c.rotation[:, axis].std() >= 1]
        accuracy[f"{name}_correlation"] = float(np.mean([correlation(*curves) for curves in moving] or [0.0]))
    blinking = [(r.blink, c.blink) for r, c in pairs if c.blink.any()]
    found, seen, there = np.sum([matched_events(find_blinks(r.blink), find_blinks(c.blink)) for r, c in pairs], 0)
    accuracy |= {
        "blink_correlation": float(np.mean([correlation(*curves) for curves in blinking] or [0.0])),
        "blinks": int(there),
        "blink_precision": float(found / max(seen, 1)),
        "blink_recall": float(found / max(there, 1)),
    }
    people = pairs[:_GALLERY]
    gallery = np.stack([reading.identity[clip.mouth_opening.argmin()] for reading, clip in people])
    right = [
        np.delete(nearest(reading.identity, gallery) == person, clip.mouth_opening.argmin())
        for person, (reading, clip) in enumerate(people)
    ]
    return accuracy | {"people": len(people), "identity_nearest": float(np.concatenate(right).mean())}


def _blurred(frames: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return frames
    images, size = torch.from_numpy(frames).movedim(-1, 1).float(), round(frames.shape[1] / factor)
    small = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    again = functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return again.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous().numpy()
