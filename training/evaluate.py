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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from emo_rt.audio import clip_window, samples_per_frame, window
from emo_rt.face import Box, face_region, union
from training.config import EmoConfig
from training.corpus import Clip, head_speed
from training.model import EmoModel
from training.pipeline import EmoPipeline
from training.reader import MouthReader, Reading, correlation, load_clips
from training.schedule import noise_scheduler
from training.vae import to_float, to_uint8

LAGS = (-1, 0, 1)  # frames that the picture may come after the voice
TIMESTEPS = (700, 800, 900, 980)

_VOICES = ("right", "wrong", "none")
_FRAME_FIELDS = ("frames", "mouth_opening", "mouth_width", "rotation", "head_speed", "face_box", "mouth_box")
_MOUTH_MARGIN = 0.15  # of the mouth box, on each side: as in training


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
    _check(model.config, clips, frames)
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


def report(videos: Sequence[Video], reader: MouthReader, clips: Mapping[str, Clip]) -> dict[str, Any]:
    """How well the videos speak and look; ``clips`` give the other sentences of the control.

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

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

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


@torch.no_grad()
def sync_signal(
    model: EmoModel,
    clips: Mapping[str, Clip],
    reader: MouthReader | None = None,
    *,
    windows: int = 48,
    timesteps: Sequence[int] = TIMESTEPS,
    batch_size: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Whether the voice helps to denoise the mouth: the cheapest early sign of lip sync.

    Random windows of n + f frames are noised to ``timesteps`` and denoised in one step, with the same noise, by the
    right voice, by that of another clip (wrong) and by none. The squared error of the predicted clean latents is
    weighted by the mouth's place. A model that does not listen has a gain of 0.

    Args:
        reader: reads the mouth in the decoded predictions too. The noised latents hold a little of the truth, so that
            only the distance between right and wrong counts there.

    Raises:
        ValueError: if a clip has another resolution than the model or is too short, or if there is only one.
    """
    config = model.config
    needed = config.motion_frames + config.clip_frames
    _check(config, clips, needed)
    if len(clips) < 2:
        raise ValueError("the wrong voice needs a second clip")
    rng = np.random.default_rng(seed)
    all_clips = list(clips.values())
    places = []
    for index in range(windows):
        which = index % len(all_clips)
        wrong = (which + int(rng.integers(1, len(all_clips)))) % len(all_clips)
        first = int(rng.integers(config.motion_frames, len(all_clips[which].frames) - config.clip_frames + 1))
        places.append((all_clips[which], all_clips[wrong], first))
    noised_to = [timesteps[(index // len(all_clips) + index) % len(timesteps)] for index in range(windows)]
    losses, readings, labels = [], [], []
    for begin in tqdm(range(0, windows, batch_size), desc="denoising", unit="batch"):
        part = places[begin : begin + batch_size]
        predictions, loss = _denoised_once(model, part, noised_to[begin : begin + batch_size], seed, begin)
        losses.append(loss)
        labels += [clip.mouth_opening[first : first + config.clip_frames] for clip, _, first in part]
        if reader:
            pictures = _decoded(model, predictions.flatten(0, 2))
            openings = reader.read(pictures).mouth_opening
            readings.append(openings.reshape(len(_VOICES), len(part), config.clip_frames))
    loss = np.concatenate(losses, 1)  # [voices, windows]
    gains = loss[1] - loss[0]
    steps = np.array(noised_to)
    result: dict[str, Any] = {
        "windows": windows,
        "mouth_loss": {voice: float(value) for voice, value in zip(_VOICES, loss.mean(1), strict=True)},
        "relative_gain": float(gains.mean() / loss[1].mean()),
        "relative_standard_error": float(gains.std(ddof=1) / windows**0.5 / loss[1].mean()) if windows > 1 else None,
        "relative_gain_over_none": float((loss[2] - loss[0]).mean() / loss[2].mean()),
        "share_right_is_better": float((gains > 0).mean()),
        "relative_gain_by_timestep": {
            str(step): float(gains[steps == step].mean() / loss[1][steps == step].mean())
            for step in timesteps
            if (steps == step).any()
        },
    }
    if reader:
        read = np.concatenate(readings, 1)  # [voices, windows, f]
        result["opening_correlation"] = {
            voice: float(np.mean([correlation(*pair) for pair in zip(curves, labels, strict=True)]))
            for voice, curves in zip(_VOICES, read, strict=True)
        }
    return result


def _denoised_once(
    model: EmoModel, places: Sequence[tuple[Clip, Clip, int]], timesteps: Sequence[int], seed: int, index: int
) -> tuple[Tensor, np.ndarray]:
    """Predicted clean latents (voices, b, f, c, h, w) and their error at the mouth (voices, b)."""
    config, device = model.config, next(model.parameters()).device
    n, f, m = config.motion_frames, config.clip_frames, config.audio_margin
    encoded, references, regions, speeds, mouths, noises = [], [], [], [], [], []
    for number, (clip, _, first) in enumerate(places):
        pictures = np.concatenate([clip.frames[[clip.mouth_opening.argmin()]], clip.frames[first - n : first + f]])
        latents = model.vae.encode(to_float(torch.from_numpy(pictures)).to(device))
        references.append(latents[0])
        encoded.append(latents[1:])
        boxes = [Box(*map(float, box)) for box in clip.face_box[first : first + f]]
        regions.append(torch.from_numpy(face_region(union(boxes), config.resolution, config.face_region_margin))[0])
        around = np.arange(first - m, first + f + m).clip(0, len(clip.head_speed) - 1)
        speeds.append(torch.from_numpy(clip.head_speed[around]))
        masks = [
            face_region(Box(*map(float, box)), config.resolution, _MOUTH_MARGIN)[0]
            for box in clip.mouth_box[first : first + f]
        ]
        mouths.append(functional.adaptive_avg_pool2d(torch.from_numpy(np.stack(masks)), config.latent_size))
        philox = np.random.Philox(key=np.array([seed, index + number], np.uint64))
        noises.append(np.random.Generator(philox).standard_normal((f, *latents.shape[1:]), np.float32))
    latents, timestep = torch.stack(encoded), torch.tensor(timesteps, device=device)
    clean, mouth = latents[:, n:], torch.stack(mouths).to(device)
    scheduler = noise_scheduler(config)
    noise = torch.from_numpy(np.stack(noises)).to(device)
    noisy = scheduler.add_noise(clean, noise, timestep)  # type: ignore[arg-type]
    faces = model.portrait_and_motion(torch.stack(references), latents[:, :n])
    alpha = scheduler.alphas_cumprod.to(device)[timestep][:, None, None, None, None]
    voices = [_voice(config, clip, first) for clip, _, first in places]
    voices += [_voice(config, clip, first) for _, clip, first in places]
    right, wrong = model.audio_encoder(torch.stack(voices).to(device)).chunk(2)
    predictions, losses = [], []
    for features in (right, wrong, torch.zeros_like(right)):
        place = model.voice_and_place(features, torch.stack(speeds).to(device), torch.stack(regions).to(device))
        output = model.backbone(noisy, timestep, place | faces)
        if config.prediction_type == "sample":
            prediction = output
        elif config.prediction_type == "epsilon":
            prediction = (noisy - (1 - alpha).sqrt() * output) / alpha.sqrt()
        else:
            prediction = alpha.sqrt() * noisy - (1 - alpha).sqrt() * output
        error = mouth * (prediction - clean).square()
        losses.append((error.flatten(1).sum(1) / (mouth.flatten(1).sum(1) * clean.shape[2])).cpu().numpy())
        predictions.append(prediction)
    return torch.stack(predictions), np.stack(losses)


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


def _check(config: EmoConfig, clips: Mapping[str, Clip], frames: int) -> None:
    if frames < 1:
        raise ValueError("a video has at least one frame")
    for name, clip in clips.items():
        if clip.frames.shape[1] != config.resolution:
            raise ValueError(
                f"clip {name} has {clip.frames.shape[1]} pixels a side, {config.name} {config.resolution}: "
                f"make clips with `python -m training.corpus --resolution {config.resolution}`"
            )
        if len(clip.frames) < frames:
            raise ValueError(f"clip {name} has {len(clip.frames)} frames, {frames} are needed")


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
    return _decoded(model, torch.cat([model.vae.encode(part.to(device)) for part in parts]))


def _decoded(model: EmoModel, latents: Tensor) -> np.ndarray:
    """Pictures uint8 (t, h, w, 3) of latents (t, c, h, w), a few at a time: large batches are slow on a CPU."""
    pictures: np.ndarray = torch.cat([to_uint8(model.vae.decode(part)).cpu() for part in latents.split(16)]).numpy()
    return pictures


def _voice(config: EmoConfig, clip: Clip, first_frame: int) -> Tensor:
    """The audio encoder's window (samples,) for the clip of f frames that begins at ``first_frame``."""
    start, stop = clip_window(
        first_frame,
        clip_frames=config.clip_frames,
        audio_margin=config.audio_margin,
        audio_context=config.audio_context,
        samples_per_frame=samples_per_frame(config.sample_rate, config.frames_per_second),
    )
    return torch.from_numpy(window(clip.waveform, start, stop))


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
            result = what | used | report(videos, reader, clips)
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
