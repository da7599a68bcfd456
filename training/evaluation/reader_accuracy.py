"""How well a face reader reads people whom it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from training.clips.clip import TrainingClip
from training.evaluation.metrics import CLOSED_LIPS, correlation, find_blinks, matched_events, nearest
from training.evaluation.reader import GALLERY_SIZE, FaceReader, Reading

# Degrees: a head whose rotation varies by less has no motion to correlate with.
_LEAST_ROTATION = 1.0


@dataclass(frozen=True)
class ReaderAccuracy:
    """What a reader reads from renders, compared with their labels.

    Correlations are Pearson's r within a clip, and the mean over clips. Errors are means of absolute differences.

    Attributes:
        clips: number of clips.
        frames: number of their frames.
        opening_correlation: correlation of the mouth opening.
        opening_correlation_lowest: lowest correlation of the mouth opening in a clip.
        opening_error: error of the mouth opening, 0 closed .. 1 wide open.
        lips_closed_error: share of the frames in which reader and label disagree whether the lips are closed.
        opening_deviation_ratio: standard deviation of the read mouth opening over that of the label.
        width_correlation: correlation of the mouth width.
        width_error: error of the mouth width, 0 rounded .. 1 spread.
        rotation_error_degrees: error of yaw, pitch and roll in degrees.
        face_centre_error: mean distance from the true middle of the face box, in widths of the picture.
        yaw_correlation: correlation of the yaw, over the clips in which it varies.
        pitch_correlation: correlation of the pitch, over the clips in which it varies.
        roll_correlation: correlation of the roll, over the clips in which it varies.
        blink_correlation: correlation of the eyelids, over the clips with a blink.
        blinks: number of true blinks.
        blink_precision: share of the blinks found that are true.
        blink_recall: share of the true blinks that are found.
        people: number of people among whom each is looked for.
        identity_nearest: share of the frames, but for the one by which a person is known, in which the right person is
            the nearest.
    """

    clips: int
    frames: int
    opening_correlation: float
    opening_correlation_lowest: float
    opening_error: float
    lips_closed_error: float
    opening_deviation_ratio: float
    width_correlation: float
    width_error: float
    rotation_error_degrees: float
    face_centre_error: float
    yaw_correlation: float
    pitch_correlation: float
    roll_correlation: float
    blink_correlation: float
    blinks: int
    blink_precision: float
    blink_recall: float
    people: int
    identity_nearest: float


def reader_accuracy(reader: FaceReader, clips: Sequence[TrainingClip], blur: float = 1.0) -> ReaderAccuracy:
    """How well `reader` reads the renders of `clips`.

    Identity is that of the first `GALLERY_SIZE` people, each known by the frame with the mouth most closed. Mouths are
    correlated where somebody speaks.

    Args:
        reader: the reader to measure.
        clips: clips with labels.
        blur: factor by which the frames are shrunk and enlarged again first, as a soft decoder would.
    """
    pairs = [(reader.read(_blurred(clip.frames, blur)), clip) for clip in clips]
    speaking = [(reading, clip) for reading, clip in pairs if clip.mouth_opening.any()]
    opening = [correlation(reading.mouth_opening, clip.mouth_opening) for reading, clip in speaking]
    ratios = [reading.mouth_opening.std() / clip.mouth_opening.std() for reading, clip in speaking]
    blinking = [(reading.blink, clip.blink) for reading, clip in pairs if clip.blink.any()]
    events = [matched_events(find_blinks(reading.blink), find_blinks(clip.blink)) for reading, clip in pairs]
    matched, found, true = np.sum(events, 0)
    people = _one_clip_each(pairs)[:GALLERY_SIZE]
    return ReaderAccuracy(
        clips=len(clips),
        frames=sum(len(clip.frames) for clip in clips),
        opening_correlation=float(np.mean(opening)),
        opening_correlation_lowest=min(opening),
        opening_error=_error(pairs, lambda of: of.mouth_opening),
        lips_closed_error=_error(pairs, lambda of: (of.mouth_opening <= CLOSED_LIPS).astype(float)),
        opening_deviation_ratio=float(np.mean(ratios)),
        width_correlation=_mean_correlation([(reading.mouth_width, clip.mouth_width) for reading, clip in speaking]),
        width_error=_error(pairs, lambda of: of.mouth_width),
        rotation_error_degrees=_error(pairs, lambda of: of.rotation),
        face_centre_error=float(np.mean([_centre_distances(*pair).mean() for pair in pairs])),
        yaw_correlation=_rotation_correlation(pairs, axis=0),
        pitch_correlation=_rotation_correlation(pairs, axis=1),
        roll_correlation=_rotation_correlation(pairs, axis=2),
        blink_correlation=_mean_correlation(blinking),
        blinks=int(true),
        blink_precision=float(matched / max(found, 1)),
        blink_recall=float(matched / max(true, 1)),
        people=len(people),
        identity_nearest=_share_recognised(people),
    )


def _one_clip_each(pairs: Sequence[tuple[Reading, TrainingClip]]) -> list[tuple[Reading, TrainingClip]]:
    """The first clip of everybody; clips that do not say who is seen are of different people."""
    firsts = {clip.person or index: index for index, (_, clip) in reversed(list(enumerate(pairs)))}
    return [pairs[index] for index in sorted(firsts.values())]


def _error(
    pairs: Sequence[tuple[Reading, TrainingClip]], values: Callable[[Reading | TrainingClip], np.ndarray]
) -> float:
    return float(np.mean([np.abs(values(reading) - values(clip)).mean() for reading, clip in pairs]))


def _mean_correlation(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([correlation(*pair) for pair in curves] or [0.0]))


def _rotation_correlation(pairs: Sequence[tuple[Reading, TrainingClip]], axis: int) -> float:
    curves = [(reading.rotation[:, axis], clip.rotation[:, axis]) for reading, clip in pairs]
    return _mean_correlation([(read, label) for read, label in curves if label.std() >= _LEAST_ROTATION])


def _centre_distances(reading: Reading, clip: TrainingClip) -> np.ndarray:
    """Distances (t,) in widths of the picture."""
    centre = (clip.face_box[:, :2] + clip.face_box[:, 2:] / 2) / clip.frames.shape[1]
    distances: np.ndarray = np.linalg.norm(reading.face_centre - centre, axis=1)
    return distances


def _share_recognised(people: Sequence[tuple[Reading, TrainingClip]]) -> float:
    known = [clip.mouth_opening.argmin() for _, clip in people]  # the frame by which each is known
    gallery = np.stack([reading.identity[frame] for frame, (reading, _) in zip(known, people, strict=True)])
    right = [
        np.delete(nearest(reading.identity, gallery) == person, known[person])
        for person, (reading, _) in enumerate(people)
    ]
    return float(np.concatenate(right).mean())


def _blurred(frames: np.ndarray, factor: float) -> np.ndarray:
    """Pictures (t, h, w, 3) of the same size."""
    if factor == 1:
        return frames
    images, size = torch.from_numpy(frames).movedim(-1, 1).float(), round(frames.shape[1] / factor)
    small = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    again = functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return again.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous().numpy()
