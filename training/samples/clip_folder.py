"""Training samples: random windows of recorded or generated clips, on the device that computes.

All random choices are PyTorch's, so that they follow from `torch.manual_seed`, and a step can be captured whole in a
CUDA graph: nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.clips.clip import TrainingClip
from training.clips.folder import clip_paths
from training.clips.names import clip_name
from training.model.config import EmoConfig
from training.model.vae import VAE, to_float
from training.samples.batch import TrainingBatch
from training.samples.clip_tensors import ClipTensors
from training.samples.latent_cache import LatentCache
from training.samples.regions import (
    MOUTH_MARGIN,
    RegionWeights,
    box_mask,
    error_weights,
    latent_shares,
    region_around,
)
from training.samples.views import random_view, seen, view_names

#: Number of random windows from which one with a still head, or with a head of a wanted speed, is chosen.
STILL_CHOICES, SPEED_CHOICES = 8, 32

#: Threads that read clips; most of the work is that of libraries, which compute beside each other.
READING_THREADS = 4

_NO_FRAMES = np.zeros((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True)
class WindowChoice:
    """Which windows the samples of the video and speed stages come from.

    Attributes:
        still: share of the windows with a still head: of a few random windows, the stillest
        every_speed: share of the windows whose head is as fast as a random one of the speed buckets: of a few random
            windows, the nearest
        first_clips: share of the windows that stand for the first clip of a video: their motion frames are zeros, and
            their reference is the frame before
        before: number of clips before the window that the batch has too, with the same references
        other_mouths: share of the windows whose motion frames and reference have the mouths of another moment
        closed_mouths: share of the windows whose reference is, of a few random frames, that with the mouth most closed
            and the head most in its place
    """

    still: float = 0.0
    every_speed: float = 0.0
    first_clips: float = 0.0
    before: int = 0
    other_mouths: float = 0.0
    closed_mouths: float = 0.0


@dataclass(frozen=True)
class _Places:
    """Where samples come from: a clip, and two of the frames of all clips, each (b,).

    Attributes:
        clip: index of the clip
        first: the sample's first frame
        reference: its reference frame
    """

    clip: Tensor
    first: Tensor
    reference: Tensor


class ClipFolder:
    """The clips of a directory, all of them in memory, and random samples of them.

    Args:
        directory: directory of clips that `training.corpus` or `training.prepare` has written, in either form
        config: size of the model; its resolution and rates must be those of the clips
        vae: encoder of the frames, whose latents are cached beside the clips; None keeps the frames instead
        needs: fields of `TrainingClip` that a clip must have; clips without them are left out
        processes: index of this process and number of processes; they share the encoding
        pictures: whether the frames are read; their resolution does not matter otherwise
        shortest: number of frames that a clip must have; shorter ones are left out
        device: where the clips are kept and the samples are made; None means on the CPU
        views: number of views of each clip, as `training.samples.views` makes them; the first is the clip as it is

    Attributes:
        config: size of the model
        names: name of each clip
        tensors: the clips themselves

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
        shortest: int = 1,
        device: torch.device | None = None,
        views: int = 1,
    ) -> None:
        self.config = config
        device = device or torch.device("cpu")
        paths = clip_paths(directory)
        cache = LatentCache(directory, vae) if vae else None
        clips: dict[str, TrainingClip] = {}
        latents: dict[str, Tensor] = {}

        def read(path: Path) -> list[tuple[str, TrainingClip, Tensor | None]]:
            """Name, labels and latents of each view of a clip; the frames too where there are no latents."""
            names = view_names(clip_name(path), views if pictures else 1)
            found = [cache.find(name) if cache else None for name in names]
            clip = TrainingClip.load(path, pictures=pictures and any(known is None for known in found))
            if not clip.knows(*needs) or len(clip.face_box) < shortest:
                return []
            side = found[0].shape[-1] * config.vae_factor if found[0] is not None else clip.frames.shape[1]
            if pictures and side != config.resolution:
                raise ValueError(f"{path} has {side} pixels a side, {config.name} {config.resolution}")
            shown = []
            for number, (name, known) in enumerate(zip(names, found, strict=True)):
                view = clip if known is None else replace(clip, frames=_NO_FRAMES)
                view = seen(view, random_view(view, number, config.resolution), device) if number else view
                if cache and known is None:
                    known = cache.encode(name, view.frames)
                shown.append((name, view if known is None else replace(view, frames=_NO_FRAMES), known))
            return shown

        # Each process starts at another clip: what one has encoded, the others find in the cache.
        start = len(paths) * processes[0] // processes[1]
        with ThreadPoolExecutor(READING_THREADS) as executor:
            found = executor.map(read, paths[start:] + paths[:start])
            for views_of_clip in tqdm(found, "reading clips", len(paths), unit="clip", disable=processes[0] > 0):
                for name, clip, known in views_of_clip:
                    clips[name] = clip
                    if known is not None:
                        latents[name] = known
        if not clips:
            TrainingClip.load(paths[0], needs)  # raises the error that names the missing field
            raise ValueError(f"no clip in {directory} has the {shortest} frames that a sample needs")
        self.names = sorted(clips)
        self.tensors = ClipTensors.of(
            [clips.pop(name) for name in self.names],
            config,
            device,
            [latents.pop(name) for name in self.names] if cache else None,
        )
        self._speeds = torch.tensor(config.speed_centers, device=device)
        self._rest = torch.tensor([0, 0.5], device=device)  # opening and width of a mouth at rest

    def frames(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Random frames (b, 3, h, w) in [-1, 1], and masks of the mouths in them (b, 1, h, w), 0 or 1."""
        pictures = self.tensors.pictures
        assert pictures is not None
        index = self._draw((batch_size,), 1).first
        return to_float(pictures[index]), box_mask(self.tensors.mouth_box[index], self.config.resolution, margin=0.2)

    def voices(self, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Random windows of sound, what is said in them, and what the mouth does.

        Every clip must have a waveform, phoneme classes and mouth labels: ask for them with `needs`.

        Returns:
            windows (b, samples) at 16 kHz, phoneme classes (b, k) at 50 Hz, and opening and width of the mouth
            (b, f, 2) in the frames of the clip that the window is for; beyond the end of a video the mouth rests.
        """
        clips, places = self.tensors, self._draw((batch_size,), 1)
        around = self.config.audio_margin + self.config.audio_context

        def labels(values: Tensor, rest: Tensor, first: int, frames: int) -> Tensor:
            """Values of frames from `first` on, counted from the place; `rest` beyond the ends of the clip."""
            wanted = places.first[:, None] + torch.arange(first, first + frames, device=clips.device)
            start = clips.start[places.clip, None]
            stop = start + clips.length[places.clip, None]
            inside = ((wanted >= start) & (wanted < stop))[..., None]
            return torch.where(inside, values[wanted.clamp(start, stop - 1)], rest)

        silence = clips.phoneme_class.new_zeros(())
        classes = labels(clips.phoneme_class, silence, -around, self.config.audio_window_frames).flatten(1)
        mouths = labels(clips.mouth, self._rest, 0, self.config.clip_frames)
        return self._sound(places.clip, places.first), classes, mouths

    def images(
        self, batch_size: int, weights: RegionWeights, *, still: float = 0.0, voiced: bool = False
    ) -> TrainingBatch:
        """Random single frames, each with another random frame of its clip as the reference (stage 1).

        Args:
            batch_size: number of frames
            weights: weights of the error by region
            still: share of the frames whose reference is, of a few random ones, that with the head most in its place
            voiced: whether the sound comes along, with the frame anywhere in its clip

        Raises:
            ValueError: if no clip has the voice that is asked for.
        """
        if voiced and not len(self.tensors.voiced):
            raise ValueError("no clip has a voice to hear")
        device = self.tensors.device
        places = self._draw((batch_size,), 1, voiced=voiced)
        if still:
            alike = torch.rand(batch_size, device=device) < still
            places = replace(places, reference=torch.where(alike, self._alike(places), places.reference))
        batch = self._batch(places, weights, frames=1, motion_frames=0)
        if voiced:
            batch.position = torch.randint(self.config.clip_frames, (batch_size,), device=device)
            batch.waveform = self._sound(places.clip, places.first - batch.position)
        return batch

    def videos(self, batch_size: int, weights: RegionWeights, choice: WindowChoice = WindowChoice()) -> TrainingBatch:
        """Random windows of n + f contiguous frames, of which the first n are motion frames (stages 2 and 3).

        Args:
            batch_size: number of windows
            weights: weights of the error by region
            choice: which windows

        Raises:
            ValueError: if no clip has a voice.
        """
        if not len(self.tensors.voiced):
            raise ValueError("no clip has a voice, and only the image stage trains on videos without sound")
        n, f, device = self.config.motion_frames, self.config.clip_frames, self.tensors.device
        behind = n + f * choice.before
        places = self._chosen(batch_size, choice, behind)
        if choice.closed_mouths:
            closed = torch.rand(batch_size, device=device) < choice.closed_mouths
            places = replace(places, reference=torch.where(closed, self._alike(places, closed=True), places.reference))
        begins = torch.rand(batch_size, device=device) < choice.first_clips
        places = replace(places, reference=torch.where(begins, places.first - 1, places.reference))
        videos = self._batch(places, weights, f, n)
        assert videos.motion_latents is not None
        if choice.other_mouths:
            self._exchange_mouths(videos, places, choice.other_mouths)
        videos.motion_latents = videos.motion_latents * ~begins[:, None, None, None, None]
        latest = videos
        for _ in range(choice.before):
            places = replace(places, first=places.first - f)
            latest.before = self._batch(places, weights, f, n)
            latest = latest.before
        return videos

    def _exchange_mouths(self, videos: TrainingBatch, places: _Places, share: float) -> None:
        """Gives a share of the windows the mouths of another moment, in motion frames and reference."""
        clips, n = self.tensors, self.config.motion_frames
        assert clips.latents is not None
        assert videos.motion_latents is not None
        size = len(places.clip)
        exchanged = (torch.rand(size, device=clips.device) < share)[:, None, None, None]
        within = torch.rand(size, device=clips.device, dtype=torch.float64) * (clips.length[places.clip] - n + 1)
        other = (clips.start[places.clip] + within.long())[:, None] + torch.arange(n, device=clips.device)

        def at_mouth(frames: Tensor) -> Tensor:
            return latent_shares(clips.mouth_box[frames], self.config, MOUTH_MARGIN) > 0

        earlier = places.first[:, None] + torch.arange(-n, 0, device=clips.device)
        others = clips.latents[other].float()
        mask = at_mouth(earlier) & exchanged[:, None]
        videos.motion_latents = torch.where(mask, others, videos.motion_latents)
        mask = at_mouth(places.reference) & exchanged
        videos.reference_latents = torch.where(mask, others[:, 0], videos.reference_latents)
        if clips.landmarks is not None and videos.reference_landmarks is not None:
            places_there = clips.landmarks[other[:, 0]].float()
            moved = _at(mask, places_there / self.config.vae_factor)
            videos.reference_landmarks = torch.where(moved[..., None], places_there, videos.reference_landmarks)

    def _draw(self, shape: tuple[int, ...], frames: int, behind: int = 0, *, voiced: bool = False) -> _Places:
        """Random windows of random clips, and random reference frames; each field has this shape.

        Args:
            shape: shape of the fields
            frames: length of the windows
            behind: number of frames that a clip must have before its window
            voiced: whether the clips must have a voice
        """
        clips = self.tensors
        clip = torch.randint(len(clips.voiced) if voiced else len(clips.start), shape, device=clips.device)
        clip = clips.voiced[clip] if voiced else clip
        start, length = clips.start[clip], clips.length[clip]
        first, reference = (
            (torch.rand(shape, device=clips.device, dtype=torch.float64) * choices).long()
            for choices in (length - frames - behind + 1, length)
        )
        return _Places(clip, start + behind + first, start + reference)

    def _chosen(self, batch_size: int, choice: WindowChoice, behind: int) -> _Places:
        """Windows of clips with a voice, some of them chosen by how fast the head turns in them."""
        n, f, device = self.config.motion_frames, self.config.clip_frames, self.tensors.device
        share = choice.still + choice.every_speed
        choices = SPEED_CHOICES if choice.every_speed else STILL_CHOICES if choice.still else 1
        drawn = self._draw((batch_size, choices), f, behind, voiced=True)
        kind = torch.rand(batch_size, 1, device=device)
        wanted = self._speeds[torch.randint(len(self._speeds), (batch_size, 1), device=device)]
        wanted = wanted * (kind >= choice.still)
        number = torch.where(kind < choice.still, STILL_CHOICES, torch.where(kind < share, SPEED_CHOICES, 1))
        around = torch.arange(-n, f, device=device)
        movement = self.tensors.head_speed[drawn.first[..., None] + around].mean(-1)
        distance = (movement - wanted).abs().nan_to_num(posinf=1e9)
        outside = torch.arange(choices, device=device) >= number
        best = distance.masked_fill(outside, 1e10).argmin(1, keepdim=True)
        return _Places(*(field.gather(1, best)[:, 0] for field in (drawn.clip, drawn.first, drawn.reference)))

    def _alike(self, places: _Places, closed: bool = False) -> Tensor:
        """Of a few random frames of each clip, that whose face is nearest to where it is in the place's frame (b,).

        Args:
            places: the places
            closed: whether an open mouth counts as much as a face that is a face's width away
        """
        clips = self.tensors
        faces = clips.face_box[:, :3]  # the height depends on the mouth
        shape = (len(places.clip), STILL_CHOICES)
        within = torch.rand(shape, device=clips.device, dtype=torch.float64) * clips.length[places.clip, None]
        candidates = clips.start[places.clip, None] + within.long()
        here = faces[places.first][:, None]
        distance = (faces[candidates] - here).abs().sum(-1) / here[..., 2]
        if closed:
            distance = distance + clips.mouth[candidates, 0]
        return candidates.gather(1, distance.argmin(1, keepdim=True))[:, 0]

    def _batch(self, places: _Places, weights: RegionWeights, frames: int, motion_frames: int) -> TrainingBatch:
        """The samples of `places`, as videos if there are motion frames, else as images."""
        config, clips, video = self.config, self.tensors, motion_frames > 0
        latents = clips.latents
        assert latents is not None
        shown, earlier = (
            places.first[:, None] + torch.arange(first, stop, device=clips.device)
            for first, stop in ((0, frames), (-motion_frames, 0))
        )
        margin = (0.5 + torch.rand(len(shown), device=clips.device)) * config.face_region_margin
        return TrainingBatch(
            latents=latents[shown].float(),
            reference_latents=latents[places.reference].float(),
            motion_latents=latents[earlier].float() if video else None,
            waveform=self._sound(places.clip, places.first) if video else None,
            head_speed=self._head_speed(places, frames) if video and clips.knows_speed else None,
            face_region=region_around(clips.face_box[shown], config.resolution, margin),
            gestures=self._gestures(places, shown),
            loss_weight=error_weights(clips.face_box[shown], clips.mouth_box[shown], config, weights),
            landmarks=None if clips.landmarks is None else clips.landmarks[shown].float(),
            reference_landmarks=None if clips.landmarks is None else clips.landmarks[places.reference].float(),
        )

    def _sound(self, clip: Tensor, first: Tensor) -> Tensor:
        """Windows (b, samples) that the audio encoder takes for clips whose first frames are `first` (b,)."""
        config = self.config
        around = config.audio_margin + config.audio_context
        return self.tensors.sound(clip, first - around, config.audio_window_frames)

    def _gestures(self, places: _Places, shown: Tensor) -> Tensor:
        """Gestures (b, f, 4) of the frames `shown` (b, f): the head is turned away from the reference frame's."""
        gestures = self.tensors.gestures
        away = gestures[shown, :3] - gestures[places.reference, None, :3]
        return torch.cat([away, gestures[shown, 3:]], -1)

    def _head_speed(self, places: _Places, frames: int) -> Tensor:
        """Head speeds (b, f + 2m) in degrees per frame; beyond the ends of a clip, the speed at the end repeats."""
        clips, margin = self.tensors, self.config.audio_margin
        around = places.first[:, None] + torch.arange(-margin, frames + margin, device=clips.device)
        start, length = clips.start[places.clip, None], clips.length[places.clip, None]
        return clips.head_speed[around.clamp(start, start + length - 1)]


def _at(mask: Tensor, places: Tensor) -> Tensor:
    """Values (b, k) of masks (b, 1, h, w) at places (b, k, 2), x and y in cells; unknown ones are at the corner."""
    column, row = places.nan_to_num().long().clamp(0, mask.shape[-1] - 1).unbind(-1)
    return mask.flatten(1).gather(1, row * mask.shape[-1] + column)
