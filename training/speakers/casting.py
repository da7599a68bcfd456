"""Whose photograph becomes the puppet of a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tqdm import tqdm

from training.clips.held_out import is_held_out_person, is_held_out_seed
from training.speakers.puppets.photographs import photograph_paths, read_identity

#: Share of the people in a folder of photographs that is kept from training, in percent.
HELD_OUT_PERCENT = 10.0


@dataclass(frozen=True)
class Cast:
    """The people of a folder of photographs.

    Attributes:
        folder: the folder.
        photographs: the `.npz` files of each person's photographs, by identity.
        fingerprint: what the folder holds: numbers of pictures and people, and a hash of names and landmarks.
    """

    folder: Path
    photographs: dict[str, list[Path]]
    fingerprint: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Looks who is in a folder of photographs.

        Raises:
            FileNotFoundError: if the folder has none.
            ValueError: if one is of another version or damaged, or its picture or mask is missing.
        """
        photographs: dict[str, list[Path]] = {}
        digest = hashlib.sha256()
        paths = photograph_paths(folder)
        for path in tqdm(paths, desc="reading portraits", unit="portrait", delay=1):
            photographs.setdefault(read_identity(path), []).append(path)
            digest.update(path.stem.encode() + path.read_bytes())
        held = f"{len(paths)} pictures of {len(photographs)} people"
        return cls(folder, photographs, f"{held} ({digest.hexdigest()[:12]})")

    def photograph(self, seed: int) -> Path:
        """The file of the photograph of a seed: of somebody held out if the seed is held out.

        People are ranked by a hash of seed and identity, so that one person more changes few seeds' photographs.

        Raises:
            ValueError: if nobody, or everybody, is held out and the seed needs the others.
        """
        held_out = is_held_out_seed(seed)
        people = [name for name in self.photographs if is_held_out_person(name, HELD_OUT_PERCENT) == held_out]
        if not people:
            kind, other = ("kept from training", "train") if held_out else ("for training", "held-out")
            raise ValueError(
                f"{self.folder}: nobody of its {len(self.photographs)} people is {kind}; add portraits of more people, "
                f"or take --split {other}"
            )
        person = min(people, key=lambda name: _rank(seed, name))
        return min(self.photographs[person], key=lambda path: _rank(seed, path.stem))


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
