"""Training samples: random windows of recorded or generated clips, the same for the same random generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from emo_rt.cascade.audio import clip_window, samples_per_frame, window
from training.clips.clip import TrainingClip
from training.clips.folder import clip_paths
from training.clips.names import clip_name
from training.model.config import EmoConfig
from training.model.vae import VAE, to_float
from training.stages.latent_cache import LatentCache
from training.stages.regions import RegionWeights, box_mask, error_weights, region_around

#: Number of random windows from which one with a still head, or with a head of a wanted speed, is chosen.
STILL_CHOICES, SPEED_CHOICES = 8, 32


@dataclass
class TrainingBatch:
    """Samples of the image, video and speed stages; a field that the stage does not use is None.

    Attributes:
        latents: clean latents (b, f, c, h, w)
        reference_latents: latents of another frame of the same clip (b, c, h, w)
        motion_latents: latents of the n frames before (b, n, c, h, w)
        waveform: windows of sound that the audio encoder takes (b, samples); None for images without a voice
        position: index of the frame in the clip that its window of sound is for; 0 for videos
        head_speed: head speeds in degrees per frame (b, f + 2m); None if that of a clip is unknown
        face_region: masks of the face region (b, 1, resolution, resolution)
        loss_weight: weights of the squared error (b, f, 1, h, w), larger in the face and at the mouth
        before: batch of the f frames before these
    """

    latents: Tensor
    reference_latents: Tensor
    motion_latents: Tensor | None
    waveform: Tensor | None
    head_speed: Tensor | None
    face_region: Tensor
    loss_weight: Tensor
    position: int = 0
    before: TrainingBatch | None = None


@dataclass
class _Place:
    """Where a sample comes from.

    Attributes:
        clip: index of the clip
        first: index of the first frame in the clip
        reference: index of the reference frame in the clip
    """

    clip: int
    first: int
    reference: int


class ClipFolder:
    """The clips of a directory, all of them in memory, and random samples of them.

    Args:
        directory: directory of clips that `training.corpus` or `training.prepare` has written, in either form
        config: size of the model; its resolution and rates must be those of the clips
        vae: encoder of the frames, whose latents are cached beside the clips; None keeps the frames instead
        needs: fields of `TrainingClip` that a clip must have; clips without them are left out
        processes: index of this process and number of processes; they share the encoding
        pictures: whether the frames are read; their resolution does not matter otherwise

    Attributes:
        config: size of the model
        clips: clips by name, without their frames where latents stand for them
        latents: latents (t, c, h, w) in float16 of each clip; empty without a VAE
        voiced: indices of the clips with a voice; the others serve as single frames only

    Raises:
        FileNotFoundError: if there is no clip.
        ValueError: if a clip has another resolution, or no clip has the fields that are needed.
    """

    def __init__(
        self,
        directory: Path,
        config: EmoConfig,
        vae: VAE | None = None,
        *,
        needs: Sequence[str] = (),
        processes: tuple[int, int] = (0, 1),
        pictures: bool = True,
    ) -> None:
        self.config = config
        paths = clip_paths(directory)
        cache = LatentCache(directory, vae) if vae else None
        clips: dict[Path, TrainingClip] = {}
        latents: dict[Path, Tensor] = {}
        # Each process starts at another clip: what one has encoded, the others find in the cache.
        start = len(paths) * processes[0] // processes[1]
        for path in tqdm(paths[start:] + paths[:start], desc="reading clips", unit="clip", disable=processes[0] > 0):
            encoded = cache.find(clip_name(path)) if cache else None
            clip = TrainingClip.load(path, pictures=pictures and encoded is None)
            if not clip.knows(*needs):
                continue
            side = clip.frames.shape[1] if encoded is None else encoded.shape[-1] * config.vae_factor
            if pictures and side != config.resolution:
                raise ValueError(f"{path} has {side} pixels a side, {config.name} {config.resolution}")
            if cache:
                latents[path] = cache.encode(clip_name(path), clip.frames) if encoded is None else encoded
                clip = replace(clip, frames=clip.frames[:0].copy())  # a view would keep all of them
            clips[path] = clip
        if not clips:
            TrainingClip.load(paths[0], needs)  # raises the error that names the missing field
        self.clips = [clips[path] for path in sorted(clips)]
        self.latents = [latents[path] for path in sorted(latents)]
        self.voiced = [index for index, clip in enumerate(self.clips) if clip.knows("waveform")]

    def frames(self, rng: np.random.Generator, batch_size: int) -> tuple[Tensor, Tensor]:
        """Random frames (b, 3, h, w) in [-1, 1], and masks of the mouths in them (b, 1, h, w), 0 or 1."""
        frames, mouths = [], []
        for _ in range(batch_size):
            clip = self.clips[rng.integers(len(self.clips))]
            index = rng.integers(len(clip.frames))
            frames.append(torch.from_numpy(clip.frames[index]))
            mouths.append(box_mask(clip.mouth_box[index], self.config.resolution, margin=0.2))
        return to_float(torch.stack(frames)), torch.stack(mouths)

    def voices(self, rng: np.random.Generator, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random windows of sound, what is said in them, and what the mouth does.

        Every clip must have a waveform, phoneme classes and mouth labels: ask for them with `needs`.

        Returns:
            windows (b, samples) at 16 kHz, phoneme classes (b, k) at 50 Hz, and opening and width of the mouth
            (b, f, 2) in the frames of the clip that the window is for; beyond the end of a video the mouth rests.
        """
        waveforms, classes, mouths = [], [], []
        for _ in range(batch_size):
            clip = self.clips[rng.integers(len(self.clips))]
            first = int(rng.integers(len(clip.face_box)))
            start, _ = self._window(first)
            waveforms.append(self._waveform(clip, first))
            rate = len(clip.phoneme_class) // len(clip.face_box)
            position = rate * start // self._samples_per_frame
            wanted = np.arange(position, position + rate * self.config.audio_window_frames)
            inside = (wanted >= 0) & (wanted < len(clip.phoneme_class))
            classes.append(np.where(inside, clip.phoneme_class[wanted.clip(0, len(clip.phoneme_class) - 1)], 0))
            frames = slice(first, first + self.config.clip_frames)
            shape = np.stack([clip.mouth_opening[frames], clip.mouth_width[frames]], 1)
            rest = np.tile(np.array([0, 0.5], np.float32), (self.config.clip_frames - len(shape), 1))
            mouths.append(np.concatenate([shape, rest]))
        return torch.stack(waveforms), torch.from_numpy(np.stack(classes)), torch.from_numpy(np.stack(mouths)).float()

    def images(
        self,
        rng: np.random.Generator,
        batch_size: int,
        weights: RegionWeights,
        *,
        still: float = 0.0,
        voiced: bool = False,
    ) -> TrainingBatch:
        """Random single frames, each with another random frame of its clip as the reference (stage 1).

        Args:
            rng: source of all random choices
            batch_size: number of frames
            weights: weights of the error by region
            still: share of the frames whose reference is, of a few random ones, that with the head most in its place
            voiced: whether the sound comes along

        Raises:
            ValueError: if no clip has the voice that is asked for.
        """
        if voiced and not self.voiced:
            raise ValueError("no clip has a voice to hear")
        places = [self._place(rng, 1, clips=self.voiced if voiced else None) for _ in range(batch_size)]
        for place in places:
            if still and rng.random() < still:
                place.reference = self._alike(rng, place)
        batch = self._batch(rng, places, weights, frames=1, motion_frames=0)
        if voiced:
            batch.position = int(rng.integers(self.config.clip_frames))
            sounds = [self._waveform(self.clips[place.clip], place.first - batch.position) for place in places]
            batch.waveform = torch.stack(sounds)
        return batch

    def videos(
        self,
        rng: np.random.Generator,
        batch_size: int,
        weights: RegionWeights,
        *,
        still: float = 0.0,
        every_speed: float = 0.0,
        first_clips: float = 0.0,
        before: bool = False,
    ) -> TrainingBatch:
        """Random windows of n + f contiguous frames, of which the first n are motion frames (stages 2 and 3).

        Args:
            rng: source of all random choices
            batch_size: number of windows
            weights: weights of the error by region
            still: share of the windows with a still head: of a few random windows, the stillest
            every_speed: share of the windows whose head is as fast as a random one of the speed buckets: of a few
                random windows, the nearest
            first_clips: share of the windows that stand for the first clip of a video: their motion frames are zeros,
                and their reference is the frame before
            before: whether the batch has the f frames before the window too, with the same references

        Raises:
            ValueError: if no clip has a voice.
        """
        if not self.voiced:
            raise ValueError("no clip has a voice, and only the image stage trains on videos without sound")
        n, f = self.config.motion_frames, self.config.clip_frames
        places = []
        for _ in range(batch_size):
            kind, wanted = rng.random(), float(rng.choice(self.config.speed_centers))
            choices = SPEED_CHOICES if kind < still + every_speed else 1
            if kind < still:
                wanted, choices = 0.0, STILL_CHOICES
            drawn = [self._place(rng, f, n + f * before, self.voiced) for _ in range(choices)]
            places.append(min(drawn, key=lambda place: abs(self._movement(place, f, n) - wanted)))
        begins = rng.random(batch_size) < first_clips
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
        """A random window of a random clip, and a random reference frame.

        Args:
            rng: source of all random choices
            frames: length of the window
            behind: number of frames that the clip must have before the window
            clips: indices of the clips to choose from; None means all
        """
        clips = range(len(self.clips)) if clips is None else clips
        clip = clips[int(rng.integers(len(clips)))]
        length = len(self.latents[clip])
        return _Place(clip, int(rng.integers(behind, length - frames + 1)), int(rng.integers(length)))

    def _alike(self, rng: np.random.Generator, place: _Place) -> int:
        """Of a few random frames of the clip, the one whose face is nearest to where it is in the place's frame."""
        faces = self.clips[place.clip].face_box[:, :3]  # the height depends on the mouth
        candidates = rng.integers(len(faces), size=STILL_CHOICES)
        return int(candidates[np.abs(faces[candidates] - faces[place.first]).sum(1).argmin()])

    def _movement(self, place: _Place, frames: int, behind: int) -> float:
        """Mean head speed in degrees per frame; infinite where it is unknown, since the head may move."""
        speed = self.clips[place.clip].head_speed[place.first - behind : place.first + frames]
        return float(speed.mean()) if len(speed) else float("inf")

    def _batch(
        self, rng: np.random.Generator, places: list[_Place], weights: RegionWeights, frames: int, motion_frames: int
    ) -> TrainingBatch:
        """The samples of `places`, as videos if there are motion frames, else as images."""
        config, video = self.config, motion_frames > 0
        latents, references, motions, waveforms, speeds, regions, loss_weights = [], [], [], [], [], [], []
        for place in places:
            clip, encoded, first = self.clips[place.clip], self.latents[place.clip], place.first
            latents.append(encoded[first : first + frames].float())
            references.append(encoded[place.reference].float())
            motions.append(encoded[first - motion_frames : first].float())
            waveforms.append(self._waveform(clip, first))
            if clip.knows("head_speed"):
                speeds.append(head_speed_around(clip, first, frames, config.audio_margin))
            faces, mouths = clip.face_box[first : first + frames], clip.mouth_box[first : first + frames]
            margin = float(rng.uniform(0.5, 1.5)) * config.face_region_margin
            regions.append(region_around(faces, config.resolution, margin))
            loss_weights.append(error_weights(faces, mouths, config, weights))
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
        """Start and stop, in samples, of the sound that the audio encoder takes for a clip."""
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
    """Head speeds (frames + 2 * margin,) in degrees per frame around a window of frames.

    Beyond the ends of the clip, the speed at the end repeats.

    Args:
        clip: clip with head speeds
        first: index of the first frame of the window
        frames: length of the window
        margin: number of frames before the window and after it
    """
    around = np.arange(first - margin, first + frames + margin)
    return torch.from_numpy(clip.head_speed[around.clip(0, len(clip.head_speed) - 1)]).float()
