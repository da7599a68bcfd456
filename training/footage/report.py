"""What became of each video of some footage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.clips.clip import TrainingClip
from training.clips.rates import FRAMES_PER_SECOND

REPORT = "report.jsonl"


@dataclass(frozen=True)
class Settings:
    """What the clips depend on, besides the videos."""

    resolution: int  # pixels a side
    seconds: float  # length of a clip
    held_out: float  # percent of the identities
    min_face: float  # pixels, width in the video
    detect_every: int  # frames
    landmarker: str | None = None  # a file
    reader: str | None = None  # a directory
    annotations: str | None = None  # a directory

    @property
    def clip_frames(self) -> int:
        return round(self.seconds * FRAMES_PER_SECOND)


@dataclass
class Outcome:
    """What became of a video; a line of the report."""

    video: str
    identity: str
    split: str
    clips: list[str] = field(default_factory=list)
    seconds: float = 0.0  # kept
    seconds_with_sound: float = 0.0
    seconds_with_rotation: float = 0.0
    rejected: dict[str, float] = field(default_factory=dict)  # seconds by reason; 0 where they were not counted
    error: str | None = None

    def reject(self, reason: str, frames: int = 0) -> None:
        seconds = self.rejected.get(reason, 0.0) + frames / FRAMES_PER_SECOND
        self.rejected[reason] = round(seconds, 2)

    def keep(self, name: str, clip: TrainingClip) -> None:
        seconds = len(clip.frames) / FRAMES_PER_SECOND
        self.clips.append(name)
        self.seconds = round(self.seconds + seconds, 2)
        self.seconds_with_sound = round(self.seconds_with_sound + seconds * clip.knows("waveform"), 2)
        self.seconds_with_rotation = round(self.seconds_with_rotation + seconds * clip.knows("rotation"), 2)


class PreparationReport:
    """The outcomes so far, a line each in ``report.jsonl``; the first line holds the settings.

    Raises:
        ValueError: if the report is of other settings.
    """

    def __init__(self, out: Path, settings: Settings) -> None:
        self.path = out / REPORT
        self.outcomes: dict[str, Outcome] = {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # half a line, of a run that was killed: that video is done again
            if "settings" in entry:
                self._check(entry["settings"], asdict(settings))
            else:
                self.outcomes[entry["video"]] = Outcome(**entry)
        entries: list[dict[str, Any]] = [{"settings": asdict(settings)}, *map(asdict, self.outcomes.values())]
        partial = self.path.with_suffix(".part")
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        partial.replace(self.path)

    def _check(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name, value in now.items():
            if before.get(name) != value:
                option = "--" + name.replace("_", "-")
                raise ValueError(
                    f"{self.path.parent} was begun with {option} {before.get(name)}, not {value}: "
                    "go on with the same, or give another directory"
                )

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.video] = outcome
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")

    def table(self) -> str:
        """What was kept and what was not, in minutes."""
        outcomes = self.outcomes.values()
        rows = []
        for split in ("train", "held-out"):
            kept = [outcome for outcome in outcomes if outcome.split == split and outcome.clips]
            clips, people = sum(len(o.clips) for o in kept), len({o.identity for o in kept})
            note = f"{clips} clips of {people} identities"
            rows.append((split, len(kept), sum(o.seconds for o in kept), note))
        with_sound, with_rotation = (
            [o for o in outcomes if getattr(o, name)] for name in ("seconds_with_sound", "seconds_with_rotation")
        )
        rows.append(("  with sound", len(with_sound), sum(o.seconds_with_sound for o in with_sound), ""))
        rows.append(("  with rotation", len(with_rotation), sum(o.seconds_with_rotation for o in with_rotation), ""))
        for reason in sorted({reason for o in outcomes for reason in o.rejected}):
            found = [o for o in outcomes if reason in o.rejected]
            rows.append((f"rejected: {reason}", len(found), sum(o.rejected[reason] for o in found), ""))
        lines = [f"{'':34}{'videos':>8}{'minutes':>10}"]
        lines += [f"{name:34}{videos:8}{seconds / 60:10.2f}  {note}".rstrip() for name, videos, seconds, note in rows]
        return "\n".join(lines)
