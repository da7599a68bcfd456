"""Trains the face reader on pictures with exact labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training.clips.clip import TrainingClip
from training.clips.folder import READER_LABELS, clip_paths
from training.clips.names import clip_name
from training.evaluation.reader import (
    ATTENTION_STRIDE,
    READER_RESOLUTION,
    ROTATION_UNIT,
    FaceReader,
    ReaderOutputs,
    resized,
)

_MIRRORED = (-1.0, 1.0, -1.0)  # a mirror turns yaw and roll around

_EYES = (0.08, 0.28, 0.92, 0.55)  # left, top, right, bottom of the band that holds both eyes, in sizes of the face box

_TEMPERATURE = 0.1  # of the identities' likeness

_OF_EACH = 4  # pictures of each person in a batch


@dataclass(frozen=True)
class ReaderRecipe:
    """How a reader is trained.

    Attributes:
        steps: number of optimizer steps.
        batch_size: number of pictures in a batch, four of each person.
        learning_rate: highest learning rate.
        frames_per_clip: number of frames of each clip that are trained on.
        seed: seed of the weights, the frames and their changes.

    Raises:
        ValueError: if a batch holds fewer than two people, or a clip gives fewer than four frames.
    """

    steps: int = 1000
    batch_size: int = 48
    learning_rate: float = 3e-3
    frames_per_clip: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 2 * _OF_EACH or self.frames_per_clip < _OF_EACH:
            raise ValueError(f"a batch needs {_OF_EACH} frames of two clips or more")


class ReaderBatch(NamedTuple):
    """Four pictures of each of b / 4 people: first one of everybody, then the second of everybody, and so on.

    Attributes:
        images: pictures (b, 3, 256, 256) in [-1, 1].
        mouth_box: left, top, right and bottom (b, 4) in [-1, 1].
        face_box: left, top, right and bottom (b, 4) in [-1, 1].
        labels: mouth opening, mouth width, blink (b, 6), then yaw, pitch, roll in units of 20 degrees.
    """

    images: Tensor
    mouth_box: Tensor
    face_box: Tensor
    labels: Tensor


@dataclass
class LabelledPictures:
    """Single frames with their labels, the same number n of each clip.

    Attributes:
        frames: uint8 pictures (clips, n, 3, 256, 256).
        boxes: boxes (clips, n, 2, 4) of mouth and face: left, top, right and bottom in [-1, 1].
        labels: labels (clips, n, 6), as in `ReaderBatch`.
        people: (clips,) who is seen, by name.
    """

    frames: Tensor
    boxes: Tensor
    labels: Tensor
    people: np.ndarray

    @classmethod
    def read(cls, directories: Sequence[Path], frames_per_clip: int, rng: np.random.Generator) -> LabelledPictures:
        """Random frames of every clip, one of each equally long part; up to a quarter are replaced by blinking frames.

        Raises:
            FileNotFoundError: if a directory has no clip.
            ValueError: if a clip lacks a label.
        """
        paths = [path for directory in directories for path in clip_paths(directory)]
        # All in one piece from the start: collected clip by clip, it would take several times the memory.
        shape = (len(paths), frames_per_clip)
        frames = torch.empty(*shape, 3, READER_RESOLUTION, READER_RESOLUTION, dtype=torch.uint8)
        boxes, labels = torch.empty(*shape, 2, 4), torch.empty(*shape, 6)
        people = []
        for index, path in enumerate(tqdm(paths, desc="reading clips", unit="clip")):
            clip = TrainingClip.load(path, needs=READER_LABELS)
            edges = np.linspace(0, len(clip.frames), frames_per_clip + 1)
            kept = (edges[:-1] + rng.random(frames_per_clip) * np.diff(edges)).astype(int)
            blinking = np.flatnonzero(clip.blink)
            replaced = min(len(blinking), frames_per_clip // 4)
            kept[rng.permutation(frames_per_clip)[:replaced]] = rng.permutation(blinking)[:replaced]
            sides = np.stack([clip.mouth_box[kept], clip.face_box[kept]], 1)
            sides = np.concatenate([sides[..., :2], sides[..., :2] + sides[..., 2:]], 2)
            sides = sides / (clip.frames.shape[1] / 2) - 1
            columns = (clip.mouth_opening, clip.mouth_width, clip.blink, *clip.rotation.T / ROTATION_UNIT)
            pictures = resized(torch.from_numpy(clip.frames[kept]).movedim(-1, 1).float())
            frames[index] = pictures.round().clamp(0, 255)
            boxes[index] = torch.from_numpy(sides)
            labels[index] = torch.from_numpy(np.stack([column[kept] for column in columns], 1))
            people.append(clip.person or f"clip {path.parent} {clip_name(path)}")
        return cls(frames, boxes, labels, np.array(people))

    def batch(self, rng: np.random.Generator, size: int) -> ReaderBatch:
        """Up to `size` random pictures, changed as other heads, other places and a soft decoder would."""
        clips, frames = self.frames.shape[:2]
        order = rng.permutation(clips)
        firsts = np.sort(np.unique(self.people[order], return_index=True)[1])  # one clip of everybody
        people = order[firsts][: size // _OF_EACH]
        moments = np.stack([rng.permutation(frames)[:_OF_EACH] for _ in people], 1).reshape(-1)
        chosen = (torch.from_numpy(np.tile(people, _OF_EACH)), torch.from_numpy(moments))
        images, boxes, labels = self.frames[chosen].float() / 127.5 - 1, self.boxes[chosen], self.labels[chosen]
        images = _exchanged_surroundings(rng, images, boxes[:, 1])
        images, boxes, labels = _moved(rng, images, boxes, labels)
        return ReaderBatch(degraded(rng, images), boxes[:, 0], boxes[:, 1], labels)


def train_reader(data: Sequence[Path], recipe: ReaderRecipe, init: FaceReader | None = None) -> FaceReader:
    """A reader trained on random frames; on the CPU, the same for the same recipe and clips.

    Args:
        data: directories of clips with labels.
        recipe: how to train.
        init: reader to go on from, which is trained in place; None means a new one.

    Raises:
        FileNotFoundError: if a directory has no clip.
        ValueError: if a clip lacks a label.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    pictures = LabelledPictures.read(data, recipe.frames_per_clip, rng)
    reader = (init or FaceReader()).train()
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps + 1, pct_start=0.15
    )
    progress = tqdm(range(recipe.steps), desc="reader", unit="step", smoothing=0.05)
    for step in progress:
        batch = pictures.batch(rng, recipe.batch_size)
        errors = _errors(reader(batch.images.unflatten(0, (_OF_EACH, -1))), batch)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(errors.values())).sum().backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            progress.set_postfix({name: f"{value.item():.4f}" for name, value in errors.items()})
    return reader.eval()


def inside_boxes(boxes: Tensor, margin: float) -> Tensor:
    """Masks (b, 1, 256, 256): 1 inside of boxes (b, 4) enlarged by `margin` of their size on each side, 0 outside."""
    size = boxes[:, 2:] - boxes[:, :2]
    low, high = boxes[:, :2] - margin * size, boxes[:, 2:] + margin * size
    pixels = (torch.arange(READER_RESOLUTION) + 0.5) * 2 / READER_RESOLUTION - 1
    within = (pixels > low[..., None]) & (pixels < high[..., None])  # [b, 2, pixels]
    return (within[:, 1, :, None] & within[:, 0, None]).float()[:, None]


def attention_target(boxes: Tensor) -> Tensor:
    """How much of each cell boxes (b, 4; left, top, right, bottom in [-1, 1]) cover: distributions (b, cells)."""
    cells = READER_RESOLUTION // ATTENTION_STRIDE
    edges = torch.linspace(-1, 1, cells + 1, device=boxes.device)

    def overlap(low: Tensor, high: Tensor) -> Tensor:
        return (torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])).clamp(min=0)

    covered = overlap(boxes[:, 1], boxes[:, 3])[:, :, None] * overlap(boxes[:, 0], boxes[:, 2])[:, None]
    covered = covered.flatten(1)
    return covered / covered.sum(1, keepdim=True).clamp(min=1e-6)


def contrastive_error(identity: Tensor) -> Tensor:
    """InfoNCE () of identities (b, 64): the second half's people are those of the first half, in the same order."""
    likeness = identity @ identity.T / _TEMPERATURE
    likeness = likeness.masked_fill(torch.eye(len(identity), dtype=torch.bool, device=identity.device), -1e4)
    people = len(identity) // 2
    return functional.cross_entropy(likeness, torch.arange(len(identity), device=identity.device).roll(people))


def _errors(outputs: ReaderOutputs, batch: ReaderBatch) -> dict[str, Tensor]:
    """The weighted terms of the loss."""
    opening, width = (outputs.mouth - batch.labels[:, :2]).square().mean(0)
    size = batch.face_box[:, 2:] - batch.face_box[:, :2]
    corner = batch.face_box[:, :2]
    eyes = torch.cat([corner + size * torch.tensor(_EYES[:2]), corner + size * torch.tensor(_EYES[2:])], 1)
    targets = torch.stack([attention_target(batch.mouth_box), attention_target(eyes)], 1)
    return {
        "opening": 4 * opening,
        "width": width,
        "blink": (outputs.blink - batch.labels[:, 2]).square().mean(),
        "rotation": 2 * (outputs.rotation - batch.labels[:, 3:]).square().mean(),
        "place": 0.1 * -(targets * outputs.attention.log_softmax(2)).sum(2).mean(),
        "centre": 4 * (outputs.face_centre - (corner + size / 2)).square().mean(),
        "identity": 0.1 * contrastive_error(outputs.identity[: 2 * len(size) // _OF_EACH]),
    }


def _exchanged_surroundings(rng: np.random.Generator, images: Tensor, face_boxes: Tensor) -> Tensor:
    """Gives some pictures another person's surroundings: what is around a face says nothing of whose it is."""
    exchanged = (_uniform(rng, 0, 1, len(images)) < 0.4).float()[:, None, None, None]
    outside = (1 - inside_boxes(face_boxes, margin=0.15)) * exchanged
    return torch.lerp(images, images.roll(1, 0), outside)


def _moved(rng: np.random.Generator, images: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirrors some pictures, scales and shifts all, and their boxes (b, 2, 4) and labels with them."""
    size = len(images)
    flip = torch.where(_uniform(rng, 0, 1, size) < 0.5, -1.0, 1.0)
    # view = scale * picture + shift
    scale, shift = _uniform(rng, 0.85, 1.18, size), _uniform(rng, -0.15, 0.15, size, 2)
    matrix = torch.zeros(size, 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = flip * scale, scale, shift
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    boxes = (boxes - shift.repeat(1, 2)[:, None]) / scale[:, None, None]
    mirrored = torch.stack([-boxes[..., 2], boxes[..., 1], -boxes[..., 0], boxes[..., 3]], -1)
    boxes = torch.where(flip[:, None, None] < 0, mirrored, boxes)
    turned = torch.cat([labels[:, :3], labels[:, 3:] * torch.tensor(_MIRRORED)], 1)
    return images, boxes, torch.where(flip[:, None] < 0, turned, labels)


def degraded(rng: np.random.Generator, images: Tensor) -> Tensor:
    """Softens pictures, some much, as generated ones are; changes their colours and light; adds noise.

    The pictures of half of the people look the same, as those of a clip do; the others' differ.
    """
    same = _uniform(rng, 0, 1, len(images) // _OF_EACH, 1, 1, 1) < 0.5

    def drawn(low: float, high: float, channels: int = 1) -> Tensor:
        each = _uniform(rng, low, high, _OF_EACH, len(same), channels, 1, 1)
        return torch.where(same, each[:1], each).flatten(0, 1)

    window = int(rng.choice([3, 5, 9]))
    soft = functional.avg_pool2d(images, window, 1, window // 2, count_include_pad=False)
    images = torch.lerp(images, soft, (1.4 * drawn(0, 1) - 0.4).clamp(min=0))
    grey = images.mean(1, keepdim=True).expand_as(images)
    images = torch.lerp(grey, images, drawn(0.4, 1.3))
    images = images * drawn(0.75, 1.25) * drawn(0.88, 1.12, channels=3) + drawn(-0.2, 0.2)
    noise = torch.from_numpy(rng.standard_normal(images.shape, np.float32))
    return (images + 0.04 * drawn(0, 1) * noise).clamp(-1, 1)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))
