"""Lip sync and picture quality of a checkpoint on people and sentences that it has never met.

``python -m training.evaluate --model runs/speed --reader runs/reader --data data/held-out --out out/evaluation``
generates videos with the reference pipeline, reads the mouth in them and compares it with the truth. The control is the
same comparison with the truth of other sentences: what is not above it is no lip sync.

``--quick`` generates nothing: it asks how much better one step from almost pure noise denoises the mouth with the right
voice than with another one. That shows up long before a sampled video speaks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from emo_rt.face import Box
from training.corpus import Clip, head_speed
from training.metrics import border_ratio, closures
from training.model import EmoModel
from training.pipeline import EmoPipeline
from training.reader import MouthReader, Reading, correlation, load_clips
from training.sync_signal import check_clips, decoded, sync_signal
from training.vae import to_float

LAGS = (-1, 0, 1)  # frames that the picture may come after the voice

_FRAME_FIELDS = ("frames", "mouth_opening", "mouth_width", "rotation", "head_speed", "face_box", "mouth_box")


@dataclass(frozen=True)
class Video:
    """A generated video beside the clip whose voice it speaks; all of t frames."""

    name: str
    portrait: np.ndarray  # uint8 (h, w, 3)
    clip: Clip
    frames: np.ndarray  # uint8 (t, h, w, 3)
    reading: Reading  # of the generated frames
    true_reading: Reading  # of the rendered frames
    reconstruction: np.ndarray  # uint8 (t, h, w, 3): the rendered frames through the VAE


def generate(
    model: EmoModel,
    reader: MouthReader,
    clips: Mapping[str, Clip],
    frames: int,
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
    speed: float | None = None,
) -> list[Video]:
    """A video of ``frames`` frames for each clip: its voice, and as the portrait its frame with the mouth most closed.

    Args:
        seed: of the first video's noise; each further one has the next, so that their errors are independent.

    Raises:
        ValueError: if a clip has another resolution than the model, or is shorter than ``frames``.
    """
    check_clips(model.config, clips, frames)
    pipeline, videos = EmoPipeline(model), []
    for number, (name, whole) in enumerate(tqdm(clips.items(), desc="generating", unit="video")):
        closed = int(whole.mouth_opening.argmin())
        portrait, box = whole.frames[closed], Box(*map(float, whole.face_box[closed]))
        options = {"seed": seed + number, "steps": steps, "guidance_scale": guidance_scale, "speed": speed}
        generated = pipeline(portrait, box, whole.waveform, frames, **options)  # type: ignore[arg-type]
        clip = _cut(whole, frames)
        videos.append(
            Video(
                name=name,
                portrait=portrait,
                clip=clip,
                frames=generated,
                reading=reader.read(generated),
                true_reading=reader.read(clip.frames),
                reconstruction=_through_vae(model, clip.frames),
            )
        )
    return videos


def report(videos: Sequence[Video], reader: MouthReader, clips: Mapping[str, Clip], clip_frames: int) -> dict[str, Any]:
    """How well the videos speak and look; ``clips`` give the other sentences of the control.

    ``clip_frames`` is f of the model that made them.

    Raises:
        ValueError: if there is no other sentence of the videos' length.
    """
    frames = len(videos[0].frames)
    others = {name: clip for name, clip in clips.items() if len(clip.mouth_opening) >= frames}
    if len(others) < 2:
        raise ValueError(f"the control needs two clips or more of at least {frames} frames, there are {len(others)}")
    openings = {name: clip.mouth_opening[:frames] for name, clip in others.items()}
    widths = {name: clip.mouth_width[:frames] for name, clip in others.items()}
    rows: list[dict[str, Any]] = []
    for video in videos:
        read, label = video.reading.mouth_opening, video.clip.mouth_opening
        reconstructed = reader.read(video.reconstruction)
        psnr = _psnr_table(video.frames, video.clip.frames)
        rows.append(
            {
                "name": video.name,
                "correlation": [_lagged(read, label, lag) for lag in LAGS],
                "control": [
                    [_lagged(read, other, lag) for lag in LAGS]
                    for name, other in openings.items()
                    if name != video.name
                ],
                "deviation_ratio": _ratio(read, label),
                "width_correlation": correlation(video.reading.mouth_width, video.clip.mouth_width),
                "width_control": [
                    correlation(video.reading.mouth_width, other)
                    for name, other in widths.items()
                    if name != video.name
                ],
                "closures": closures(read, video.clip.phoneme_class),
                "closures_on_renders": closures(video.true_reading.mouth_opening, video.clip.phoneme_class),
                "closures_control": _summed(
                    closures(read, clip.phoneme_class) for name, clip in others.items() if name != video.name
                ),
                "border_ratio": border_ratio(video.frames, clip_frames),
                "border_ratio_of_renders": border_ratio(video.clip.frames, clip_frames),
                "reader_on_renders": correlation(video.true_reading.mouth_opening, label),
                "reader_on_reconstructions": correlation(reconstructed.mouth_opening, label),
                "reader_deviation_ratio": _ratio(reconstructed.mouth_opening, label),
                "first_frame_psnr": float(_psnr_table(video.frames[:1], video.portrait[None])[0, 0]),
                "nearest_frame_psnr": float(psnr.max(1).mean()),
                "reconstruction_psnr": float(np.diag(_psnr_table(video.reconstruction, video.clip.frames)).mean()),
                "head_speed": _mean_speed(video.reading.rotation),
                "head_speed_read_on_renders": _mean_speed(video.true_reading.rotation),
                "head_speed_of_renders": _mean_speed(video.clip.rotation),
            }
        )
    own = np.array([row["correlation"] for row in rows])  # [videos, lags]
    control = np.array([row["control"] for row in rows])  # [videos, others, lags]
    now = LAGS.index(0)
    best = int(own.mean(0).argmax())

    def mean(name: str) -> float | None:
        values = [row[name] for row in rows if row[name] is not None]
        return float(np.mean(values)) if values else None

    def share(name: str) -> float | None:
        closed, sounds = _summed(row[name] for row in rows)
        return closed / sounds if sounds else None

    return {
        "videos": len(videos),
        "frames": frames,
        "opening": {
            "correlation": float(own[:, now].mean()),
            "standard_error": float(own[:, now].std(ddof=1) / len(own) ** 0.5) if len(own) > 1 else None,
            "lowest": float(own[:, now].min()),
            "highest": float(own[:, now].max()),
            "by_lag": {str(lag): float(value) for lag, value in zip(LAGS, own.mean(0), strict=True)},
            "best_lag": LAGS[best],
            "best_lag_correlation": float(own[:, best].mean()),
            "control": float(control[:, :, now].mean()),
            "control_best_lag": float(control.mean((0, 1)).max()),
            "control_deviation": float(control[:, :, now].std()),
            "control_sentences": control.shape[1],
            "share_above_control": float((own[:, None, now] > control[:, :, now]).mean()),
            "deviation_ratio": mean("deviation_ratio"),
        },
        "width": {"correlation": mean("width_correlation"), "control": mean("width_control")},
        "lips_closed_on_p_b_m": {
            "share": share("closures"),
            "on_renders": share("closures_on_renders"),
            "control": share("closures_control"),
        },
        "borders_over_inside": {"generated": mean("border_ratio"), "of_renders": mean("border_ratio_of_renders")},
        "reader": {
            "correlation_on_renders": mean("reader_on_renders"),
            "correlation_on_reconstructions": mean("reader_on_reconstructions"),
            "deviation_ratio_on_reconstructions": mean("reader_deviation_ratio"),
        },
        "picture": {
            "first_frame_psnr": mean("first_frame_psnr"),
            "nearest_frame_psnr": mean("nearest_frame_psnr"),
            "reconstruction_psnr": mean("reconstruction_psnr"),
        },
        "head_speed": {
            "generated": mean("head_speed"),
            "read_on_renders": mean("head_speed_read_on_renders"),
            "of_renders": mean("head_speed_of_renders"),
        },
        "per_video": [
            {name: value for name, value in row.items() if "control" not in name}
            | {"correlation": row["correlation"][now], "control": float(np.mean(row["control"], 0)[now])}
            for row in rows
        ],
    }


def write_strip(videos: Sequence[Video], path: Path, rows: int = 6) -> None:
    """Draws the mouth opening over time, generated (orange) over true (grey), of the first few videos."""
    width, height, margin = 900, 110, 22
    chosen = videos[:rows]
    image = Image.new("RGB", (width, height * len(chosen)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for row, video in enumerate(chosen):
        top, bottom = row * height + margin, (row + 1) * height - 8
        true, read = video.clip.mouth_opening, video.reading.mouth_opening
        across = np.linspace(10, width - 10, len(true))

        def line(curve: np.ndarray, across: np.ndarray = across, top: int = top, bottom: int = bottom) -> list[Any]:
            return list(zip(across, bottom - curve.clip(-0.1, 1.1) * (bottom - top), strict=True))

        draw.line([(10, bottom), (width - 10, bottom)], fill="#dddddd")
        draw.line(line(true), fill="#888888", width=3)
        draw.line(line(read), fill="#e06000", width=2)
        text = f"{video.name}   mouth opening: true grey, generated orange   r = {correlation(read, true):.2f}"
        draw.text((10, row * height + 3), text, fill="black", font=font)
    image.save(path)


def write_contact_sheet(videos: Sequence[Video], path: Path, columns: int = 10, rows: int = 8) -> None:
    """Writes the portrait and frames evenly spaced in time: for each video the true ones, below them the generated."""
    sheet = []
    for video in videos[:rows]:
        times = np.linspace(0, len(video.frames) - 1, columns).round().astype(int)
        gap = np.full((video.portrait.shape[0], 4, 3), 255, np.uint8)
        for frames in (video.clip.frames, video.frames):
            sheet.append(np.concatenate([video.portrait, gap, *frames[times]], 1))
        sheet.append(np.full((4, sheet[-1].shape[1], 3), 255, np.uint8))
    Image.fromarray(np.concatenate(sheet[:-1])).save(path)


def _cut(clip: Clip, frames: int) -> Clip:
    """The first ``frames`` frames."""
    samples = frames * len(clip.waveform) // len(clip.frames)
    phonemes = frames * len(clip.phoneme_class) // len(clip.frames)
    return replace(
        clip,
        waveform=clip.waveform[:samples],
        phoneme_class=clip.phoneme_class[:phonemes],
        **{name: getattr(clip, name)[:frames] for name in _FRAME_FIELDS},
    )


@torch.no_grad()
def _through_vae(model: EmoModel, frames: np.ndarray) -> np.ndarray:
    device = next(model.parameters()).device
    parts = to_float(torch.from_numpy(frames)).split(16)
    return decoded(model, torch.cat([model.vae.encode(part.to(device)) for part in parts]))


def _summed(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    closed, sounds = np.sum([(0, 0), *pairs], axis=0)
    return int(closed), int(sounds)


def _lagged(read: np.ndarray, label: np.ndarray, lag: int) -> float:
    """Correlation of a curve with a label that it follows ``lag`` frames later."""
    if lag < 0:
        return correlation(read[:lag], label[-lag:])
    return correlation(read[lag:], label[: len(label) - lag])


def _ratio(read: np.ndarray, label: np.ndarray) -> float:
    return float(read.std() / max(float(label.std()), 1e-6))


def _psnr_table(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """PSNR in dB of every picture of ``first`` (a, h, w, 3) against every one of ``second`` (b, h, w, 3): (a, b)."""
    a, b = (pictures.reshape(len(pictures), -1) / 255.0 for pictures in (first, second))
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    table: np.ndarray = -10 * np.log10(np.maximum(squares / a.shape[1], 1e-10))
    return table


def _mean_speed(rotation: np.ndarray) -> float:
    """Mean head speed in degrees per frame of rotations (t, 3), smoothed over 5 frames against the reader's noise.

    A reading ranks speeds but squeezes them: still heads read as 0.2, lively ones as two thirds of their speed.
    """
    if len(rotation) < 6:
        return 0.0
    kernel = np.ones(5) / 5
    smooth = np.stack([np.convolve(rotation[:, axis], kernel, mode="valid") for axis in range(3)], 1)
    return float(head_speed(smooth).mean())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="checkpoint of `python -m training.train`"
    )
    parser.add_argument(
        "--reader", type=Path, metavar="DIR", help="of `python -m training.reader`; --quick may do without"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="clips of people who were held out")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for JSON and pictures")
    parser.add_argument("--videos", type=int, default=8, help="how many to generate (default: 8)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each (default: 4)")
    parser.add_argument("--steps", type=int, help="DDIM steps (default: the config's)")
    parser.add_argument("--guidance-scale", type=float, help="(default: the config's)")
    parser.add_argument("--speed", type=float, help="head speed in degrees per frame (default: the config's)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--quick", action="store_true", help="only one-step denoising with right and wrong voices")
    parser.add_argument("--windows", type=int, default=48, help="of --quick (default: 48)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    args = parser.parse_args(arguments)
    if not args.reader and not args.quick:
        parser.error("--reader is required without --quick")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        model = EmoModel.load(args.model).to(args.device)
        reader = MouthReader.load(args.reader).to(args.device) if args.reader else None
        clips = load_clips(args.data)
        args.out.mkdir(parents=True, exist_ok=True)
        what = {"model": str(args.model), "data": str(args.data), "seed": args.seed}
        started = time.monotonic()
        if args.quick or reader is None:
            result = what | sync_signal(model, clips, reader, windows=args.windows, seed=args.seed)
            path = args.out / "quick.json"
        else:
            options = {"seed": args.seed, "steps": args.steps, "speed": args.speed}
            options["guidance_scale"] = args.guidance_scale
            frames = round(args.seconds * model.config.frames_per_second)
            chosen = dict(list(clips.items())[: args.videos])
            videos = generate(model, reader, chosen, frames, **options)
            used = {
                name: getattr(model.config, name) if value is None else value
                for name, value in options.items()
                if name != "seed"
            }
            result = what | used | report(videos, reader, clips, model.config.clip_frames)
            write_strip(videos, args.out / "strip.png")
            write_contact_sheet(videos, args.out / "contact_sheet.png")
            path = args.out / "evaluation.json"
    except (FileNotFoundError, ValueError) as error:
        print(f"evaluate: error: {error}", file=sys.stderr)
        return 2
    result["seconds"] = round(time.monotonic() - started, 1)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "per_video"}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
