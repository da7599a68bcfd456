"""A folder of generated clips: one file for each seed, made by several processes."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from training.clips.held_out import is_held_out_seed
from training.speakers.speaker import make_clip
from training.speakers.speech.voices import SPLITS

ALL_SPLITS = "all"


@dataclass(frozen=True)
class CorpusSettings:
    """What a folder of generated clips holds.

    Attributes:
        clips: number of clips.
        seconds: length of each clip.
        resolution: side of a frame in pixels.
        seed: first seed to look at.
        split: "all", or the split of `training.speakers.speech.voices` whose speakers and voices are taken.
        augmented_share: share of the clips with an imperfect sound; None takes 0.6 of training and 0 of held-out clips.

    Raises:
        ValueError: naming the option of `python -m training.corpus` that is out of range.
    """

    clips: int = 500
    seconds: float = 4.0
    resolution: int = 128
    seed: int = 0
    split: str = ALL_SPLITS
    augmented_share: float | None = None

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ValueError(f"--clips is at least 1, not {self.clips}")
        if not 0.2 <= self.seconds < float("inf"):
            raise ValueError(f"--seconds is at least 0.2, not {self.seconds}")
        if self.resolution < 16:
            raise ValueError(f"--resolution is at least 16, not {self.resolution}")
        if self.seed < 0:
            raise ValueError(f"--seed is at least 0, not {self.seed}")
        if self.split not in (ALL_SPLITS, *SPLITS):
            raise ValueError(f"--split is one of {', '.join((ALL_SPLITS, *SPLITS))}, not {self.split}")
        if self.augmented_share is not None and not 0 <= self.augmented_share <= 1:
            raise ValueError(f"--augmented-share is between 0 and 1, not {self.augmented_share}")

    @property
    def seeds(self) -> list[int]:
        """The first seeds of the split, one for each clip."""
        candidates = itertools.count(self.seed)
        if self.split == ALL_SPLITS:
            return list(itertools.islice(candidates, self.clips))
        held_out = self.split != "train"
        return list(itertools.islice((s for s in candidates if is_held_out_seed(s) == held_out), self.clips))


def write_corpus(out: Path, settings: CorpusSettings, workers: int = 2) -> None:
    """Writes the clips that the folder does not have yet, as `SEED.npz`.

    Args:
        out: folder; it is made if it does not exist.
        settings: what the clips are.
        workers: number of processes, with one thread each.

    Raises:
        ValueError: if there are no workers.
        OSError: if the folder or a clip cannot be written.
    """
    if workers < 1:
        raise ValueError(f"--workers is at least 1, not {workers}")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, path, settings) for seed in settings.seeds if not (path := out / f"{seed:08d}.npz").exists()]
    # An interrupt reaches all processes; only this one answers to it.
    ignore_interrupts = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(workers, signal.signal, ignore_interrupts) as pool:
        for _ in tqdm(pool.imap_unordered(_write, jobs), total=len(jobs), unit="clip"):
            pass


def _write(job: tuple[int, Path, CorpusSettings]) -> None:
    seed, path, settings = job
    torch.set_num_threads(1)
    voices = None if settings.split == ALL_SPLITS else settings.split
    share = settings.augmented_share
    make_clip(seed, settings.seconds, settings.resolution, voices=voices, augmented_share=share).save(path)
