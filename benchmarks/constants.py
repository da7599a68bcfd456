"""Time what it saves to compute once what all denoising steps share.

One technique a row, each on top of those above it, all with the same output. The rows alternate within one run. Each
median is compared with that of the second row, which projects keys and values from the ReferenceNet's features at every
step and for every frame, and runs each half of guidance on its own. Two more rows show what it saves at a guidance
scale of 1 to leave out the half without a voice, which then counts for nothing.

example:
  python -m benchmarks.constants --backend openvino --rounds 20
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.interleaved import median_milliseconds
from benchmarks.machine import CHECKOUT, machine_facts, results_file, write_results
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.registry import BACKENDS, check_runs_here, engine_class
from emo_rt.errors import EmoError
from export.graphs.modules import BackboneGraph, ExportGraph, GuidedBackboneGraph, export_graphs
from export.graphs.onnx_file import export_part, graph_spec
from training.model.conditions import Conditions
from training.model.model import EmoModel
from training.model.vae import VAE
from training.model.warp import composed

Arrays = Mapping[str, np.ndarray]


class Prediction(nn.Module):
    """The Backbone for one voice; guidance, a warp and the step's arithmetic are left to the caller."""

    FIXED_INPUTS: tuple[str, ...] = ("latents", "timestep")

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, latents: Tensor, timestep: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        return self._predict(latents, timestep, Conditions.from_named_tensors(conditions))

    def _predict(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Tensor:
        return self.backbone(latents[None], timestep, conditions)[0]


class PredictionFromFeatures(Prediction):
    """The same, with keys and values projected from features at every step and for every frame."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__(model)
        self.model = model

    def forward(self, latents: Tensor, timestep: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        features, backbone = conditions, self.backbone
        reference = [features[name].expand(len(latents), -1, -1) for name in sorted(features) if "reference_f" in name]
        motion = [features[name][None] for name in sorted(features) if "motion_f" in name]
        keys = Conditions.merged(
            self.model.voice_and_place(
                features["audio"][None],
                features["head_speed"][None],
                features["region"],
                features["gestures"][None] if "gestures" in features else None,
            ),
            backbone.reference_conditions(reference),
            backbone.motion_conditions(motion),
            backbone.known_frame_conditions(features["portrait"], features["motion"][None]),
        )
        return self._predict(latents, timestep, keys)


class PredictionFromLatents(PredictionFromFeatures):
    """The same from the latents of the portrait and the motion frames: nothing is kept between two steps."""

    def forward(self, latents: Tensor, timestep: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        known = torch.cat([conditions["portrait"], conditions["motion"]])
        return super().forward(latents, timestep, {**conditions, **_features(self.model, known)})


class BothHalves(nn.Module):
    """One DDIM step on a batch of two that share nothing."""

    FIXED_INPUTS = GuidedBackboneGraph.FIXED_INPUTS

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone, self.vae = model.backbone, model.vae

    def forward(
        self,
        latents: Tensor,
        time_embedding: Tensor,
        guidance_scale: Tensor,
        latents_coefficient: Tensor,
        prediction_coefficient: Tensor,
        conditions: dict[str, Tensor],
    ) -> Tensor:
        shared = Conditions.from_named_tensors(conditions)
        repeated = shared.map(lambda tensor: tensor.repeat(2, *[1] * (tensor.ndim - 1)))
        both = replace(repeated, audio=shared.audio, audio_embedding=shared.audio_embedding)
        latents_of_both = latents[None].expand(2, -1, -1, -1, -1)
        predictions, _ = self.backbone.predict(latents_of_both, time_embedding.expand(2, -1), both)
        guided = predictions[0] + guidance_scale * (predictions[1] - predictions[0])
        prediction = composed(guided, shared, self.vae)
        return latents_coefficient * latents + prediction_coefficient * prediction


@dataclass(frozen=True)
class StepVariant:
    """One implementation of a denoising step.

    Attributes:
        name: name of the row
        graph: graph that an engine runs
        step: function that makes the step with a given function from the graph's inputs to its output
    """

    name: str
    graph: ExportGraph
    step: Callable[[Callable[[Arrays], np.ndarray]], np.ndarray]


@torch.no_grad()
def guided_variants(model: EmoModel) -> list[StepVariant]:
    """The implementations of a step with guidance, from the most naive one to the exported one."""
    config, made = model.config, export_graphs(model)
    # All variants know the same portrait, motion frames and voice.
    known = {**made["conditioning"].run(), **made["reference_net"].run()}
    step = {**made["guided_backbone"].inputs, **known}
    timestep = made["time_embedding"].inputs["timestep"]
    faces, voice = made["reference_net"].inputs, made["conditioning"].inputs
    portrait, motion = faces["reference_latents"], faces["motion_latents"]
    motion = motion + config.portrait_pull * (portrait - motion)
    features = _features(model, torch.cat([portrait, motion]))
    shared: dict[str, Tensor] = {
        **{name: voice[name] for name in ("head_speed", "gestures") if name in voice},
        "region": voice["face_region"],
        "portrait": portrait,
        "motion": motion,
    }
    conditions = replace(Conditions.from_named_tensors(known), portrait=None)  # what moves is composed afterwards
    repeated = conditions.map(lambda tensor: tensor.repeat(config.clip_frames, *[1] * (tensor.ndim - 1)))
    per_frame = replace(conditions, reference=repeated.reference)

    def halves(conditions: Conditions) -> list[dict[str, Tensor]]:
        return [conditions.unconditional().named_tensors(), conditions.conditional().named_tensors()]

    def twice(inputs: list[dict[str, Tensor]], module: nn.Module, name: str) -> StepVariant:
        return _twice(inputs, module, name, step, timestep, model.vae)

    silent, heard = (
        {"audio": audio, **shared} for audio in (torch.zeros_like(voice["audio_features"]), voice["audio_features"])
    )
    return [
        twice([silent, heard], PredictionFromLatents(model), "everything at every step"),
        twice(
            [{**silent, **features}, {**heard, **features}],
            PredictionFromFeatures(model),
            "+ ReferenceNet once per clip",
        ),
        twice(halves(per_frame), Prediction(model), "+ keys and values once per clip"),
        twice(halves(conditions), Prediction(model), "+ not repeated for each frame"),
        _once(BothHalves(model), step, "+ guidance and DDIM inside, time embedding outside"),
        _once(GuidedBackboneGraph(model), step, "+ what both halves share once (as exported)"),
    ]


@torch.no_grad()
def unguided_variants(model: EmoModel) -> list[StepVariant]:
    """The implementations of a step with a guidance scale of 1."""
    made = export_graphs(model)
    both = {**made["guided_backbone"].inputs, "guidance_scale": torch.ones(1)}
    return [
        _once(GuidedBackboneGraph(model), both, "guidance scale 1: both halves"),
        _once(BackboneGraph(model), made["backbone"].inputs, "guidance scale 1: one half (as exported)"),
    ]


def _twice(
    inputs: list[dict[str, Tensor]],
    module: nn.Module,
    name: str,
    step: Mapping[str, Tensor],
    timestep: Tensor,
    vae: VAE,
) -> StepVariant:
    """A step that runs a module once for each half of guidance.

    Args:
        inputs: inputs of the module beside latents and timestep, without the voice and with it
        module: module that predicts
        name: name of the row
        step: inputs of the exported step: latents, guidance scale and coefficients, and the portrait for a warp
        timestep: timestep (1,)
        vae: VAE of the model, which encodes what a warp moves
    """
    latents = step["latents"]
    noisy = {"latents": latents, "timestep": timestep}
    arrays = [_arrays({**noisy, **given}) for given in inputs]

    def run(call: Callable[[Arrays], np.ndarray]) -> np.ndarray:
        without_voice, with_voice = (call(given) for given in arrays)
        scale, kept, moved = (
            step[key].numpy() for key in ("guidance_scale", "latents_coefficient", "prediction_coefficient")
        )
        guided = torch.from_numpy(without_voice + scale * (with_voice - without_voice))
        with torch.no_grad():
            prediction = composed(guided, Conditions(portrait=step.get("portrait")), vae).numpy()
        result: np.ndarray = kept * latents.numpy() + moved * prediction
        return result

    return StepVariant(name, ExportGraph(module, {**noisy, **inputs[1]}, ["prediction"]), run)


def _once(module: nn.Module, inputs: Mapping[str, Tensor], name: str) -> StepVariant:
    """A step that runs a module once."""
    arrays = _arrays(inputs)
    return StepVariant(name, ExportGraph(module, dict(inputs), ["next_latents"]), lambda call: call(arrays))


def _features(model: EmoModel, known_latents: Tensor) -> dict[str, Tensor]:
    """The ReferenceNet's features of the portrait and of the motion frames behind it, by name."""
    reference, motion = model.reference_net(known_latents)
    return {
        **{f"reference_f{index:02d}": tensor[:1] for index, tensor in enumerate(reference)},
        **{f"motion_f{index:02d}": tensor[1:] for index, tensor in enumerate(motion)},
    }


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def time_step_variants(
    variants: Sequence[StepVariant], compared: int, backend: str, rounds: int, threads: int | None
) -> list[dict[str, Any]]:
    """Time steps that alternate.

    Args:
        variants: implementations of the same step
        compared: index of the variant that the others are compared with
        backend: backend that runs the graphs
        rounds: number of rounds, three steps of each variant in each
        threads: number of CPU threads; None for one per core

    Returns:
        For each variant `row`, its name; `milliseconds` of a step, the median; `speedup` against the compared variant;
        `error`, the largest difference from the last variant's output, as a share of that output's range.
    """
    calls: list[Callable[[], np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        for index, variant in enumerate(tqdm(variants, desc="exporting", unit="row")):
            directory = Path(folder) / str(index)
            directory.mkdir()
            export_part({"step": variant.graph}, directory)
            path = directory / "step.onnx"
            engine = engine_class(backend)("step", path, graph_spec(path), threads)
            output = variant.graph.outputs[0]
            calls.append(
                lambda variant=variant, engine=engine, output=output: variant.step(  # type: ignore[misc]
                    lambda arrays: to_numpy(engine.run(arrays)[output])
                )
            )
        results = [call() for call in calls]
        medians = median_milliseconds(calls, rounds)
    scale = float(np.ptp(results[-1]))
    return [
        {
            "row": variant.name,
            "milliseconds": median,
            "speedup": round(medians[compared] / median, 3),
            "error": float(np.abs(result - results[-1]).max()) / scale,
        }
        for variant, median, result in zip(variants, medians, results, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.constants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    model_help = "checkpoint (default: models/emo-photo)"
    add("--model", type=Path, default=CHECKOUT / "models" / "emo-photo", metavar="DIR", help=model_help)
    add("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="runs the steps (default: %(default)s)")
    add("--rounds", type=int, default=10, metavar="N", help="three steps of each row in each (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: one per core)")
    args = parser.parse_args(arguments)
    try:
        check_runs_here(args.backend)
        model = EmoModel.load(args.model)
    except (EmoError, OSError, ValueError) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    rows = [
        row
        for variants, compared in ((guided_variants(model), 1), (unguided_variants(model), 0))
        for row in time_step_variants(variants, compared, args.backend, args.rounds, args.threads)
    ]
    for row in rows:
        print(f"{row['milliseconds']:>8} ms  {row['speedup']:>6} x  error {row['error']:.1e}  {row['row']}")
    path = results_file(f"constants-{model.config.name}-{args.backend}")
    write_results(path, {"machine": machine_facts(), "model": model.config.name, "backend": args.backend, "rows": rows})
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
