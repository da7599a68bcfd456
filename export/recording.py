"""What the graphs of a model get and give while the runtime's cascade runs them in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from emo_rt.cascade.cascade import Cascade
from emo_rt.engines.engine import Tensor, to_numpy
from export.graphs.modules import ExportGraph, export_graphs
from export.manifest import noise_schedule, runtime_config
from export.sample import Sample
from export.torch_engine import TorchEngine
from training.model.model import EmoModel

#: The tensor that full steps hand to cached ones.
DEEP_FEATURES = "deep_features"
#: Number of calls of each graph that are compared.
COMPARED_CALLS = 4


@dataclass(frozen=True)
class RecordedCall:
    """One call of a graph.

    Attributes:
        inputs: arrays that the graph got, by name
        outputs: arrays that PyTorch made of them, by name
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


class RecordingEngine(TorchEngine):
    """A `TorchEngine` that keeps its calls.

    Attributes:
        calls: all calls so far, in their order
    """

    def __init__(self, name: str, graph: ExportGraph) -> None:
        super().__init__(name, graph)
        self.calls: list[RecordedCall] = []

    @property
    def compared(self) -> list[int]:
        """Indices of the calls that are compared, spread over all calls."""
        last = len(self.calls) - 1
        return [int(index) for index in np.unique(np.linspace(0, last, COMPARED_CALLS).round())]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Engine.run`; the outputs are arrays on the host."""
        given = {name: to_numpy(inputs[name]) for name in self.graph.inputs}
        outputs = {name: to_numpy(tensor) for name, tensor in super().run(given).items()}
        self.calls.append(RecordedCall(given, outputs))
        return dict(outputs)


def record_calls(model: EmoModel, sample: Sample) -> dict[str, RecordingEngine]:
    """Run the runtime's cascade in PyTorch, with and without guidance and cached steps, and keep what the graphs get.

    Args:
        model: model in float32
        sample: portrait and voice to animate

    Returns:
        An engine for each graph, by name.
    """
    engines = {name: RecordingEngine(name, graph) for name, graph in export_graphs(model).items()}
    config = model.config
    cascade = Cascade(runtime_config(config), noise_schedule(config), engines.__getitem__)
    guidance_scale = config.guidance_scale if config.guidance_scale != 1 else 2.0
    for scale, interval, clips in ((guidance_scale, 1, 3), (1.0, 1, 1), (guidance_scale, 2, 1), (1.0, 2, 1)):
        generated = cascade.generate(
            sample.portrait,
            sample.face_box,
            [sample.waveform],
            steps=max(2, config.steps),
            guidance_scale=scale,
            cache_interval=interval,
            max_frames=min(sample.frames, clips * config.clip_frames),
        )
        for _ in generated:
            pass
    return engines


def use_own_deep_features(recordings: Mapping[str, RecordingEngine], cascade: Cascade) -> None:
    """Replace, in place, the deep features of recorded cached steps by those that a bundle's own full steps make.

    Args:
        recordings: an engine for each graph, from `record_calls`
        cascade: cascade on the bundle's engines
    """
    for name in ("backbone", "guided_backbone"):
        cached = recordings[f"cached_{name}"]
        for index in cached.compared:
            call = cached.calls[index]
            recorded = call.inputs[DEEP_FEATURES]
            (full,) = (other.inputs for other in recordings[name].calls if other.outputs[DEEP_FEATURES] is recorded)
            own = to_numpy(cascade.engine(name).run(full)[DEEP_FEATURES])
            cached.calls[index] = replace(call, inputs={**call.inputs, DEEP_FEATURES: own})
