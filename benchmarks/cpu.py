"""Time on a processor what each technique brings, one technique a row.

Times a step with guidance and the whole pipeline (voice, ReferenceNet, steps, decoder, H.264): in PyTorch, then in the
engines, then with stages that work ahead of each other and with cached steps. The rows alternate within one run. Beside
each median stand the PSNR of the video against PyTorch's, and the correlation of the mouth's movement with that in it.

Then it times clips of other lengths and resolutions, and the command line for longer voices. A chart shows the pipeline
row by row.

example:
  python -m benchmarks.cpu --rounds 3 --frames 12 --resolutions --seconds
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.growth import time_growth
from benchmarks.interleaved import median_milliseconds
from benchmarks.length import time_videos
from benchmarks.machine import CHECKOUT, machine_facts, results_file, write_results
from benchmarks.precisions import combination_bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.prefetch import decoded_clips
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.registry import check_runs_here
from emo_rt.errors import EmoError
from emo_rt.media.video import encode_clip
from export.graphs.exporter import convert
from export.graphs.modules import export_graphs
from export.graphs.options import BuildOptions
from export.manifest import noise_schedule, runtime_config
from export.sample import Sample, bundled_sample
from export.torch_engine import TorchEngine
from training.evaluation.metrics import correlation, psnr
from training.evaluation.reader import BUNDLED_READER, FaceReader
from training.model.conditions import Conditions
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline

#: Number of clips of a timed video.
VIDEO_CLIPS = 4
#: The rows of the engines: backend and the bundle's precision by name.
ENGINE_ROWS = {
    "ONNX Runtime": "onnxruntime:fp32",
    "ONNX Runtime, INT8": "onnxruntime:int8",
    "OpenVINO": "openvino:fp32",
    "OpenVINO, INT8": "openvino:int8",
    "OpenVINO, bfloat16": "openvino-bf16:fp32",
    "OpenVINO, INT8 and bfloat16": "openvino-bf16:int8",
}
#: The engines that are timed again with stages that work ahead of each other.
OVERLAPPED_ROWS = ("ONNX Runtime", "OpenVINO, bfloat16", "OpenVINO, INT8 and bfloat16")
#: The cache intervals that these are timed with, too: one step in so many is full.
CACHE_INTERVALS = (2, 4)
_BUNDLED = CHECKOUT / "models" / "emo-photo"


@dataclass(frozen=True)
class PipelineVariant:
    """One implementation of the pipeline.

    Attributes:
        name: name of the row
        video: function that makes and encodes `VIDEO_CLIPS` clips and returns the frames (t, h, w, 3)
        step: function that makes one step with guidance; None if that is timed in another row
    """

    name: str
    video: Callable[[], np.ndarray]
    step: Callable[[], object] | None = None


def reference_variant(model: EmoModel, sample: Sample) -> PipelineVariant:
    """The PyTorch pipeline as it is."""
    pipeline, fps = EmoPipeline(model), model.config.frames_per_second
    graph = export_graphs(model)["guided_backbone"]
    inputs = graph.inputs
    both_voices = Conditions.from_named_tensors(graph.conditions)
    voices = [both_voices.unconditional(), both_voices.conditional()]
    timestep = torch.tensor([500.0])

    def video() -> np.ndarray:
        frames = pipeline(sample.portrait, sample.face_box, sample.waveform, sample.frames)
        for first in range(0, len(frames), model.config.clip_frames):
            encode_clip(frames[first : first + model.config.clip_frames], fps)
        return frames

    @torch.no_grad()
    def step() -> None:
        for conditions in voices:
            model.backbone(inputs["latents"][None], timestep, conditions)

    return PipelineVariant("PyTorch", video, step)


def cascade_variant(name: str, cascade: Cascade, sample: Sample, example: dict[str, np.ndarray]) -> PipelineVariant:
    """The cascade, one stage after another.

    Args:
        name: name of the row
        cascade: cascade on the engines to time
        sample: portrait and voice to animate
        example: inputs of a step with guidance, by name
    """
    fps = cascade.config.frames_per_second

    def video() -> np.ndarray:
        clips = []
        for frames in cascade.generate(sample.portrait, sample.face_box, [sample.waveform], max_frames=sample.frames):
            encode_clip(frames, fps)
            clips.append(frames)
        return np.concatenate(clips)

    step = cascade.engine("guided_backbone")
    return PipelineVariant(name, video, lambda: to_numpy(step.run(example)["next_latents"]))


def overlapped_variant(name: str, cascade: Cascade, sample: Sample, cache_interval: int = 1) -> PipelineVariant:
    """The cascade with stages that work ahead of each other.

    Args:
        name: name of the engines
        cascade: cascade on the engines to time
        sample: portrait and voice to animate
        cache_interval: number of steps of which one is full
    """
    sampling = Sampling.of(cascade.config, cache_interval=cache_interval)
    fps = cascade.config.frames_per_second

    def video() -> np.ndarray:
        clips = []
        denoised = cascade.denoise(
            sample.portrait, sample.face_box, [sample.waveform], sampling, max_frames=sample.frames
        )
        with closing(decoded_clips(cascade, denoised)) as decoded:
            for _, frames in decoded:
                encode_clip(frames, fps)
                clips.append(frames)
        return np.concatenate(clips)

    cached = f", 1 full step in {cache_interval}" if cache_interval > 1 else ""
    return PipelineVariant(f"{name}, overlapped{cached}", video)


def pipeline_variants(checkpoint: Path, sample: Sample, threads: int | None) -> list[PipelineVariant]:
    """All rows of the table; a line on stderr names the engines that cannot run here.

    Args:
        checkpoint: directory of the model
        sample: portrait and voice to animate
        threads: number of CPU threads of the engines; None for one per core
    """
    model = EmoModel.load(checkpoint)
    example = {key: tensor.numpy() for key, tensor in export_graphs(model)["guided_backbone"].inputs.items()}
    variants = [reference_variant(model, sample)]
    for name, precision, compiled in (
        ("PyTorch, constants once", "fp32", False),
        ("torch.compile", "fp32", True),
        ("torch.compile, bfloat16", "bf16", True),
    ):
        dtype = BuildOptions(precision, "tensorrt").dtype
        made = export_graphs(convert(EmoModel.load(checkpoint), dtype))
        engines = {graph: TorchEngine(graph, module, "cpu", compiled) for graph, module in made.items()}
        cascade = Cascade(runtime_config(model.config), noise_schedule(model.config), engines.__getitem__)
        variants.append(cascade_variant(name, cascade, sample, example))
    for name, engine in ENGINE_ROWS.items():
        backend, precision = engine.split(":")
        try:
            check_runs_here(backend)
        except EmoError as error:
            print(f"without {name}: {error}", file=sys.stderr)
            continue
        bundle = combination_bundle(checkpoint, f"{backend.partition('-')[0]}:{precision}")
        cascade = Cascade.load(bundle, backend, threads)
        variants.append(cascade_variant(name, cascade, sample, example))
        if name in OVERLAPPED_ROWS:
            variants += [overlapped_variant(name, cascade, sample, interval) for interval in (1, *CACHE_INTERVALS)]
    return variants


def time_pipelines(variants: Sequence[PipelineVariant], rounds: int, reader: FaceReader) -> list[dict[str, Any]]:
    """Time videos and steps of all variants, which alternate.

    Args:
        variants: implementations of the pipeline; the first is what the others are compared with
        rounds: number of rounds, one video of each variant in each
        reader: reader of faces that compares the mouths

    Returns:
        For each variant `row`, its name; the median `clip_seconds` and the `speedup`; `frames_per_second`; the median
        `step_milliseconds`, if it has a step; `psnr` in dB and `mouth_correlation` against the first variant.
    """
    videos = [variant.video() for variant in tqdm(variants, desc="warming up", unit="row")]
    mouths = [reader.read(video).mouth_opening for video in videos]
    taken: list[list[float]] = [[] for _ in variants]
    for _ in tqdm(range(rounds), desc="videos", unit="round"):
        for seconds, variant in zip(taken, variants, strict=True):
            started = time.perf_counter()
            variant.video()
            seconds.append((time.perf_counter() - started) / VIDEO_CLIPS)
    steps = {variant.name: variant.step for variant in variants if variant.step is not None}
    milliseconds = dict(zip(steps, median_milliseconds(list(steps.values()), rounds), strict=True))
    first = statistics.median(taken[0])
    return [
        {
            "row": variant.name,
            "clip_seconds": round(median := statistics.median(seconds), 4),
            "speedup": round(first / median, 2),
            "frames_per_second": round(len(video) / VIDEO_CLIPS / median, 1),
            "step_milliseconds": milliseconds.get(variant.name),
            "psnr": round(psnr(video, videos[0]), 1),
            "mouth_correlation": round(correlation(mouth, mouths[0]), 4),
        }
        for variant, seconds, video, mouth in zip(variants, taken, videos, mouths, strict=True)
    ]


def step_and_peak_gflops(model: EmoModel) -> dict[str, float]:
    """`step_gflop`, the operations of a step with guidance in GFLOP, and `peak_gflops_float32` and `_bfloat16`, the
    rate of large matrix products on this machine in GFLOP/s.
    """
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


def plot_clip_seconds(rows: Sequence[Mapping[str, Any]], playing: float, path: Path) -> None:
    """Draw a chart of the seconds per clip, row by row.

    Args:
        rows: what `time_pipelines` returns
        playing: seconds that a clip plays
        path: PNG file to write
    """
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
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(arguments)
    facts = machine_facts()
    try:
        model = EmoModel.load(args.model)
        config = model.config
        sample = bundled_sample(config, VIDEO_CLIPS * config.clip_frames)
        variants = pipeline_variants(args.model, sample, args.threads)
        rows = time_pipelines(variants, args.rounds, FaceReader.load(BUNDLED_READER))
        sizes = time_growth(args.model, args.frames, args.resolutions)
    except (EmoError, OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    for row in rows:
        step = f"{row['step_milliseconds']:6.1f}" if row["step_milliseconds"] else "     -"
        print(
            f"{row['clip_seconds']:.3f} s a clip {row['speedup']:5.2f} x {row['frames_per_second']:6.1f} fps"
            f"{step} ms a step  {row['psnr']:5.1f} dB  mouth {row['mouth_correlation']:.4f}  {row['row']}"
        )
    result: dict[str, Any] = {"machine": facts, "model": config.name, "steps": config.steps, "rows": rows}
    result["peak"], result["sizes"] = step_and_peak_gflops(model), sizes
    if args.seconds and args.model == _BUNDLED:
        result["videos"] = time_videos(args.seconds)
    for line in (result["peak"], *sizes, *result.get("videos", [])):
        print(json.dumps(line))
    path = args.out or results_file(f"cpu-{config.name}")
    write_results(path, result)
    plot_clip_seconds(rows, config.clip_frames / config.frames_per_second, path.with_suffix(".png"))
    print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, default=_BUNDLED, metavar="DIR", help="checkpoint (default: models/emo-photo)")
    add("--rounds", type=int, default=7, metavar="N", help="one video of each row in each (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="CPU threads of the engines (default: one per core)")
    frames = "lengths of clips in frames (default: 6 12 24)"
    add("--frames", type=int, nargs="*", default=[6, 12, 24], metavar="F", help=frames)
    resolutions = "sides of the video in pixels (default: 128 192 320)"
    add("--resolutions", type=int, nargs="*", default=[128, 192, 320], metavar="PIXELS", help=resolutions)
    seconds = "lengths of voices in seconds, for the bundled model alone (default: 10 60)"
    add("--seconds", type=float, nargs="*", default=[10, 60], metavar="S", help=seconds)
    out = "JSON file; the chart goes beside it (default: benchmarks/results/cpu-MODEL.json)"
    add("--out", type=Path, metavar="FILE", help=out)
    return parser


if __name__ == "__main__":
    sys.exit(main())
