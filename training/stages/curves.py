"""Draws the learning curves of training runs.

Writes NAME.json, the curves as small data, and NAME.png, a plot with one panel for each run, in the order given.
To draw the data again, perhaps with further runs, give the .json file instead of a run.

examples:
  python -m training.stages.curves runs/vae runs/image runs/video --out training/learning_curves/emo-photo
  python -m training.stages.curves training/learning_curves/emo-photo.json runs/speed --out curves
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from emo_rt.atomic import atomic_write

#: Largest number of points in a curve, and of panels in a row.
POINTS, COLUMNS = 100, 5


@dataclass(frozen=True)
class Curve:
    """Learning curve of one run.

    Attributes:
        run: name of the run
        step: steps of the curve
        loss: mean loss from the step before in the curve to each step
        held_out_step: steps at which the loss on held-out clips was measured
        held_out_loss: loss on held-out clips at these steps
    """

    run: str
    step: list[int]
    loss: list[float]
    held_out_step: list[int]
    held_out_loss: list[float]

    @classmethod
    def read(cls, run: Path) -> Curve:
        """Reads the log of a run's directory.

        Raises:
            ValueError: if there is no readable log. It names the file.
        """
        path = Path(run) / "log.jsonl"
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            train = np.array([(line["step"], line["loss"]) for line in lines if "loss" in line]).reshape(-1, 2)
            held_out = [(line["step"], line["held_out_loss"]) for line in lines if "held_out_loss" in line]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path} is no log of `python -m training.train`: {error}") from None
        if not len(train):
            raise ValueError(f"{path} has no loss yet")
        parts = np.array_split(train, min(POINTS, len(train)))
        return cls(
            run=Path(run).name,
            step=[int(part[-1, 0]) for part in parts],
            loss=[round(float(part[:, 1].mean()), 5) for part in parts],
            held_out_step=[step for step, _ in held_out],
            held_out_loss=[round(loss, 5) for _, loss in held_out],
        )


def read_curves(path: Path) -> list[Curve]:
    """Reads what `write_curves` has written.

    Raises:
        ValueError: if the file holds no curves. It names the file.
    """
    try:
        return [Curve(**curve) for curve in json.loads(Path(path).read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no curves: {error}") from None


def write_curves(curves: Sequence[Curve], path: Path) -> None:
    """Writes a JSON file with one line for each run, so that two versions are easy to compare."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(("[\n" + ",\n".join(json.dumps(asdict(curve)) for curve in curves) + "\n]\n").encode())


def plot_curves(curves: Sequence[Curve], path: Path) -> None:
    """Writes a PNG file with one panel for each curve, row by row."""
    from matplotlib.figure import Figure

    columns, rows = min(len(curves), COLUMNS), math.ceil(len(curves) / COLUMNS)
    figure = Figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
    for index, curve in enumerate(curves, 1):
        axes = figure.add_subplot(rows, columns, index)
        axes.plot(curve.step, curve.loss, color="#888888", label="training clips")
        axes.plot(
            curve.held_out_step, curve.held_out_loss, ".-", color="#e06000", label="held-out clips, averaged weights"
        )
        axes.set(title=curve.run, xlabel="step", yscale="log")
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].set_ylabel("loss")
    if any(curve.held_out_step for curve in curves):
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=100)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.stages.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a run, or a .json of curves")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME", help="where to write NAME.json and NAME.png")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    args = _parser().parse_args(arguments)
    try:
        curves = [
            curve for run in args.runs for curve in (read_curves(run) if run.suffix == ".json" else [Curve.read(run)])
        ]
        write_curves(curves, args.out.with_suffix(".json"))
        plot_curves(curves, args.out.with_suffix(".png"))
    except (OSError, ValueError) as error:
        print(f"curves: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
