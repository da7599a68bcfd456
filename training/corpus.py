"""Clips of generated speakers with ground truth: `python -m training.corpus --out DIR` writes them.

Everything about a clip follows from its seed. A tenth of the seeds is held out, with portraits, voices, languages and
sentences of their own. `--split held-out-family` gives them another synthesizer's voices.

Of the training clips, six in ten have an imperfect sound (`training.speakers.speech.augmentation`);
the labels are those of the voice alone.

`python -m training.corpus --sample assets` makes the repository's sample portrait and voice, which are held out too.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from pathlib import Path

import torch
from tqdm import tqdm

from training.speakers.speaker import is_held_out_seed, make_clip, write_sample
from training.speakers.speech.voices import SPLITS


def _seeds(first: int, clips: int, split: str) -> list[int]:
    """The first `clips` seeds of a split, from `first` on."""
    candidates = itertools.count(first)
    chosen = (seed for seed in candidates if split == "all" or is_held_out_seed(seed) == (split != "train"))
    return list(itertools.islice(chosen, clips))


def _write(job: tuple[int, Path, float, int, str | None, float | None]) -> None:
    seed, path, seconds, resolution, voices, augmented_share = job
    torch.set_num_threads(1)
    clip = make_clip(seed, seconds, resolution, voices=voices, augmented_share=augmented_share)
    clip.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes clips of generated speakers, one .npz for each seed.")
    parser.add_argument("--out", type=Path, help="directory for the clips; those already there are kept")
    parser.add_argument("--clips", type=int, default=500, help="how many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each (default: %(default)s)")
    parser.add_argument("--resolution", type=int, default=128, help="side of a frame in pixels (default: 128)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--split", choices=("all", *SPLITS), default="all", help="which speakers to take")
    parser.add_argument(
        "--augmented-share",
        type=float,
        help="share of clips with noise, rooms, codecs and the like (default: 0.6 of training, 0 of held-out clips)",
    )
    parser.add_argument("--sample", type=Path, metavar="DIR", help="write only the sample portrait and voice, there")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.sample:
        write_sample(arguments.sample)
        return
    if not arguments.out:
        parser.error("--out is required")
    arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = _seeds(arguments.seed, arguments.clips, arguments.split)
    paths = [arguments.out / f"{seed:08d}.npz" for seed in seeds]
    voices = None if arguments.split == "all" else arguments.split
    jobs = [
        (seed, path, arguments.seconds, arguments.resolution, voices, arguments.augmented_share)
        for seed, path in zip(seeds, paths, strict=True)
        if not path.exists()
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool:
        for _ in tqdm(pool.imap_unordered(_write, jobs), total=len(jobs), unit="clip"):
            pass


if __name__ == "__main__":
    main()
