"""What a step and the decoder cost as clips grow in length and resolution."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.interleaved import median_milliseconds
from emo_rt.engines.registry import available_backends, engine_class
from export.graphs.modules import export_graphs
from export.graphs.onnx_file import export_part, graph_spec
from export.graphs.options import BuildOptions
from training.model.config import EmoConfig
from training.model.model import EmoModel

#: The backends that growing clips are timed with, where they run.
GROWTH_BACKENDS = ("onnxruntime", "openvino-bf16")
#: Number of rounds of each size.
_ROUNDS = 7
#: The graphs that are timed: a step and the decoder.
TIMED_GRAPHS = ("guided_backbone", "vae_decoder")


def time_growth(checkpoint: Path, frames: Sequence[int], resolutions: Sequence[int]) -> list[dict[str, Any]]:
    """Time a guided step and the decoder for clips of other lengths and resolutions.

    The clips of two videos in one batch would cost what one clip of twice the frames costs, or more.

    Args:
        checkpoint: directory of the model
        frames: lengths of clips in frames, at the checkpoint's resolution
        resolutions: sides of the video in pixels, at the checkpoint's clip length

    Returns:
        For each size and backend `backend`, `clip_frames`, `resolution`, and the median `step_milliseconds_per_frame`
        and `decoder_milliseconds_per_frame`.
    """
    config = EmoConfig.load(checkpoint / "config.json")
    sizes = [(count, config.resolution) for count in frames] + [(config.clip_frames, side) for side in resolutions]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count, side in tqdm(sizes, desc="sizes", unit="size"):
            changes = BuildOptions(clip_frames=count, resolution=side).config_changes
            made = export_graphs(EmoModel.load(checkpoint, **changes))
            graphs = {name: made[name] for name in TIMED_GRAPHS}
            directory = Path(folder) / f"{count}-{side}"
            directory.mkdir()
            export_part(graphs, directory)
            for backend in (backend for backend in GROWTH_BACKENDS if backend in available_backends()):
                calls: list[Callable[[], object]] = []
                for name, graph in graphs.items():
                    path = directory / f"{name}.onnx"
                    engine = engine_class(backend)(name, path, graph_spec(path), None)
                    arrays = {key: tensor.numpy() for key, tensor in graph.inputs.items()}
                    calls.append(lambda engine=engine, arrays=arrays: engine.run(arrays))  # type: ignore[misc]
                step, decoder = median_milliseconds(calls, _ROUNDS)
                rows.append(
                    {
                        "backend": backend,
                        "clip_frames": count,
                        "resolution": side,
                        "step_milliseconds_per_frame": round(step / count, 3),
                        "decoder_milliseconds_per_frame": round(decoder / count, 3),
                    }
                )
    return rows
