"""What each technique brings on a processor, one a row: ``python -m benchmarks.cpu``.

A step with guidance, and the whole pipeline (voice, ReferenceNet, steps, decoder, H.264) in seconds per clip, in
PyTorch, then in the engines, then with the stages at work at the same time and deep features reused. Rows take turns
within one run. Beside each median: how far the video is from PyTorch's, and how well the movement of the mouth in it
follows that of PyTorch's.

Then what a clip costs as its length and resolution grow, and the command line as the voice grows. A plot shows the
pipeline row by row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.interleaved import median_milliseconds
from benchmarks.length import time_videos
from benchmarks.machine import machine, results_file
from benchmarks.precisions import bundle_of
from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.registry import check_runs_here, runs_here
from emo_rt.errors import EmoError
from emo_rt.media.video import encode_clip
from export.build import MODELS
from export.bundle import build, convert, load
from export.graphs.modules import export_graphs
from export.manifest import noise_schedule, runtime_config
from export.sample import Sample, bundled_sample
from export.sources import Options, read_sources
from export.torch_engine import TorchEngine
from training.evaluation.metrics import correlation, psnr
from training.evaluation.reader import BUNDLED_READER, FaceReader
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline

CLIPS = 4
ENGINES = {
    "ONNX Runtime": "onnxruntime:fp32",
    "ONNX Runtime, INT8": "onnxruntime:int8",
    "OpenVINO": "openvino:fp32",
    "OpenVINO, INT8": "openvino:int8",
    "OpenVINO, bfloat16": "openvino-bf16:fp32",
    "OpenVINO, INT8 and bfloat16": "openvino-bf16:int8",
}
OVERLAPPED = ("ONNX Runtime", "OpenVINO, bfloat16", "OpenVINO, INT8 and bfloat16")
#: What the cost of larger clips is measured with.
GROWING = ("onnxruntime", "openvino-bf16")
#: Each of these rows is measured again with so much of its steps reused: one in so many is whole.
CACHE_INTERVALS = (2, 4)


@dataclass(frozen=True)
class Row:
    """A way to make a video of ``CLIPS`` clips, encoded, and to make one step with guidance."""

    name: str
    video: Callable[[], np.ndarray]
    step: Callable[[], object] | None = None


def pipeline_row(model: EmoModel, scene: Sample) -> Row:
    """The reference pipeline as it is."""
    pipeline, fps = EmoPipeline(model), model.config.frames_per_second
    inputs = export_graphs(model)["guided_backbone"].inputs
    voices = [{k: v[i : i + 1] if k.startswith("audio_") else v for k, v in inputs.items()} for i in range(2)]
    timestep = torch.tensor([500.0])

    def video() -> np.ndarray:
        frames = pipeline(scene.portrait, scene.face_box, scene.waveform, scene.frames)
        for first in range(0, len(frames), model.config.clip_frames):
            encode_clip(frames[first : first + model.config.clip_frames], fps)
        return frames

    @torch.no_grad()
    def step() -> None:
        for conditions in voices:
            model.backbone(inputs["latents"][None], timestep, conditions)

    return Row("PyTorch", video, step)


def cascade_row(name: str, cascade: Cascade, scene: Sample, example: dict[str, np.ndarray]) -> Row:
    """The cascade, one stage after another."""
    fps = cascade.config.frames_per_second

    def video() -> np.ndarray:
        clips = []
        for frames in cascade.generate(scene.portrait, scene.face_box, [scene.waveform], max_frames=scene.frames):
            encode_clip(frames, fps)
            clips.append(frames)
        return np.concatenate(clips)

    step = cascade.engine("guided_backbone")
    return Row(name, video, lambda: to_numpy(step.run(example)["next_latents"]))


def overlapped_row(name: str, cascade: Cascade, scene: Sample, cache_interval: int = 1) -> Row:
    """The cascade with its stages at work at the same time."""
    sampling = Sampling.of(cascade.config, cache_interval=cache_interval)
    fps = cascade.config.frames_per_second

    def video() -> np.ndarray:
        clips = []
        denoised = cascade.denoise(scene.portrait, scene.face_box, [scene.waveform], sampling, max_frames=scene.frames)
        with closing(decoded_clips(cascade, denoised)) as decoded:
            for _, frames in decoded:
                encode_clip(frames, fps)
                clips.append(frames)
        return np.concatenate(clips)

    cached = f", 1 step in {cache_interval} whole" if cache_interval > 1 else ""
    return Row(f"{name}, overlapped{cached}", video)


def make_rows(checkpoint: Path, scene: Sample, threads: int | None) -> list[Row]:
    """All rows; engines that cannot run here are left out and said."""
    model = EmoModel.load(checkpoint)
    example = {key: tensor.numpy() for key, tensor in export_graphs(model)["guided_backbone"].inputs.items()}
    found = [pipeline_row(model, scene)]
    for name, precision, compiled in (
        ("PyTorch, constants once", "fp32", False),
        ("torch.compile", "fp32", True),
        ("torch.compile, bfloat16", "bf16", True),
    ):
        options = Options(precision, "tensorrt")
        made = export_graphs(convert(load(checkpoint, options), options))
        engines = {graph: TorchEngine(graph, module, "cpu", compiled) for graph, module in made.items()}
        cascade = Cascade(runtime_config(model.config), noise_schedule(model.config), engines.__getitem__)
        found.append(cascade_row(name, cascade, scene, example))
    for name, engine in ENGINES.items():
        backend, precision = engine.split(":")
        try:
            check_runs_here(backend)
        except EmoError as error:
            print(f"without {name}: {error}", file=sys.stderr)
            continue
        bundle = bundle_of(checkpoint, f"{backend.partition('-')[0]}:{precision}")
        cascade = Cascade.load(bundle, backend, threads)
        found.append(cascade_row(name, cascade, scene, example))
        if name in OVERLAPPED:
            found += [overlapped_row(name, cascade, scene, interval) for interval in (1, *CACHE_INTERVALS)]
    return found


def measure(rows: Sequence[Row], turns: int, reader: FaceReader) -> list[dict[str, Any]]:
    """Median seconds per clip and milliseconds per step of each row, its PSNR in dB and its mouth against the first."""
    videos = [row.video() for row in tqdm(rows, desc="warming up", unit="row")]
    mouths = [reader.read(video).mouth_opening for video in videos]
    taken: list[list[float]] = [[] for _ in rows]
    for _ in tqdm(range(turns), desc="videos", unit="turn"):
        for seconds, row in zip(taken, rows, strict=True):
            started = time.perf_counter()
            row.video()
            seconds.append((time.perf_counter() - started) / CLIPS)
    stepping = [row for row in rows if row.step is not None]
    steps = median_milliseconds([row.step for row in stepping if row.step], turns)
    step_of = {row.name: milliseconds for row, milliseconds in zip(stepping, steps, strict=True)}
    first = statistics.median(taken[0])
    return [
        {
            "row": row.name,
            "clip_seconds": round(median := statistics.median(seconds), 4),
            "speedup": round(first / median, 2),
            "frames_per_second": round(len(video) / CLIPS / median, 1),
            "step_milliseconds": step_of.get(row.name),
            "psnr": round(psnr(video, videos[0]), 1),
            "mouth_correlation": round(correlation(mouth, mouths[0]), 4),
        }
        for row, seconds, video, mouth in zip(rows, taken, videos, mouths, strict=True)
    ]


def peak(model: EmoModel) -> dict[str, float]:
    """The operations of a step with guidance, in GFLOP, and what this machine makes of large products, in GFLOP/s."""
    graph = export_graphs(model)["guided_backbone"]
    with FlopCounterMode(display=False) as counter:
        graph.run()
    found = {"step_gflop": counter.get_total_flops() / 1e9}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(8):
            started = time.perf_counter()
            torch.mm(a, b)
            seconds.append(time.perf_counter() - started)
        found[f"peak_gflops_{name}"] = 2 * 2048**3 / statistics.median(seconds[2:]) / 1e9
    return {key: round(value, 2) for key, value in found.items()}


def growth(checkpoint: Path, frames: Sequence[int], resolutions: Sequence[int]) -> list[dict[str, Any]]:
    """What a step with guidance and the decoder cost for other clips, in milliseconds for each frame.

    Clips of two videos in one batch would cost what one clip of twice the frames costs, or more.
    """
    rows = []
    backends = [backend for backend in GROWING if backend in runs_here()]
    config = EmoModel.load(checkpoint).config
    sizes = [(count, config.resolution) for count in frames] + [(config.clip_frames, side) for side in resolutions]
    with tempfile.TemporaryDirectory() as folder:
        for count, side in tqdm(sizes, desc="sizes", unit="bundle"):
            options = Options("fp32", "onnxruntime", clip_frames=count, resolution=side)
            directory = Path(folder) / f"{count}-{side}"
            build(checkpoint, directory, options, read_sources(checkpoint, options), check=False)
            inputs = {name: graph.inputs for name, graph in export_graphs(load(checkpoint, options)).items()}
            for backend in backends:
                cascade = Cascade.load(Bundle.load(directory), backend)
                calls: list[Callable[[], object]] = []
                for name in ("guided_backbone", "vae_decoder"):
                    arrays = {key: tensor.numpy() for key, tensor in inputs[name].items()}
                    engine = cascade.engine(name)
                    calls.append(lambda engine=engine, arrays=arrays: engine.run(arrays))  # type: ignore[misc]
                step, decoder = median_milliseconds(calls, 7)
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


def plot(rows: Sequence[dict[str, Any]], playing: float, path: Path) -> None:
    """Seconds per clip, row by row, beside the seconds that one plays."""
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.4), layout="constrained")
    names = [row["row"] for row in rows]
    seconds = [row["clip_seconds"] for row in rows]
    bars = axes.barh(names, seconds, color=["#8a8a8a" if "orch" in name else "#3a6ea5" for name in names])
    labels = [f"{row['frames_per_second']:.0f} fps, {row['psnr']:.0f} dB" for row in rows]
    axes.bar_label(bars, labels, padding=4, bbox={"color": "white", "pad": 1})
    axes.axvline(playing, color="#c44444", linestyle="--", zorder=0)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlim(0, max(seconds) * 1.25)
    axes.set_xlabel("seconds for a clip, everything included (red: as long as it plays)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODELS / "emo-tiny", metavar="DIR", help="the checkpoint")
    parser.add_argument("--turns", type=int, default=7, help="of each row (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads of the engines (default: one per core)")
    parser.add_argument("--frames", type=int, nargs="*", default=[6, 12, 24], help="of a clip (default: 6 12 24)")
    parser.add_argument("--resolutions", type=int, nargs="*", default=[64, 192, 256], help="(default: 64 192 256)")
    parser.add_argument("--seconds", type=float, nargs="*", default=[10, 60], help="of voice (default: 10 60)")
    parser.add_argument("--out", type=Path, help="the JSON to write (default: in benchmarks/results)")
    args = parser.parse_args(arguments)
    facts = machine()
    model = EmoModel.load(args.model)
    config = model.config
    scene = bundled_sample(config, CLIPS * config.clip_frames)
    try:
        rows = measure(make_rows(args.model, scene, args.threads), args.turns, FaceReader.load(BUNDLED_READER))
        sizes = growth(args.model, args.frames, args.resolutions)
    except (EmoError, FileNotFoundError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        step = f"{row['step_milliseconds']:6.1f}" if row["step_milliseconds"] else "     -"
        print(
            f"{row['clip_seconds']:.3f} s a clip {row['speedup']:5.2f} x {row['frames_per_second']:6.1f} fps"
            f"{step} ms a step  {row['psnr']:5.1f} dB  mouth {row['mouth_correlation']:.4f}  {row['row']}"
        )
    result: dict[str, Any] = {"machine": facts, "model": config.name, "steps": config.steps, "rows": rows}
    result["peak"], result["sizes"] = peak(model), sizes
    print(json.dumps(result["peak"]))
    for size in sizes:
        print(json.dumps(size))
    if args.seconds and args.model == MODELS / "emo-tiny":
        result["videos"] = time_videos(args.seconds)
        for video in result["videos"]:
            print(json.dumps(video))
    path = args.out or results_file(f"cpu-{config.name}")
    path.write_text(json.dumps(result, indent=1) + "\n")
    plot(rows, config.clip_frames / config.frames_per_second, path.with_suffix(".png"))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
