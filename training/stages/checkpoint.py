"""The checkpoint that a run of training leaves: a model to use, and the state from which the run resumes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError

from training.model.model import EmoModel

#: The file that a run resumes from.
STATE_FILE = "state.pt"


class Resumable(Protocol):
    """What has a state that a checkpoint keeps, in PyTorch's own manner."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, numbers and containers of them."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state that `state_dict` has given."""


def save_checkpoint(directory: Path, model: EmoModel, run: Resumable | None) -> None:
    """Writes a checkpoint, which replaces the earlier one only when all of its files are written.

    Args:
        directory: directory of the checkpoint
        model: what the checkpoint holds for use
        run: what resumes from it; None writes no state

    Raises:
        OSError: if a file cannot be written, on a full disk for one. The earlier checkpoint is still there.
    """
    partial = directory / "partial"
    try:
        model.save(partial)
        if run:
            torch.save(run.state_dict(), partial / STATE_FILE)
        for path in sorted(path for path in partial.rglob("*") if path.is_file()):
            kept = directory / path.relative_to(partial)
            kept.parent.mkdir(exist_ok=True)
            path.replace(kept)
    except (RuntimeError, SafetensorError) as error:  # a full disk, as PyTorch and safetensors report it
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_no_state(directory: Path) -> None:
    """Raises ValueError if the checkpoint of `directory` is of a run that can be resumed: another would replace it."""
    if (path := directory / STATE_FILE).exists():
        raise ValueError(f"{path} is of a run that can go on; a run by the clock needs another --out")


def resume(directory: Path, run: Resumable) -> None:
    """Gives `run` the state that the checkpoint of `directory` keeps, if there is one.

    Raises:
        ValueError: if the state cannot be read or is of another run.
    """
    path = directory / STATE_FILE
    if not path.exists():
        return
    try:
        run.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a pickle can break in any way
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is no state of this run: {reason}; delete it, or choose another --out") from None
