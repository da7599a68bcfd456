"""What a training run leaves to look at: losses as small data, losses and pictures for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """The losses of a run, in ``log.jsonl`` and for TensorBoard; those that a killed run left after ``step`` go."""

    def __init__(self, directory: Path, step: int) -> None:
        self.path = directory / "log.jsonl"
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        self.path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))
        self.tensorboard = SummaryWriter(directory, purge_step=step + 1)

    def write(self, step: int, loss: float, frames_per_second: float) -> None:
        line = {"step": step, "loss": round(loss, 6), "frames_per_second": round(frames_per_second, 1)}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.tensorboard.add_scalar("loss", loss, step)
        self.tensorboard.add_scalar("frames_per_second", frames_per_second, step)
        self.tensorboard.flush()

    def write_held_out(self, step: int, loss: float) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "held_out_loss": round(loss, 6)}) + "\n")
        self.tensorboard.add_scalar("held_out_loss", loss, step)
        self.tensorboard.flush()

    def pictures(self, step: int, pictures: np.ndarray | None) -> None:
        if pictures is not None:
            self.tensorboard.add_image("samples", pictures, step, dataformats="HWC")
            self.tensorboard.flush()
