"""A folder of generated clips: one for each seed, made by several processes."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emo_rt.atomic import atomic_write
from training.clips.clip import TrainingClip
from training.clips.held_out import is_held_out_seed
from training.clips.names import COMPACT_SUFFIX
from training.clips.workers import Workers
from training.speakers.casting import Cast
from training.speakers.puppets.photographs import Photograph
from training.speakers.speaker import make_clip, make_puppet_clip
from training.speakers.speech.voices import SPLITS

ALL_SPLITS = "all"
_SETTINGS_FILE = "settings.json"


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
        puppet_share: share of the clips that show photo puppets; the others show drawn heads.
        still_share: share of the puppets whose heads keep still while their faces move.
        compact: whether clips are written in their compact form (`training.clips.compact`).

    Raises:
        ValueError: naming the option of `python -m training.corpus` that is out of range.
    """

    clips: int = 500
    seconds: float = 4.0
    resolution: int = 128
    seed: int = 0
    split: str = ALL_SPLITS
    augmented_share: float | None = None
    puppet_share: float = 0.0
    still_share: float = 0.0
    compact: bool = False

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
        if not 0 <= self.puppet_share <= 1:
            raise ValueError(f"--puppet-share is between 0 and 1, not {self.puppet_share}")
        if not 0 <= self.still_share <= 1:
            raise ValueError(f"--still-share is between 0 and 1, not {self.still_share}")
        if self.resolution % 2 and (self.compact or self.puppet_share):
            raise ValueError(f"--resolution is even with --portraits or --compact, not {self.resolution}")

    @property
    def seeds(self) -> list[int]:
        """The first seeds of the split, one for each clip."""
        candidates = itertools.count(self.seed)
        if self.split == ALL_SPLITS:
            return list(itertools.islice(candidates, self.clips))
        held_out = self.split != "train"
        return list(itertools.islice((s for s in candidates if is_held_out_seed(s) == held_out), self.clips))

    def shows_puppet(self, seed: int) -> bool:
        """Whether the clip of a seed shows a puppet; a higher share only turns drawn heads into puppets."""
        return float(np.random.default_rng([seed, 0xCA57]).random()) < self.puppet_share

    def keeps_still(self, seed: int) -> bool:
        """Whether the head of a seed's puppet keeps still; a higher share only stills others."""
        return float(np.random.default_rng([seed, 0x57111]).random()) < self.still_share

    def file(self, seed: int) -> str:
        """The name of the file of a seed's clip."""
        return f"{seed:08d}{COMPACT_SUFFIX if self.compact else '.npz'}"


@dataclass(frozen=True)
class _ClipToMake:
    seed: int
    path: Path
    photograph: Path | None  # of a puppet


def write_corpus(out: Path, settings: CorpusSettings, portraits: Path | None, workers: Workers) -> None:
    """Writes the clips that the folder does not have yet.

    The folder's `settings.json` says what its clips are. More clips, or those of other seeds, may join them.

    Args:
        out: folder; it is made if it does not exist.
        settings: what the clips are.
        portraits: folder of photographs for the puppets; it is not needed without any.
        workers: who makes them.

    Raises:
        ValueError: if the photographs cannot be used, the folder holds clips of other settings, or a cluster does not
            answer.
        OSError: if the folder or a clip cannot be written.
    """
    if settings.puppet_share and not portraits:
        raise ValueError("--puppet-share needs --portraits, whose people the puppets are")
    cast = Cast.read(portraits) if portraits else None
    clips = [
        _ClipToMake(seed, path, cast.photograph(seed) if cast and settings.shows_puppet(seed) else None)
        for seed in settings.seeds
        if not (path := out / settings.file(seed)).exists()
    ]
    out.mkdir(parents=True, exist_ok=True)
    _remember(out, settings, cast)
    for _ in workers.results(_write, [(clip, settings) for clip in clips], "clip"):
        pass


def _remember(out: Path, settings: CorpusSettings, cast: Cast | None) -> None:
    """Writes what the clips of a folder are, or checks that they are what they were."""
    now: dict[str, Any] = {**asdict(settings), "portraits": cast.fingerprint if cast else None}
    del now["clips"], now["seed"]
    path = out / _SETTINGS_FILE
    if not path.exists():
        with atomic_write(path) as file:
            file.write(json.dumps(now, indent=1).encode())
        return
    try:
        before = {"still_share": 0.0, **json.loads(path.read_text())}
        before = {name: before[name] for name in now}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not say what the clips are ({error}): give another folder") from None
    for name, value in now.items():
        if before[name] != value:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{out} was begun with {option} {before[name]}, not {value}: "
                "go on with the same, or give another folder"
            )


def _write(job: tuple[_ClipToMake, CorpusSettings]) -> None:
    clip, settings = job
    torch.set_num_threads(1)
    _made(clip, settings).save(clip.path)


def _made(clip: _ClipToMake, settings: CorpusSettings) -> TrainingClip:
    size = (settings.seconds, settings.resolution)
    voices = None if settings.split == ALL_SPLITS else settings.split
    share = settings.augmented_share
    if clip.photograph is None:
        return make_clip(clip.seed, *size, voices=voices, augmented_share=share)
    photograph = Photograph.load(clip.photograph)
    still = settings.keeps_still(clip.seed)
    return make_puppet_clip(clip.seed, photograph, *size, voices=voices, augmented_share=share, still=still)
