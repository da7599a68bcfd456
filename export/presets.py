"""What a bundle can be run with, and what each way loses: ``python -m export.presets BUNDLE --data data/held-out``.

People whom the model never met speak with many steps that are all guided, and with ever fewer. A reader of faces says
how well their mouths follow the voice, and that they are still themselves. What loses too much, or is no faster than
what loses less, is not offered; the rest goes into the bundle's presets.json, from which the runtime's planner chooses.
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

#: Steps, how many of them are guided, by how much if not by the bundle's own scale, and which are whole if not all.
WAYS = (
    *("40:40", "20:20", "20:20/2", "12:12", "12:12/2", "12:12/3", "8:8", "8:8/2", "8:8/4", "8:4", "6:6", "6:6/2"),
    *("6:6/3", "5:5", "4:4", "4:4/2", "4:4/4", "4:2", "4:2:3", "3:3", "3:3/3", "2:2", "2:2/2", "2:1", "1:1"),
)
#: What a way may lose: dB of the first way's video, correlation of the mouth with the truth, share of frames.
LEAST_PSNR, SYNC_LOSS, IDENTITY_LOSS = 33.0, 0.02, 0.01
#: What steps cost, about: a guided one is two, a cached one a quarter of it.
COSTS = {"backbone": 1.0, "guided_backbone": 2.0, "cached_backbone": 0.25, "cached_guided_backbone": 0.5}


def measure_presets(
    cascade: Cascade,
    reader: FaceReader,
    clips: Mapping[str, TrainingClip],
    ways: Sequence[Sampling],
    videos: int,
    frames: int,
) -> list[dict[str, float]]:
    """For each way, over the first ``videos`` clips: ``psnr`` in dB against the first way, ``sync``, the correlation of
    the mouth's opening with the truth, and ``identity``, the share of frames whose nearest portrait is the right one.
    """
    gallery = Gallery.of(clips, reader)
    rows: list[list[tuple[float, float, float]]] = [[] for _ in ways]
    with tqdm(total=videos * len(ways), desc="offers", unit="video") as bar:
        for number, (name, clip) in enumerate(list(clips.items())[:videos]):
            portrait, box = portrait_of(clip)
            full: np.ndarray | None = None
            for row, way in zip(rows, ways, strict=True):
                made = cascade.generate(
                    portrait,
                    box,
                    [clip.waveform],
                    seed=number,
                    steps=way.steps,
                    guidance_scale=way.guidance_scale,
                    guided_steps=way.guided_steps,
                    cache_interval=way.cache_interval,
                    max_frames=frames,
                )
                video = np.concatenate(list(made))
                full = video if full is None else full
                reading = reader.read(video)
                row.append(
                    (
                        psnr(video, full),
                        correlation(reading.mouth_opening, clip.mouth_opening[: len(video)]),
                        gallery.share_recognised(reading.identity, name) or 0.0,
                    )
                )
                bar.update()
    return [
        {
            **asdict(way),
            **dict(zip(("psnr", "sync", "identity"), np.mean(row, axis=0).round(4).tolist(), strict=True)),
        }
        for way, row in zip(ways, rows, strict=True)
    ]


def worth_offering(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """What loses little against the first row, and is faster than all that loses less; best first."""

    def cost(row: Mapping[str, Any]) -> float:
        sampling = Sampling(*(row[field.name] for field in fields(Sampling)))
        return sum(COSTS[graph] for graph in sampling.graphs)

    full = rows[0]
    good = [
        row
        for row in rows
        if row["psnr"] >= LEAST_PSNR
        and row["sync"] >= full["sync"] - SYNC_LOSS
        and row["identity"] >= full["identity"] - IDENTITY_LOSS
    ]
    good.sort(key=lambda row: (-row["psnr"], cost(row)))
    return [row for place, row in enumerate(good) if all(cost(row) < cost(better) for better in good[:place])]


def parse_way(text: str, guidance_scale: float) -> Sampling:
    """``STEPS:GUIDED``, or ``STEPS:GUIDED:SCALE``, and ``/INTERVAL`` where not every step is whole.

    Raises:
        InputError: if it is not of this form, or out of range.
    """
    try:
        way, _, interval = text.partition("/")
        steps, guided, *scale = way.split(":")
        return Sampling(int(steps), float(scale[0]) if scale else guidance_scale, int(guided), int(interval or 1))
    except (ValueError, IndexError):
        raise InputError(f"way {text!r} is not of the form STEPS:GUIDED[:SCALE][/INTERVAL]") from None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.presets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="the bundle's directory")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="clips of training.corpus, held out")
    forms = "STEPS:GUIDED[:SCALE][/INTERVAL]; the first is what the others are compared with (default: %(default)s)"
    parser.add_argument("--ways", nargs="+", default=WAYS, metavar="WAY", help=forms)
    parser.add_argument("--videos", type=int, default=20, help="people (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=125, help="of each video (default: %(default)s)")
    parser.add_argument(
        "--reader", type=Path, default=BUNDLED_READER, metavar="DIR", help="of faces (default: the bundled one)"
    )
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="(default: %(default)s)")
    args = parser.parse_args(arguments)
    try:
        check_runs_here(args.backend)
        bundle = Bundle.load(args.bundle)
        ways = [parse_way(text, bundle.config.guidance_scale) for text in args.ways]
        clips, reader = load_clips(args.data), FaceReader.load(args.reader)
        cascade = Cascade.load(bundle, args.backend)
        rows = measure_presets(cascade, reader, clips, ways, min(args.videos, len(clips)), args.frames)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"offers: error: {error}", file=sys.stderr)
        return 2
    offered = worth_offering(rows)
    for row in rows:
        kept = "offered" if row in offered else ""
        print(
            f"{row['steps']:3} steps, {row['guided_steps']:2} guided by {row['guidance_scale']:g}, "
            f"1 in {row['cache_interval']} whole: "
            f"{row['psnr']:5.1f} dB, mouth r = {row['sync']:.3f}, identity {row['identity']:.1%}  {kept}"
        )
    found = {"videos": min(args.videos, len(clips)), "frames": args.frames, "backend": args.backend}
    path = args.bundle / PRESETS_NAME
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps({**found, "presets": offered, "measured": rows}, indent=1) + "\n")
    temporary.replace(path)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
