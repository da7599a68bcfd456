"""The bundle: a directory with the graphs of a model and the `manifest.json` that describes them.

The export writes it, and the runtime trusts nothing in it: `Bundle.load` checks the manifest, and the sha256 of every
file that it names. The records of the manifest are in `emo_rt.manifest`; what goes with a bundle is imported from here.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_rt.errors import BundleError, reason
from emo_rt.manifest import (
    FORMAT_VERSION,
    GRAPH_NAMES,
    STEP_GRAPHS,
    GraphSpec,
    Manifest,
    NoiseSchedule,
    RuntimeConfig,
    TensorSpec,
)

__all__ = [
    "FORMAT_VERSION",
    "GRAPH_NAMES",
    "HINT",
    "MANIFEST_NAME",
    "STEP_GRAPHS",
    "VALIDATION_NAME",
    "Bundle",
    "GraphSpec",
    "Manifest",
    "NoiseSchedule",
    "RuntimeConfig",
    "TensorSpec",
    "file_sha256",
    "read_json",
]

MANIFEST_NAME = "manifest.json"
VALIDATION_NAME = "validation.json"
#: How to put a faulty bundle right; the end of every message about one.
HINT = "rebuild it with `python -m export.build` in a checkout of emo-rt, or reinstall emo-rt if it came with it"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk.

    Attributes:
        directory: directory of the bundle
        manifest: content of its `manifest.json`
    """

    directory: Path
    manifest: Manifest

    @property
    def config(self) -> RuntimeConfig:
        """The facts of the model that the runtime needs."""
        return self.manifest.config

    @property
    def noise_schedule(self) -> NoiseSchedule:
        """The noise schedule that the model was trained with."""
        return self.manifest.noise_schedule

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of the manifest. It covers the graphs by their sha256: equal digests, equal bundles."""
        return hashlib.sha256(json.dumps(self.manifest.to_json(), sort_keys=True).encode()).hexdigest()

    def graph_path(self, graph_name: str) -> Path:
        """The path of a graph's ONNX file."""
        return self.directory / self.manifest.graphs[graph_name].file

    @classmethod
    def load(cls, directory: str | Path, *, validated: bool = True) -> Bundle:
        """Reads `manifest.json` and verifies every file that it names.

        Args:
            directory: directory of the bundle
            validated: whether to refuse a bundle whose validation found that it differs too much from the PyTorch model

        Raises:
            BundleError: for the first fault; the message names the file at fault and says what to do.
        """
        directory = Path(directory)
        if not os.path.isdir(directory):
            raise BundleError(
                f"bundle {directory}: no such directory; give one that `python -m export.build` wrote in a checkout of "
                "emo-rt, or none to use the bundle that comes with emo-rt"
            )
        manifest = _read_manifest(directory)
        for graph in manifest.graphs.values():
            for name, sha256 in graph.files.items():
                _check_file(directory, name, sha256)
        if validated and (failures := _failures(directory)):
            raise BundleError(
                f"bundle {directory}: its video differs from that of its model ({failures[0]}); "
                f"{HINT}, or run it all the same with --unvalidated (validated=False in Python)"
            )
        return cls(directory, manifest)


def _read_manifest(directory: Path) -> Manifest:
    try:
        data = read_json(directory / MANIFEST_NAME)
    except FileNotFoundError:
        raise BundleError(f"bundle {directory}: {MANIFEST_NAME} is missing; {HINT}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"bundle {directory}: {MANIFEST_NAME} cannot be read ({reason(error)}); {HINT}") from error
    try:
        return Manifest.from_json(data)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise BundleError(f"bundle {directory}: {MANIFEST_NAME}: {reason(error)}; {HINT}") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is no JSON.
        RecursionError: if it is nested too deeply.
    """
    if path.exists() and not path.is_file():  # to read a named pipe would take for ever
        raise OSError(f"{path.name} is no file")
    return json.loads(path.read_text(encoding="utf-8"))


def _check_file(directory: Path, name: str, sha256: str) -> None:
    """Raises BundleError if a file of the bundle is not the one that was exported."""
    try:
        if (directory / name).exists() and not (directory / name).is_file():
            raise BundleError(f"bundle {directory}: {name} is no file; {HINT}")
        found = file_sha256(directory / name)
    except FileNotFoundError:
        raise BundleError(f"bundle {directory}: {name} is missing; {HINT}") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"bundle {directory}: {name} cannot be read ({reason(error)}); {HINT}") from error
    if found != sha256:
        raise BundleError(f"bundle {directory}: {name} is not the file that was exported (sha256); {HINT}")


def _failures(directory: Path) -> list[str]:
    """The failures that the bundle's validation found; none if it was never validated."""
    try:
        failures = read_json(directory / VALIDATION_NAME)["failures"]
        if not isinstance(failures, list):
            raise TypeError("its failures are no list")
        return [reason(Exception(failure)) for failure in failures]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return [f"{VALIDATION_NAME} cannot be read: {reason(error)}"]


def file_sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
