"""Mouth reader: what a mouth does in a picture of a face, to measure lip sync where no label exists.

``python -m training.reader --data data/speakers --out runs/reader --test data/held-out`` trains it on generated
speakers, whose labels are exact, and writes its accuracy on speakers that it has never seen beside it.

A plain network does not find the mouth: one that pools its features with an attention map, taught by the place of the
mouth, does so within a few hundred steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from training.corpus import Clip
from training.vae import to_float

RESOLUTION = 128  # pixels a side of what the network sees

_LABELS = ("waveform", "mouth_opening", "mouth_width", "rotation", "head_speed", "phoneme_class")
_STRIDE = 4  # pixels per cell of the attention map, on each side
_ROTATION_UNIT = 20.0  # degrees
_MIRRORED = (-1.0, 1.0, -1.0)  # a mirror turns yaw and roll around


@dataclass(frozen=True)
class Reading:
    """What is seen in t frames, float32; compare with the labels of the same names in ``training.corpus.Clip``."""

    mouth_opening: np.ndarray  # (t,) 0 closed .. 1 wide open, not clipped
    mouth_width: np.ndarray  # (t,) 0 rounded .. 1 spread, not clipped
    rotation: np.ndarray  # (t, 3) degrees: yaw, pitch, roll


class Outputs(NamedTuple):
    """What the network gives for b pictures."""

    mouth: Tensor  # (b, 2): opening, width
    rotation: Tensor  # (b, 3) in units of 20 degrees
    attention: Tensor  # (b, cells) logits of the mouth's place


class MouthReader(nn.Module):
    """Reads mouth opening, mouth width and head rotation from faces of any resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(_convolution(3, 24, 2), _convolution(24, 40, 2), _convolution(40, 40))
        #: Sees the whole face, and with it where and how large the mouth should be.
        self.coarse = nn.Sequential(
            _convolution(40, 64, 2),
            _convolution(64, 64),
            _convolution(64, 64, 2),
            _convolution(64, 64),
            _convolution(64, 40),
        )
        self.merged = _convolution(40, 40)
        self.attention = nn.Conv2d(40, 1, 1)
        self.mouth_head = nn.Sequential(nn.Linear(85, 64), nn.ReLU(), nn.Linear(64, 2))
        self.rotation_head = nn.Sequential(nn.Linear(85, 64), nn.ReLU(), nn.Linear(64, 3))
        rows, columns = torch.meshgrid(*2 * [torch.linspace(-1, 1, RESOLUTION // _STRIDE)], indexing="ij")
        self.register_buffer("_places", torch.stack([columns, rows], -1).flatten(0, 1), persistent=False)

    def forward(self, images: Tensor) -> Outputs:
        """Pictures (b, 3, 128, 128) in [-1, 1]."""
        fine = self.fine(images)
        coarse = self.coarse(fine)
        wide = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        features = self.merged(fine + wide)
        attention = self.attention(features).flatten(1)
        where = attention.softmax(1)  # [b, cells]
        mouth = torch.einsum("bp,bcp->bc", where, features.flatten(2))
        place = where @ self._places
        spread = where @ self._places.square() - place.square()  # type: ignore[operator]
        size = torch.cat([spread.clamp(min=1e-5).sqrt(), where.square().sum(1, keepdim=True)], 1)
        whole = coarse.mean((2, 3))
        pooled = torch.cat([mouth, whole, place, size], 1)
        return Outputs(self.mouth_head(pooled), self.rotation_head(pooled), attention)

    @torch.no_grad()
    def read(self, frames: np.ndarray, batch: int = 64) -> Reading:
        """
        Args:
            frames: RGB uint8 (t, h, w, 3), square; other resolutions than 128 are resized.

        Raises:
            ValueError: if the frames have another shape or type.
        """
        if frames.ndim != 4 or frames.shape[1] != frames.shape[2] or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 (t, h, h, 3), not {frames.dtype} {frames.shape}")
        self.eval()
        device = next(self.parameters()).device
        mouths, rotations = [], []
        for part in torch.from_numpy(frames).split(batch):
            outputs = self(_resized(to_float(part.to(device))))
            mouths.append(outputs.mouth)
            rotations.append(outputs.rotation * _ROTATION_UNIT)
        mouth, rotation = torch.cat(mouths).cpu().numpy(), torch.cat(rotations).cpu().numpy()
        return Reading(mouth[:, 0], mouth[:, 1], rotation)

    def save(self, directory: Path) -> None:
        """Write ``reader.safetensors``."""
        directory.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, directory / "reader.safetensors")

    @classmethod
    def load(cls, directory: Path) -> MouthReader:
        """Raises ``FileNotFoundError`` or ``ValueError`` that names the file."""
        path = Path(directory) / "reader.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: train a reader with `python -m training.reader`")
        reader = cls()
        try:
            reader.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError) as error:
            raise ValueError(f"{path} holds no reader of this version: {error}") from None
        return reader.eval()


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two curves (t,); 0 if one of them does not move. Raises ``ValueError`` if the lengths differ."""
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"curves of different shapes do not correlate: {first.shape} and {second.shape}")
    if not len(first):
        return 0.0
    a, b = first.astype(np.float64), second.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    # Rounding moves even a constant curve a little.
    if size <= 1e-12 * len(a) * max(1.0, float(np.abs(first).max() * np.abs(second).max())):
        return 0.0
    return float(a @ b) / size


def reader_accuracy(reader: MouthReader, clips: Sequence[Clip], blur: float = 1.0) -> dict[str, float]:
    """How well ``reader`` reads the renders of ``clips``: correlations are within a clip, and the mean over clips.

    Args:
        blur: shrink the frames by this factor and enlarge them again first, as a soft decoder would.
    """
    readings = [reader.read(_blurred(clip.frames, blur)) for clip in clips]
    pairs = list(zip(readings, clips, strict=True))

    def error(name: str) -> float:
        return float(np.mean([np.abs(getattr(reading, name) - getattr(clip, name)).mean() for reading, clip in pairs]))

    opening = [correlation(reading.mouth_opening, clip.mouth_opening) for reading, clip in pairs]
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
    }
    for axis, name in enumerate(("yaw", "pitch", "roll")):
        values = [correlation(r.rotation[:, axis], c.rotation[:, axis]) for r, c in pairs]
        accuracy[f"{name}_correlation"] = float(np.mean(values))
    return accuracy


def load_clips(directory: Path) -> dict[str, Clip]:
    """All clips of a directory by name.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the first clip that lacks a label, as footage does.
    """
    clips = {path.stem: Clip.load(path, needs=_LABELS) for path in sorted(Path(directory).glob("*.npz"))}
    if not clips:
        raise FileNotFoundError(f"{directory} has no clips: make some with `python -m training.corpus`")
    return clips


@dataclass
class _Pictures:
    """Single frames with their labels."""

    frames: Tensor  # uint8 (n, 3, 128, 128)
    boxes: Tensor  # (n, 4) of the mouth: left, top, right, bottom in [-1, 1]
    mouth: Tensor  # (n, 2)
    rotation: Tensor  # (n, 3) in units of 20 degrees

    @classmethod
    def read(cls, directory: Path, stride: int) -> _Pictures:
        """Every ``stride``-th frame of every clip, each clip from another first frame."""
        paths = sorted(directory.glob("*.npz"))
        if not paths:
            raise FileNotFoundError(f"{directory} has no clips: make some with `python -m training.corpus`")
        parts = []
        for number, path in enumerate(tqdm(paths, desc="reading clips", unit="clip")):
            clip = Clip.load(path, needs=("mouth_opening", "mouth_width", "rotation"))
            kept = slice(number % stride, None, stride)
            corner, size = clip.mouth_box[kept, :2], clip.mouth_box[kept, 2:]
            boxes = np.concatenate([corner, corner + size], 1) / (clip.frames.shape[1] / 2) - 1
            mouth = np.stack([clip.mouth_opening[kept], clip.mouth_width[kept]], 1)
            frames = torch.from_numpy(clip.frames[kept]).movedim(-1, 1).contiguous()
            if frames.shape[-1] != RESOLUTION:
                frames = _resized(frames.float()).round().clamp(0, 255).to(torch.uint8)
            labels = (boxes, mouth, clip.rotation[kept] / _ROTATION_UNIT)
            parts.append((frames, *(torch.from_numpy(np.asarray(label, np.float32)) for label in labels)))
        return cls(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Random pictures (b, 3, 128, 128) in [-1, 1], changed as other heads and a soft decoder would, and labels."""
        chosen = torch.from_numpy(rng.integers(len(self.frames), size=size))
        images = self.frames[chosen].float() / 127.5 - 1
        boxes, mouth, rotation = self.boxes[chosen], self.mouth[chosen], self.rotation[chosen]

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.from_numpy(rng.uniform(low, high, (size, *shape)).astype(np.float32))

        # A view of the picture: mirrored or not, scaled and shifted.  view = scale * picture + shift
        flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
        scale, shift = uniform(0.88, 1.14), uniform(-0.12, 0.12, 2)
        matrix = torch.zeros(size, 2, 3)
        matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = flip * scale, scale, shift
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        boxes = (boxes - shift.repeat(1, 2)) / scale[:, None]
        mirrored = torch.stack([-boxes[:, 2], boxes[:, 1], -boxes[:, 0], boxes[:, 3]], 1)
        boxes = torch.where(flip[:, None] < 0, mirrored, boxes)
        rotation = torch.where(flip[:, None] < 0, rotation * torch.tensor(_MIRRORED), rotation)

        # Generated frames are softer than renders, some much so.
        window = int(rng.choice([3, 5]))
        soft = functional.avg_pool2d(images, window, 1, window // 2, count_include_pad=False)
        images = torch.lerp(images, soft, (1.4 * uniform(0, 1, 1, 1, 1) - 0.4).clamp(min=0))
        images = images * uniform(0.75, 1.25, 1, 1, 1) * uniform(0.93, 1.07, 3, 1, 1) + uniform(-0.2, 0.2, 1, 1, 1)
        noise = torch.from_numpy(rng.standard_normal(images.shape, np.float32))
        images = (images + 0.04 * uniform(0, 1, 1, 1, 1) * noise).clamp(-1, 1)
        return images, boxes, mouth, rotation


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _resized(images: Tensor) -> Tensor:
    if images.shape[-1] == RESOLUTION:
        return images
    size = (RESOLUTION, RESOLUTION)
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _blurred(frames: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return frames
    images, size = torch.from_numpy(frames).movedim(-1, 1).float(), round(frames.shape[1] / factor)
    small = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    again = functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return again.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous().numpy()


def _attention_target(boxes: Tensor) -> Tensor:
    """How much of each cell the box (left, top, right, bottom in [-1, 1]) covers, as a distribution (b, cells)."""
    cells = RESOLUTION // _STRIDE
    edges = torch.linspace(-1, 1, cells + 1, device=boxes.device)

    def overlap(low: Tensor, high: Tensor) -> Tensor:
        return (torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])).clamp(min=0)

    covered = overlap(boxes[:, 1], boxes[:, 3])[:, :, None] * overlap(boxes[:, 0], boxes[:, 2])[:, None]
    covered = covered.flatten(1)
    return covered / covered.sum(1, keepdim=True).clamp(min=1e-6)


def train(
    data: Path, *, steps: int, batch_size: int, learning_rate: float = 3e-3, stride: int = 3, seed: int = 0
) -> MouthReader:
    """A reader trained on every ``stride``-th frame of the clips in ``data``; on the CPU, the same for the same seed.

    Raises:
        FileNotFoundError: if there is no clip.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pictures = _Pictures.read(data, stride)
    reader = MouthReader().train()
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1, pct_start=0.15)
    progress = tqdm(range(steps), desc="reader", unit="step", smoothing=0.05)
    for step in progress:
        images, boxes, mouth, rotation = pictures.batch(rng, batch_size)
        outputs: Outputs = reader(images)
        opening_error, width_error = (outputs.mouth - mouth).square().mean(0)
        rotation_error = (outputs.rotation - rotation).square().mean()
        attention_error = -(_attention_target(boxes) * outputs.attention.log_softmax(1)).sum(1).mean()
        loss = 4 * opening_error + width_error + 0.5 * rotation_error + 0.1 * attention_error
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            errors = {"opening": opening_error, "width": width_error, "turn": rotation_error, "place": attention_error}
            progress.set_postfix({name: f"{value.item():.4f}" for name, value in errors.items()})
    return reader.eval()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.reader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="clips to train on; without it, --out is only tested")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="reader.safetensors and reader.json")
    parser.add_argument("--test", type=Path, metavar="DIR", help="clips of other speakers to measure the accuracy on")
    parser.add_argument("--steps", type=int, default=900, help="(default: 900)")
    parser.add_argument("--batch-size", type=int, default=32, help="(default: 32)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="the highest one (default: 0.003)")
    parser.add_argument("--stride", type=int, default=3, help="train on one frame in how many (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    args = parser.parse_args(arguments)
    if args.data is None and args.test is None:
        parser.error("--data or --test is required")
    torch.set_num_threads(args.threads)
    report_path = args.out / "reader.json"
    try:
        # A wrong directory shows before training, not after.
        test_clips = list(load_clips(args.test).values()) if args.test else []
        if args.data:
            recipe = {"steps": args.steps, "batch_size": args.batch_size, "learning_rate": args.learning_rate}
            started = time.monotonic()
            reader = train(args.data, **recipe, stride=args.stride, seed=args.seed)
            recipe |= {"stride": args.stride, "seed": args.seed, "seconds": round(time.monotonic() - started)}
            reader.save(args.out)
            report = {"resolution": RESOLUTION, "data": str(args.data), "training": recipe}
        else:
            reader = MouthReader.load(args.out)
            report = json.loads(report_path.read_text()) if report_path.is_file() else {"resolution": RESOLUTION}
    except (FileNotFoundError, ValueError) as error:
        print(f"reader: error: {error}", file=sys.stderr)
        return 2
    if test_clips:
        report["test"] = {
            "data": str(args.test),
            "renders": reader_accuracy(reader, test_clips),
            "blurred_to_half": reader_accuracy(reader, test_clips, blur=2.0),
        }
        print(json.dumps(report["test"], indent=2))
    report_path.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
