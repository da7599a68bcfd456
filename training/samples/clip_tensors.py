"""The clips of a folder as tensors on one device, laid end to end frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emo_rt.cascade.audio import samples_per_frame
from training.clips.clip import TrainingClip
from training.clips.face_mesh import FACE_POINTS
from training.model.config import EmoConfig


@dataclass
class ClipTensors:
    """k clips of t frames in all. Index i of a field with t entries is frame i - start of its clip.

    Attributes:
        start: index of the first frame of each clip (k,)
        length: number of frames of each clip (k,)
        voiced: indices of the clips with a voice (v,)
        face_box: x, y, width and height of the face in pixels (t, 4)
        mouth_box: the same of the mouth (t, 4)
        waveform: sound of each frame (t, samples), zeros where there is none
        head_speed: degrees per frame (t,), infinite where it is unknown, since the head may move
        gestures: yaw, pitch and roll of the head in degrees, and closing of the eyes (t, 4); 0 where they are unknown
        mouth: opening and width (t, 2); 0 where they are unknown
        phoneme_class: what is said (t, 2) at 50 Hz; 0 where it is unknown
        landmarks: x and y in pixels of the face mesh (t, 468, 2) in float16, NaN where they are unknown; None if no
            clip knows them
        knows_speed: whether the head speed of every clip with a voice is known
        pictures: RGB uint8 frames (t, h, w, 3); None where latents stand for them
        latents: latents in float16 (t, c, h, w), if there are any
    """

    start: Tensor
    length: Tensor
    voiced: Tensor
    face_box: Tensor
    mouth_box: Tensor
    waveform: Tensor
    head_speed: Tensor
    gestures: Tensor
    mouth: Tensor
    phoneme_class: Tensor
    landmarks: Tensor | None
    knows_speed: bool
    pictures: Tensor | None = None
    latents: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.start.device

    @classmethod
    def of(
        cls,
        clips: Sequence[TrainingClip],
        config: EmoConfig,
        device: torch.device,
        latents: list[Tensor] | None = None,
    ) -> ClipTensors:
        """Lays clips end to end.

        Args:
            clips: the clips, of which the labels count; the frames too, if all clips have them
            config: rates of sound and frames
            device: where the tensors go
            latents: latents (t, c, h, w) of each clip; the list is emptied on the way, to save memory
        """
        lengths = [len(clip.face_box) for clip in clips]
        samples = samples_per_frame(config.sample_rate, config.frames_per_second)

        def laid(name: str, width: int, unknown: float, dtype: type = np.float32) -> Tensor:
            """One field of all clips, `width` values for each frame."""
            parts: list[np.ndarray] = [
                _fitted(getattr(clip, name), length * width, unknown).astype(dtype).reshape(length, width)
                for clip, length in zip(clips, lengths, strict=True)
            ]
            return torch.from_numpy(np.concatenate(parts)).to(device)

        landmarks = None
        if any(clip.knows("landmarks") for clip in clips):
            landmarks = laid("landmarks", 2 * FACE_POINTS, np.nan, np.float16).unflatten(1, (FACE_POINTS, 2))
        length = torch.tensor(lengths)
        voiced = [index for index, clip in enumerate(clips) if clip.knows("waveform")]
        whole = all(len(clip.frames) == count for clip, count in zip(clips, lengths, strict=True))
        return cls(
            start=(length.cumsum(0) - length).to(device),
            length=length.to(device),
            voiced=torch.tensor(voiced, dtype=torch.long, device=device),
            face_box=laid("face_box", 4, 0),
            mouth_box=laid("mouth_box", 4, 0),
            waveform=laid("waveform", samples, 0),
            head_speed=laid("head_speed", 1, np.inf)[:, 0],
            gestures=torch.cat([laid("rotation", 3, 0), laid("blink", 1, 0)], 1),
            mouth=torch.cat([laid("mouth_opening", 1, 0), laid("mouth_width", 1, 0)], 1),
            phoneme_class=laid("phoneme_class", 2, 0, np.int64),
            landmarks=landmarks,
            knows_speed=all(clips[index].knows("head_speed") for index in voiced),
            pictures=_laid_end_to_end([torch.from_numpy(clip.frames) for clip in clips], device) if whole else None,
            latents=_laid_end_to_end(latents, device) if latents else None,
        )

    def sound(self, clip: Tensor, first: Tensor, frames: int) -> Tensor:
        """Windows of sound (b, frames * samples); zeros beyond the ends of a clip.

        Args:
            clip: index of each window's clip (b,)
            first: index of its first frame among the t frames (b,), which may lie before the clip
            frames: length of the windows in frames
        """
        wanted = first[:, None] + torch.arange(frames, device=self.device)
        start, stop = self.start[clip, None], (self.start + self.length)[clip, None]
        inside = (wanted >= start) & (wanted < stop)
        return (self.waveform[wanted.clamp(start, stop - 1)] * inside[..., None]).flatten(1)


def _fitted(values: np.ndarray, count: int, unknown: float) -> np.ndarray:
    """`count` values: flat, cut, or filled up with `unknown`."""
    flat = values.reshape(-1)[:count]
    return np.concatenate([flat, np.full(count - len(flat), unknown, flat.dtype if len(flat) else np.float32)])


def _laid_end_to_end(parts: list[Tensor], device: torch.device) -> Tensor:
    """Parts (t, ...) as one tensor. The list is emptied on the way, so that no two copies are in memory."""
    whole = torch.empty(sum(len(part) for part in parts), *parts[0].shape[1:], dtype=parts[0].dtype, device=device)
    stop = len(whole)
    while parts:
        part = parts.pop()
        whole[stop - len(part) : stop] = part
        stop -= len(part)
    return whole
