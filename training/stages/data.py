"""Training samples: random windows of recorded or generated clips, the same for a given seed and step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from emo_rt.cascade.audio import clip_window, samples_per_frame, window
from training.clips.clip import TrainingClip
from training.model.config import EmoConfig
from training.model.vae import VAE, to_float
from training.stages.regions import MOUTH_MARGIN, box_mask, latent_shares, region_around

#: Windows that one with a still head, or with a head as fast as wanted, is chosen from.
STILL_CHOICES, SPEED_CHOICES = 8, 32


@dataclass(frozen=True)
class Weights:
    """Of the squared error in the face box and at the mouth; elsewhere it is 1."""

    face: float = 1.0
    mouth: float = 1.0


@dataclass
class TrainingBatch:
    """What a step of one of EMO's stages trains on; a field that a stage does not use is None.

    Attributes:
        latents: clean latents (b, f, c, h, w).
        reference_latents: of another frame of the same clip (b, c, h, w).
        motion_latents: of the n frames before (b, n, c, h, w).
        waveform: the audio encoder's windows (b, samples).
        head_speed: (b, f + 2m) in degrees per frame; None if that of a clip is unknown.
        face_region: masks (b, 1, resolution, resolution).
        loss_weight: (b, f, 1, h, w), larger where the face and the mouth are.
        before: the same of the f frames before these.
    """

    latents: Tensor
    reference_latents: Tensor
    motion_latents: Tensor | None
    waveform: Tensor | None
    head_speed: Tensor | None
    face_region: Tensor
    loss_weight: Tensor
    before: TrainingBatch | None = None


@dataclass
class _Place:
    """Where a sample comes from: indices of a clip, of the first frame in it, and of the reference frame."""

    clip: int
    first: int
    reference: int


class ClipFolder:
    """The clips of a directory that ``training.corpus`` or ``training.prepare`` has written, whole in memory.

    Args:
        directory: holds ``*.npz``.
        config: the size; its resolution and rates must be the clips'.
        vae: encodes the frames once, into a cache beside the clips; None keeps the frames themselves.
        needs: fields of ``Clip``; footage that does not have them is left out.
        processes: which process of how many this is; they share the encoding.
        pictures: False leaves out the frames, whose resolution then does not matter.

    Raises:
        FileNotFoundError: if there is no clip.
        ValueError: if a clip has another resolution, or none has the fields that are needed.
    """

    def __init__(
        self,
        directory: Path,
        config: EmoConfig,
        vae: VAE | None = None,
        needs: Sequence[str] = (),
        processes: tuple[int, int] = (0, 1),
        pictures: bool = True,
    ) -> None:
        self.config = config
        paths = sorted(Path(directory).glob("*.npz"))
        cache = Path(directory) / f"latents-{_fingerprint(vae)}" if vae else None
        clips: dict[Path, TrainingClip] = {}
        latents: dict[Path, Tensor] = {}
        # Each process begins elsewhere: what one has encoded, the others find in the cache.
        begin = len(paths) * processes[0] // processes[1]
        for path in tqdm(paths[begin:] + paths[:begin], desc="reading clips", unit="clip", disable=processes[0] > 0):
            clip = TrainingClip.load(path)
            if not clip.knows(*needs):
                continue
            if pictures and clip.frames.shape[1] != config.resolution:
                raise ValueError(f"{path} has {clip.frames.shape[1]} pixels a side, {config.name} {config.resolution}")
            if vae and cache:
                latents[path] = _encode(clip, vae, cache / f"{path.stem}.npy")
            if vae or not pictures:  # the latents stand for them
                clip = replace(clip, frames=clip.frames[:0].copy())  # a view would keep all of them
            clips[path] = clip
        self.clips = [clips[path] for path in sorted(clips)]
        self.latents = [latents[path] for path in sorted(latents)]
        if not paths:
            raise FileNotFoundError(
                f"{directory} has no clips: make some with `python -m training.corpus` or `python -m training.prepare`"
            )
        if not self.clips:
            TrainingClip.load(paths[0], needs)  # says what it does not have
        #: Indices of the clips with a voice: the others serve single frames only.
        self.voiced = [index for index, clip in enumerate(self.clips) if clip.knows("waveform")]

    def frames(self, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """Random frames (b, 3, h, w) in [-1, 1] and the mouth's place in them (b, 1, h, w), 0 or 1."""
        frames, mouths = [], []
        for _ in range(batch):
            clip = self.clips[rng.integers(len(self.clips))]
            index = rng.integers(len(clip.frames))
            frames.append(torch.from_numpy(clip.frames[index]))
            mouths.append(box_mask(clip.mouth_box[index], self.config.resolution, margin=0.2))
        return to_float(torch.stack(frames)), torch.stack(mouths)

    def phonemes(self, rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """Windows of sound (b, samples) and the phoneme class in each of their 50 Hz features (b, k).

        Every clip must have a waveform and phoneme classes (``needs``).
        """
        waveforms, classes = [], []
        for _ in range(batch):
            clip = self.clips[rng.integers(len(self.clips))]
            first = int(rng.integers(len(clip.face_box)))
            start, _ = self._window(first)
            waveforms.append(self._waveform(clip, first))
            rate = len(clip.phoneme_class) // len(clip.face_box)
            position = rate * start // self._samples_per_frame
            wanted = np.arange(position, position + rate * self.config.audio_window_frames)
            inside = (wanted >= 0) & (wanted < len(clip.phoneme_class))
            classes.append(np.where(inside, clip.phoneme_class[wanted.clip(0, len(clip.phoneme_class) - 1)], 0))
        return torch.stack(waveforms), torch.from_numpy(np.stack(classes))

    def images(self, rng: np.random.Generator, batch: int, weights: Weights) -> TrainingBatch:
        """Single frames, each with another random frame of its clip as the reference (stage 1)."""
        places = [self._place(rng, frames=1) for _ in range(batch)]
        return self._batch(rng, places, weights, frames=1, motion_frames=0)

    def videos(
        self,
        rng: np.random.Generator,
        batch: int,
        weights: Weights,
        *,
        still: float = 0.0,
        every_speed: float = 0.0,
        first_clips: float = 0.0,
        before: bool = False,
    ) -> TrainingBatch:
        """n + f contiguous frames, of which the first n are motion frames (stages 2 and 3).

        Args:
            still: share of the windows where the head moves little: of a few random ones, the stillest.
            every_speed: share of the windows where it moves as fast as a random one of the speed buckets says: of a few
                random ones, the nearest.
            first_clips: share that stands for the first clip of a video: the motion frames are zeros, and the
                reference is the frame before.
            before: also give the f frames before these, with the same references.

        Raises:
            ValueError: if no clip has a voice.
        """
        if not self.voiced:
            raise ValueError("no clip has a voice, and only the image stage trains on videos without sound")
        n, f = self.config.motion_frames, self.config.clip_frames
        places = []
        for _ in range(batch):
            kind, wanted = rng.random(), float(rng.choice(self.config.speed_centers))
            choices = SPEED_CHOICES if kind < still + every_speed else 1
            if kind < still:
                wanted, choices = 0.0, STILL_CHOICES
            drawn = [self._place(rng, f, n + f * before, self.voiced) for _ in range(choices)]
            places.append(min(drawn, key=lambda place: abs(self._movement(place, f, n) - wanted)))
        begins = rng.random(batch) < first_clips
        for place, begin in zip(places, begins, strict=True):
            place.reference = place.first - 1 if begin else place.reference
        videos = self._batch(rng, places, weights, f, n)
        assert videos.motion_latents is not None
        videos.motion_latents[torch.from_numpy(begins)] = 0
        if before:
            earlier = [replace(place, first=place.first - f) for place in places]
            videos.before = self._batch(rng, earlier, weights, f, n)
        return videos

    def _place(
        self, rng: np.random.Generator, frames: int, behind: int = 0, clips: Sequence[int] | None = None
    ) -> _Place:
        """A random window of ``frames`` frames with as many as ``behind`` before it, and a random reference.

        From one of ``clips`` (default: all).
        """
        clips = range(len(self.clips)) if clips is None else clips
        clip = clips[int(rng.integers(len(clips)))]
        length = len(self.latents[clip])
        return _Place(clip, int(rng.integers(behind, length - frames + 1)), int(rng.integers(length)))

    def _movement(self, place: _Place, frames: int, behind: int) -> float:
        """Mean head speed in degrees per frame; infinite where it is unknown: nothing says that the head is still."""
        speed = self.clips[place.clip].head_speed[place.first - behind : place.first + frames]
        return float(speed.mean()) if len(speed) else float("inf")

    def _batch(
        self, rng: np.random.Generator, places: list[_Place], weights: Weights, frames: int, motion_frames: int
    ) -> TrainingBatch:
        config = self.config
        latents, references, motions, waveforms, speeds, regions, loss_weights = [], [], [], [], [], [], []
        for place in places:
            clip, encoded, first = self.clips[place.clip], self.latents[place.clip], place.first
            latents.append(encoded[first : first + frames].float())
            references.append(encoded[place.reference].float())
            motions.append(encoded[first - motion_frames : first].float())
            waveforms.append(self._waveform(clip, first))
            if clip.knows("head_speed"):
                speeds.append(head_speed_around(clip, first, frames, config.audio_margin))
            margin = float(rng.uniform(0.5, 1.5)) * config.face_region_margin
            regions.append(region_around(clip.face_box[first : first + frames], config.resolution, margin))
            faces = latent_shares(clip.face_box[first : first + frames], config, margin=0.0)
            mouths = latent_shares(clip.mouth_box[first : first + frames], config, MOUTH_MARGIN)
            at_mouth = 1 + (weights.mouth - 1) * mouths
            loss_weights.append(torch.maximum(1 + (weights.face - 1) * faces, at_mouth))
        video = motion_frames > 0
        return TrainingBatch(
            latents=torch.stack(latents),
            reference_latents=torch.stack(references),
            motion_latents=torch.stack(motions) if video else None,
            waveform=torch.stack(waveforms) if video else None,
            head_speed=torch.stack(speeds) if video and len(speeds) == len(places) else None,
            face_region=torch.stack(regions),
            loss_weight=torch.stack(loss_weights),
        )

    @property
    def _samples_per_frame(self) -> int:
        return samples_per_frame(self.config.sample_rate, self.config.frames_per_second)

    def _window(self, first_frame: int) -> tuple[int, int]:
        return clip_window(
            first_frame,
            clip_frames=self.config.clip_frames,
            audio_margin=self.config.audio_margin,
            audio_context=self.config.audio_context,
            samples_per_frame=self._samples_per_frame,
        )

    def _waveform(self, clip: TrainingClip, first_frame: int) -> Tensor:
        return torch.from_numpy(window(clip.waveform, *self._window(first_frame)))


def head_speed_around(clip: TrainingClip, first: int, frames: int, margin: int) -> Tensor:
    """Head speeds (frames + 2 * margin,) in degrees per frame; those beyond the clip's ends repeat its last ones."""
    around = np.arange(first - margin, first + frames + margin)
    return torch.from_numpy(clip.head_speed[around.clip(0, len(clip.head_speed) - 1)]).float()


def _fingerprint(vae: VAE) -> str:
    """Of all that latents depend on: the decoder may change."""
    digest = hashlib.sha256(str(vae.scaling_factor).encode())
    for name, tensor in vae.state_dict().items():
        if not any(part in name for part in ("decoder.", "post_quant_conv.")):
            digest.update((tensor.detach().float().cpu() + 0.0).numpy().tobytes())  # -0.0 and 0.0 are the same weight
    return digest.hexdigest()[:12]


@torch.no_grad()
def _encode(clip: TrainingClip, vae: VAE, path: Path) -> Tensor:
    """Latents (t, c, h, w) in float16 of a clip's frames, from the cache if they are there."""
    if not path.exists():
        device = next(vae.parameters()).device
        frames = to_float(torch.from_numpy(clip.frames)).split(32)
        latents = torch.cat([vae.encode(part.to(device)).half().cpu() for part in frames])
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")  # another process may encode the same clip
        with partial.open("wb") as file:
            np.save(file, latents.numpy())
        partial.rename(path)
    return torch.from_numpy(np.load(path))
