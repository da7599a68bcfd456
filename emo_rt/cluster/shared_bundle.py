"""A bundle that several machines of a cluster load: all of them have to have the same one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from emo_rt.bundle import MANIFEST_NAME, Bundle, file_sha256
from emo_rt.errors import InputError


@dataclass(frozen=True)
class SharedBundle:
    """A bundle as the machine that starts the work has it.

    Attributes:
        directory: its directory, at the same path on all machines
        sha256: sha256 of its manifest, which has those of all its files
        version: version of emo-rt
        validated: whether a bundle that differs too much from its model is refused
    """

    directory: Path
    sha256: str
    version: str
    validated: bool

    @classmethod
    def of(cls, bundle: Bundle, *, validated: bool) -> SharedBundle:
        """The bundle as it is on this machine."""
        directory = bundle.directory.resolve()
        return cls(directory, file_sha256(directory / MANIFEST_NAME), version("emo-rt"), validated)

    def load(self) -> Bundle:
        """The same bundle on another machine.

        Raises:
            EmoError: if the machine has another version of emo-rt, or another bundle or none at this path.
        """
        if (here := version("emo-rt")) != self.version:
            raise InputError(f"the worker has emo-rt {here}, and {self.version} is needed")
        bundle = Bundle.load(self.directory, validated=self.validated)
        if file_sha256(self.directory / MANIFEST_NAME) != self.sha256:
            raise InputError(f"the worker has another bundle in {self.directory}")
        return bundle
