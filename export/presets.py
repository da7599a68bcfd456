"""Measure a bundle's presets: how few steps, and how few of them guided or full, its videos can do with.

People whom the model never met speak, first with many steps that are all guided and full, then with ever less effort. A
reader of faces says how well their mouths follow the voice and whether they are still themselves. A candidate that
loses too much, or is no faster than one that loses less, is dropped. The others are the presets: they go, best first,
into the bundle's presets.json, from which the runtime's planner chooses.

A candidate is STEPS:GUIDED[:SCALE][/INTERVAL]: the number of DDIM steps; how many of them, the first ones, are guided;
the guidance scale if not the bundle's own; and, where one step in INTERVAL is full and the others are cached, the
cache interval. The first candidate is what the others are compared with.

example:
  python -m export.presets models/emo-photo/bundle --data data/held-out --presets 8:8 4:4 4:4/2 1:1
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from emo_rt.atomic import atomic_write
from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.registry import BACKENDS, check_runs_here
from emo_rt.errors import EmoError, InputError
from emo_rt.planning.presets import PRESETS_NAME
from training.clips.clip import TrainingClip, portrait_of
from training.clips.folder import load_clips
from training.evaluation.metrics import correlation, psnr
from training.evaluation.reader import BUNDLED_READER, FaceReader, Gallery

#: The candidates that are measured by default.
CANDIDATES = (
    *("40:40", "20:20", "20:20/2", "12:12", "12:12/2", "12:12/3", "8:8", "8:8/2", "8:8/4", "8:4", "6:6", "6:6/2"),
    *("6:6/3", "5:5", "4:4", "4:4/2", "4:4/4", "4:2", "4:2:3", "3:3", "3:3/3", "2:2", "2:2/2", "2:1", "1:1"),
)
#: The least PSNR of a preset's videos against the first candidate's, in dB.
LEAST_PRESET_PSNR = 33.0
#: What a preset may lose against the first candidate: correlation of the mouth with the truth, share of frames.
LARGEST_SYNC_LOSS, LARGEST_IDENTITY_LOSS = 0.02, 0.01
#: What the graphs of a step cost, roughly, in steps without guidance.
_STEP_COSTS = {"backbone": 1.0, "guided_backbone": 2.0, "cached_backbone": 0.25, "cached_guided_backbone": 0.5}


def measure_presets(
    cascade: Cascade,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    candidates: Sequence[Sampling],
    videos: int,
    frames: int,
) -> list[dict[str, float]]:
    """Measure what videos lose that are made with less effort.

    Args:
        cascade: cascade on the bundle's engines
        reader: reader of faces
        clips: clips of people whom the model never met, by name
        candidates: candidates for presets; the first is what the others are compared with
        videos: number of clips that are used, from the first on
        frames: number of frames of each video

    Returns:
        For each candidate the fields of its `Sampling` and means over the videos: `psnr`, in dB against the first
        candidate; `sync`, the correlation of the mouth opening with the truth; `identity`, the share of frames whose
        nearest portrait is the right one.
    """
    gallery = Gallery.of(clips, reader)
    measured: list[list[tuple[float, float, float]]] = [[] for _ in candidates]
    with tqdm(total=videos * len(candidates), desc="presets", unit="video") as progress:
        for seed, (name, clip) in enumerate(list(clips.items())[:videos]):
            best: np.ndarray | None = None
            for values, candidate in zip(measured, candidates, strict=True):
                video = _generate(cascade, clip, candidate, seed, frames)
                best = video if best is None else best
                reading = reader.read(video)
                sync = correlation(reading.mouth_opening, clip.mouth_opening[: len(video)])
                values.append((psnr(video, best), sync, gallery.share_recognised(reading.identity, name) or 0.0))
                progress.update()
    means = [np.mean(values, axis=0).round(4).tolist() for values in measured]
    return [
        {**asdict(candidate), "psnr": psnr_mean, "sync": sync_mean, "identity": identity_mean}
        for candidate, (psnr_mean, sync_mean, identity_mean) in zip(candidates, means, strict=True)
    ]


def _generate(cascade: Cascade, clip: TrainingClip, sampling: Sampling, seed: int, frames: int) -> np.ndarray:
    """The video (frames, h, w, 3) in which a clip's portrait speaks with its voice."""
    generated = cascade.generate(
        *portrait_of(clip),
        [clip.waveform],
        seed=seed,
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        guided_steps=sampling.guided_steps,
        cache_interval=sampling.cache_interval,
        max_frames=frames,
    )
    return np.concatenate(list(generated))


def worth_keeping(measured: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The measured candidates that lose little against the first and cost less than all that lose less, best first.

    Args:
        measured: what `measure_presets` returns
    """

    def cost(row: Mapping[str, Any]) -> float:
        sampling = Sampling(*(row[field.name] for field in fields(Sampling)))
        return sum(_STEP_COSTS[graph] for graph in sampling.graphs)

    first = measured[0]
    good = [
        row
        for row in measured
        if row["psnr"] >= LEAST_PRESET_PSNR
        and row["sync"] >= first["sync"] - LARGEST_SYNC_LOSS
        and row["identity"] >= first["identity"] - LARGEST_IDENTITY_LOSS
    ]
    good.sort(key=lambda row: (-row["psnr"], cost(row)))
    return [row for place, row in enumerate(good) if all(cost(row) < cost(better) for better in good[:place])]


def parse_candidate(text: str, guidance_scale: float) -> Sampling:
    """Read a candidate of the form `STEPS:GUIDED[:SCALE][/INTERVAL]`.

    Args:
        text: candidate as it was typed
        guidance_scale: guidance scale of a candidate that names none

    Raises:
        InputError: if the text is not of this form, or a number is out of its range.
    """
    try:
        counts, _, interval = text.partition("/")
        steps, guided, *scale = counts.split(":")
        return Sampling(int(steps), float(scale[0]) if scale else guidance_scale, int(guided), int(interval or 1))
    except (ValueError, IndexError):
        raise InputError(f"preset {text!r} is not of the form STEPS:GUIDED[:SCALE][/INTERVAL]") from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        if min(args.videos, args.frames) < 1:
            raise InputError(f"--videos is {args.videos}, --frames is {args.frames}; choose 1 or more")
        check_runs_here(args.backend)
        bundle = Bundle.load(args.bundle)
        candidates = [parse_candidate(text, bundle.config.guidance_scale) for text in args.presets]
        clips, reader = load_clips(args.data), FaceReader.load(args.reader)
        cascade = Cascade.load(bundle, args.backend)
        videos = min(args.videos, len(clips))
        measured = measure_presets(cascade, reader, clips, candidates, videos, args.frames)
        presets = worth_keeping(measured)
        found = {"videos": videos, "frames": args.frames, "backend": args.backend}
        with atomic_write(args.bundle / PRESETS_NAME) as file:
            file.write(f"{json.dumps({**found, 'presets': presets, 'measured': measured}, indent=1)}\n".encode())
    except (EmoError, OSError, ValueError) as error:
        print(f"presets: error: {error}", file=sys.stderr)
        return 2
    for row in measured:
        print(
            f"{row['steps']:3} steps, {row['guided_steps']:2} guided by {row['guidance_scale']:g}, "
            f"1 full step in {row['cache_interval']}: "
            f"{row['psnr']:5.1f} dB, mouth r = {row['sync']:.3f}, identity {row['identity']:.1%}  "
            f"{'preset' if row in presets else ''}".rstrip()
        )
    print(args.bundle / PRESETS_NAME)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.presets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="directory of the bundle")
    add("--data", type=Path, required=True, metavar="DIR", help="clips of people that training never saw")
    presets = f"candidates for presets, as above (default: {' '.join(CANDIDATES)})"
    add("--presets", nargs="+", default=CANDIDATES, metavar="PRESET", help=presets)
    add("--videos", type=int, default=20, metavar="N", help="people that speak (default: %(default)s)")
    add("--frames", type=int, default=125, metavar="N", help="frames of each video (default: %(default)s)")
    reader = "reader of faces (default: the bundled one)"
    add("--reader", type=Path, default=BUNDLED_READER, metavar="DIR", help=reader)
    add("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="runs the bundle (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
