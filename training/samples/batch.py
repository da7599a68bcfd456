"""Samples that the image, video and speed stages learn from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class TrainingBatch:
    """Samples of the image, video and speed stages; a field that the stage does not use is None.

    Attributes:
        latents: clean latents (b, f, c, h, w)
        reference_latents: latents of another frame of the same clip (b, c, h, w)
        motion_latents: latents of the n frames before (b, n, c, h, w)
        waveform: windows of sound that the audio encoder takes (b, samples); None for images without a voice
        position: index of the frame (b,) in the clip that its window of sound is for; None for videos
        head_speed: head speeds in degrees per frame (b, f + 2m); None if that of a clip is unknown
        face_region: masks of the face region (b, 1, resolution, resolution)
        gestures: yaw, pitch and roll of the head against the reference frame's in degrees, and closing of the eyes
            (b, f, 4), 0 where they are unknown
        loss_weight: weights of the squared error (b, f, 1, h, w), larger in the face and at the mouth
        before: batch of the f frames before these
        landmarks: x and y in pixels of the face mesh (b, f, 468, 2), NaN if unknown; None if no clip knows any
        reference_landmarks: the same in the reference frame (b, 468, 2)
    """

    latents: Tensor
    reference_latents: Tensor
    motion_latents: Tensor | None
    waveform: Tensor | None
    head_speed: Tensor | None
    face_region: Tensor
    gestures: Tensor
    loss_weight: Tensor
    position: Tensor | None = None
    before: TrainingBatch | None = None
    landmarks: Tensor | None = None
    reference_landmarks: Tensor | None = None
