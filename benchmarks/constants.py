"""What it saves to compute before the denoising steps what they share: ``python -m benchmarks.constants``.

One technique a row, each on top of those above it, all with the same output. The rows take turns within one run; the
medians are compared with that of the first row but one: all that is projected from the ReferenceNet's features is
projected at every step, and for each frame, and each half of guidance runs on its own. Two more rows say what it saves
at a guidance scale of 1 to leave out the half that then counts for nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.interleaved import median_milliseconds
from benchmarks.machine import machine, results_file
from emo_rt.engines.engine import to_numpy
from emo_rt.engines.registry import BACKENDS, engine_class
from export.graphs.modules import BackboneGraph, ExportGraph, GuidedBackboneGraph, export_graphs
from export.graphs.onnx_file import describe, export_part
from training.model.conditions import Conditions
from training.model.model import EmoModel

MODELS = Path(__file__).resolve().parents[1] / "models"
Arrays = Mapping[str, np.ndarray]


class Prediction(nn.Module):
    """The Backbone for one voice; guidance and the step's arithmetic are left to the caller."""

    FIXED_INPUTS: tuple[str, ...] = ("latents", "timestep")

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, latents: Tensor, timestep: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        return self._predict(latents, timestep, Conditions.from_named_tensors(conditions))

    def _predict(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Tensor:
        return self.backbone(latents[None], timestep, conditions)[0]  # type: ignore[no-any-return]


class PredictionFromFeatures(Prediction):
    """The same from what keys and values are projected from, at every step and for every frame."""

    def __init__(self, model: EmoModel) -> None:
        super().__init__(model)
        self.model = model

    def forward(self, latents: Tensor, timestep: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        features, backbone = conditions, self.backbone
        reference = [features[name].expand(len(latents), -1, -1) for name in sorted(features) if "reference_f" in name]
        motion = [features[name][None] for name in sorted(features) if "motion_f" in name]
        keys = Conditions.merged(
            self.model.voice_and_place(features["audio"][None], features["head_speed"][None], features["region"]),
            backbone.reference_conditions(reference),
            backbone.motion_conditions(motion),
            backbone.known_frame_conditions(features["portrait"], features["motion"][None]),
        )
        return self._predict(latents, timestep, keys)


class PredictionFromLatents(PredictionFromFeatures):
    """The same from the latents of the portrait and the motion frames, as where nothing is kept between two steps."""

    def forward(self, latents: Tensor, timestep: Tensor, conditions: dict[str, Tensor]) -> Tensor:
        known = torch.cat([conditions["portrait"], conditions["motion"]])
        return super().forward(latents, timestep, {**conditions, **_features(self.model, known)})


class BothHalves(nn.Module):
    """One DDIM step on a batch of two that share nothing."""

    FIXED_INPUTS = GuidedBackboneGraph.FIXED_INPUTS

    def __init__(self, model: EmoModel) -> None:
        super().__init__()
        self.backbone = model.backbone

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
        prediction = predictions[0] + guidance_scale * (predictions[1] - predictions[0])
        return latents_coefficient * latents + prediction_coefficient * prediction


@dataclass
class Row:
    """A way to make one step: a graph, and what is called how."""

    name: str
    graph: ExportGraph
    step: Callable[[Callable[[Arrays], np.ndarray]], np.ndarray]


@torch.no_grad()
def rows(model: EmoModel) -> list[Row]:
    """All ways to make a step with guidance, from the most naive one to the exported one."""
    config, made = model.config, export_graphs(model)
    # All rows know the same portrait, motion frames and voice.
    known = {**made["conditioning"].run(), **made["reference_net"].run()}
    step = {**made["guided_backbone"].inputs, **known}
    timestep = made["time_embedding"].inputs["timestep"]
    latents = step["latents"]
    faces, voice = made["reference_net"].inputs, made["conditioning"].inputs
    portrait, motion = faces["reference_latents"], faces["motion_latents"]
    motion = motion + config.portrait_pull * (portrait - motion)
    features = _features(model, torch.cat([portrait, motion]))
    shared: dict[str, Tensor] = {
        "head_speed": voice["head_speed"],
        "region": voice["face_region"],
        "portrait": portrait,
        "motion": motion,
    }
    conditions = Conditions.from_named_tensors(known)
    repeated = conditions.map(lambda tensor: tensor.repeat(config.clip_frames, *[1] * (tensor.ndim - 1)))
    per_frame = replace(conditions, reference=repeated.reference)

    def halves(conditions: Conditions) -> list[dict[str, Tensor]]:
        return [conditions.unconditional().named_tensors(), conditions.conditional().named_tensors()]

    def twice(inputs: list[dict[str, Tensor]], module: nn.Module, name: str) -> Row:
        noisy = {"latents": latents, "timestep": timestep}
        arrays = [_arrays({**noisy, **given}) for given in inputs]

        def run(call: Callable[[Arrays], np.ndarray]) -> np.ndarray:
            without_voice, with_voice = (call(given) for given in arrays)
            scale, kept, moved = (
                step[key].numpy() for key in ("guidance_scale", "latents_coefficient", "prediction_coefficient")
            )
            prediction = without_voice + scale * (with_voice - without_voice)
            result: np.ndarray = kept * latents.numpy() + moved * prediction
            return result

        return Row(name, ExportGraph(module, {**noisy, **inputs[1]}, ["prediction"]), run)

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
def rows_without_guidance(model: EmoModel) -> list[Row]:
    """The ways to make a step with a guidance scale of 1."""
    made = export_graphs(model)
    both = {**made["guided_backbone"].inputs, "guidance_scale": torch.ones(1)}
    return [
        _once(GuidedBackboneGraph(model), both, "guidance scale 1: both halves"),
        _once(BackboneGraph(model), made["backbone"].inputs, "guidance scale 1: one half (as exported)"),
    ]


def _once(module: nn.Module, inputs: Mapping[str, Tensor], name: str) -> Row:
    arrays = _arrays(inputs)
    return Row(name, ExportGraph(module, dict(inputs), ["next_latents"]), lambda call: call(arrays))


def _features(model: EmoModel, known_latents: Tensor) -> dict[str, Tensor]:
    """The ReferenceNet's, of the portrait and the motion frames behind it."""
    reference, motion = model.reference_net(known_latents)
    return {
        **{f"reference_f{index:02d}": tensor[:1] for index, tensor in enumerate(reference)},
        **{f"motion_f{index:02d}": tensor[1:] for index, tensor in enumerate(motion)},
    }


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def measure(
    ways: list[Row], compared: int, backend: str, turns: int, threads: int | None
) -> list[dict[str, float | str]]:
    """Median milliseconds of each way, how often faster than the way ``compared``, and how far from the last."""
    calls: list[Callable[[], np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        for index, way in enumerate(tqdm(ways, desc="exporting", unit="row")):
            directory = Path(folder) / str(index)
            directory.mkdir()
            export_part({"step": way.graph}, directory)
            path = directory / "step.onnx"
            engine = engine_class(backend)("step", path, describe(path), threads)
            output = way.graph.outputs[0]
            calls.append(
                lambda way=way, engine=engine, output=output: way.step(  # type: ignore[misc]
                    lambda arrays: to_numpy(engine.run(arrays)[output])
                )
            )
        results = [call() for call in calls]
        medians = median_milliseconds(calls, turns)
    scale = float(np.ptp(results[-1]))
    return [
        {
            "row": way.name,
            "milliseconds": median,
            "speedup": round(medians[compared] / median, 3),
            "error": float(np.abs(result - results[-1]).max()) / scale,
        }
        for way, median, result in zip(ways, medians, results, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.constants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODELS / "emo-tiny", metavar="DIR", help="the checkpoint")
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="onnxruntime", help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=10, help="of each row, three steps each (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    args = parser.parse_args(arguments)
    model = EmoModel.load(args.model)
    measured = [
        row
        for ways, compared in ((rows(model), 1), (rows_without_guidance(model), 0))
        for row in measure(ways, compared, args.backend, args.turns, args.threads)
    ]
    for row in measured:
        print(f"{row['milliseconds']:>8} ms  {row['speedup']:>6} x  error {row['error']:.1e}  {row['row']}")
    result = {"machine": machine(), "model": model.config.name, "backend": args.backend, "rows": measured}
    path = results_file(f"constants-{model.config.name}-{args.backend}")
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
