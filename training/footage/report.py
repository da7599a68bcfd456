"""What became of each video of some footage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emo_rt.atomic import atomic_write
from training.clips.clip import TrainingClip
from training.clips.rates import FRAMES_PER_SECOND
from training.footage.settings import PreparationSettings

FOOTAGE_SPLITS = ("train", "held-out")
_FILE_NAME = "report.jsonl"


@dataclass
class VideoOutcome:
    """What became of one video; a line of the report.

    Attributes:
        video: path relative to the footage's folder.
        identity: name of the person who speaks.
        split: "train" or "held-out".
        clips: paths of the clips, relative to the output's folder.
        seconds: length of all clips.
        seconds_with_sound: length of the clips that have a voice.
        seconds_with_rotation: length of the clips that have the head's rotation.
        rejected: length in seconds of what was left out, by reason; 0 where it was not measured.
        error: why the video could not be used; None if it could.
    """

    video: str
    identity: str
    split: str
    clips: list[str] = field(default_factory=list)
    seconds: float = 0.0
    seconds_with_sound: float = 0.0
    seconds_with_rotation: float = 0.0
    rejected: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def reject(self, reason: str, frames: int = 0) -> None:
        """Counts a number of frames as left out for a reason."""
        seconds = self.rejected.get(reason, 0.0) + frames / FRAMES_PER_SECOND
        self.rejected[reason] = round(seconds, 2)

    def keep(self, name: str, clip: TrainingClip) -> None:
        """Counts a clip as made; `name` is its path relative to the output's folder."""
        seconds = len(clip.frames) / FRAMES_PER_SECOND
        self.clips.append(name)
        self.seconds = round(self.seconds + seconds, 2)
        self.seconds_with_sound = round(self.seconds_with_sound + seconds * clip.knows("waveform"), 2)
        self.seconds_with_rotation = round(self.seconds_with_rotation + seconds * clip.knows("rotation"), 2)


class PreparationReport:
    """The outcomes so far, one line for each in `report.jsonl`; the first line holds the settings.

    Opening a report drops a last line that was only half written, so that its video is done again.

    Args:
        out: folder of the output.
        settings: settings of all its clips.

    Attributes:
        path: the report's file.
        outcomes: the outcome of each finished video, by its name.

    Raises:
        ValueError: if the clips that are there were made with other settings.
        OSError: if the file cannot be written.
    """

    def __init__(self, out: Path, settings: PreparationSettings) -> None:
        self.path = out / _FILE_NAME
        self.outcomes: dict[str, VideoOutcome] = {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "settings" in entry:
                self._check(entry["settings"], asdict(settings))
            else:
                self.outcomes[entry["video"]] = VideoOutcome(**entry)
        entries: list[dict[str, Any]] = [{"settings": asdict(settings)}, *map(asdict, self.outcomes.values())]
        with atomic_write(self.path) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in entries).encode())

    def _check(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name, value in now.items():
            if before.get(name) != value:
                option = "--" + name.replace("_", "-")
                raise ValueError(
                    f"{self.path.parent} was begun with {option} {before.get(name)}, not {value}: "
                    "go on with the same, or give another directory"
                )

    def add(self, outcome: VideoOutcome) -> None:
        """Writes the outcome of a finished video.

        Raises:
            OSError: if the file cannot be written.
        """
        self.outcomes[outcome.video] = outcome
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")

    def table(self) -> str:
        """What was kept and what was not: lines of text with the number of videos and minutes."""
        outcomes = list(self.outcomes.values())
        lines = [f"{'':34}{'videos':>8}{'minutes':>10}"]
        for split in FOOTAGE_SPLITS:
            kept = [outcome for outcome in outcomes if outcome.split == split and outcome.clips]
            clips, people = sum(len(o.clips) for o in kept), len({o.identity for o in kept})
            lines.append(f"{_line(split, [o.seconds for o in kept])}  {clips} clips of {people} identities")
        lines.append(_line("  with sound", [o.seconds_with_sound for o in outcomes if o.seconds_with_sound]))
        lines.append(_line("  with rotation", [o.seconds_with_rotation for o in outcomes if o.seconds_with_rotation]))
        for reason in sorted({reason for o in outcomes for reason in o.rejected}):
            seconds = [o.rejected[reason] for o in outcomes if reason in o.rejected]
            lines.append(_line(f"rejected: {reason}", seconds))
        return "\n".join(lines)


def _line(name: str, seconds: Sequence[float]) -> str:
    return f"{name:34}{len(seconds):8}{sum(seconds) / 60:10.2f}"
