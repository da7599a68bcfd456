"""What became of each picture of a folder of portraits: one line each in `portraits.jsonl`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from emo_rt.atomic import atomic_write
from training.speakers.portraits.pictures import PortraitFile

_FILE_NAME = "portraits.jsonl"


@dataclass(frozen=True)
class PortraitOutcome:
    """What became of one picture; a line of the report.

    Attributes:
        picture: path relative to the portraits' folder.
        stamp: `PortraitFile.stamp` of the picture that this is about.
        name: name of the photograph.
        identity: who is seen.
        rejected: why there is no photograph; None if there is one.
        glasses: whether the person wears glasses; None if there is no photograph.
    """

    picture: str
    stamp: str
    name: str
    identity: str
    rejected: str | None = None
    glasses: bool | None = None


class PortraitReport:
    """The outcomes so far. Opening a report drops a last line that was only half written.

    Args:
        out: folder of the photographs, which exists.

    Attributes:
        path: the report's file.
        outcomes: the outcome of each finished picture, by its path.

    Raises:
        OSError: if the file cannot be read or written.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / _FILE_NAME
        self.outcomes: dict[str, PortraitOutcome] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                outcome = PortraitOutcome(**json.loads(line))
            except (json.JSONDecodeError, TypeError):
                continue
            self.outcomes[outcome.picture] = outcome
        with atomic_write(self.path) as file:
            file.write("".join(map(_line, self.outcomes.values())).encode())

    def knows(self, file: PortraitFile) -> bool:
        """Whether this very picture is finished, and its photograph, if it became one, is still there."""
        before = self.outcomes.get(file.picture)
        if not before or (before.name, before.identity, before.stamp) != (file.name, file.identity, file.stamp()):
            return False
        return bool(before.rejected) or (self.path.parent / f"{before.name}.npz").exists()

    def add(self, outcome: PortraitOutcome) -> None:
        """Writes the outcome of a finished picture; it takes the place of an older one.

        Raises:
            OSError: if the file cannot be written.
        """
        self.outcomes[outcome.picture] = outcome
        with self.path.open("a") as file:
            file.write(_line(outcome))

    def reasons(self) -> str:
        """The reasons of all rejections, the most frequent first: "3 x no face, 1 x the head is turned"."""
        reasons = Counter(outcome.rejected for outcome in self.outcomes.values() if outcome.rejected)
        return ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common())

    def table(self) -> str:
        """What was kept and what was not: lines of text with numbers of pictures."""
        outcomes = self.outcomes.values()
        kept = [outcome for outcome in outcomes if not outcome.rejected]
        people = len({outcome.identity for outcome in kept})
        glasses = sum(bool(outcome.glasses) for outcome in kept)
        lines = [
            f"{len(kept):7} photographs of {people} people, {glasses} with glasses",
            f"{len(outcomes) - len(kept):7} rejected",
        ]
        reasons = Counter(outcome.rejected for outcome in outcomes if outcome.rejected)
        return "\n".join([*lines, *(f"{count:7}   {reason}" for reason, count in reasons.most_common())])


def _line(outcome: PortraitOutcome) -> str:
    return json.dumps(asdict(outcome)) + "\n"
