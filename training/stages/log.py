"""The log of a training run: losses as JSON lines, losses and pictures for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from emo_rt.atomic import atomic_write


class TrainingLog:
    """Losses in `log.jsonl` and in TensorBoard's files; pictures in the latter alone.

    Args:
        directory: directory of both
        step: step from which the run goes on; what an earlier run has logged after it is removed
    """

    def __init__(self, directory: Path, step: int) -> None:
        self.path = directory / "log.jsonl"
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        with atomic_write(self.path) as file:
            file.writelines(line for line in lines if json.loads(line)["step"] <= step)
        self.tensorboard = SummaryWriter(directory, purge_step=step + 1)

    def write(self, step: int, loss: float, frames_per_second: float) -> None:
        """Logs the mean loss of the last steps, and the number of frames per second that they learned from."""
        self._append({"step": step, "loss": round(loss, 6), "frames_per_second": round(frames_per_second, 1)})
        self.tensorboard.add_scalar("loss", loss, step)
        self.tensorboard.add_scalar("frames_per_second", frames_per_second, step)
        self.tensorboard.flush()

    def write_held_out(self, step: int, loss: float) -> None:
        """Logs the loss on held-out clips."""
        self._append({"step": step, "held_out_loss": round(loss, 6)})
        self.tensorboard.add_scalar("held_out_loss", loss, step)
        self.tensorboard.flush()

    def write_pictures(self, step: int, pictures: np.ndarray | None) -> None:
        """Logs one RGB uint8 picture (h, w, 3), or nothing where there is none."""
        if pictures is not None:
            self.tensorboard.add_image("samples", pictures, step, dataformats="HWC")
            self.tensorboard.flush()

    def _append(self, line: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
