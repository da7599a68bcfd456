"""Costs of clips and steps are told apart by timings of a few runs, once for a machine and a bundle."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_bundle import CONFIG

from emo_rt.bundle import STEP_GRAPHS, Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.planning import costs
from emo_rt.planning.cost_cache import cache_file
from emo_rt.planning.costs import Costs, cost_of, measure_costs, measured_runs, solve_costs

SLOW = Costs(0.1, 0.02, 0.02, 0.04, 0.01, 0.02)
FEW_GUIDED = Sampling(4, 2.0, 1)


def test_costs_add_up() -> None:
    assert SLOW.clip_seconds(FEW_GUIDED) == pytest.approx(0.02 + 0.04 + 3 * 0.02)
    assert SLOW.first_frame(FEW_GUIDED) == pytest.approx(0.22)
    cached = Sampling(6, 2.0, 4, 3)
    assert SLOW.clip_seconds(cached) == pytest.approx(0.02 + 2 * 0.04 + 2 * 0.02 + 0.02 + 0.01)


def in_closed_form(few: float, guided: float, plain: float, cached_guided: float, cached: float, first: float) -> Costs:
    """The costs by elimination, from seconds per clip of the measured runs and those of the very first clip."""
    guided_step = (guided - few) / 6
    clip = few - 2 * guided_step
    plain_step = (plain - clip) / 8
    return Costs(
        start=first - few,
        clip=clip,
        backbone=plain_step,
        guided_backbone=guided_step,
        cached_backbone=(cached - clip - plain_step) / 7,
        cached_guided_backbone=(cached_guided - clip - guided_step) / 7,
    )


def test_timings_that_add_up_give_the_costs_that_they_were_made_of() -> None:
    random = np.random.default_rng(0)
    runs = measured_runs(2.0)
    for _ in range(20):
        expected = Costs(*random.uniform(0.001, 0.5, 6))
        seconds, first = [expected.clip_seconds(run) for run in runs], expected.first_frame(runs[0])
        np.testing.assert_allclose(astuple(solve_costs(runs, seconds, first)), astuple(expected), rtol=1e-9)
        closed = in_closed_form(*seconds, first)
        np.testing.assert_allclose(astuple(solve_costs(runs, seconds, first)), astuple(closed), rtol=1e-9)


def test_no_cost_is_negative_whatever_the_timings() -> None:
    runs = measured_runs(2.0)
    for seconds in itertools.permutations([0.1, 0.2, 0.3, 0.4, 0.5]):
        assert min(astuple(solve_costs(runs, seconds, 0.05))) >= 0


def test_the_measured_runs_tell_every_graph_apart() -> None:
    counts = [[1, *(run.graphs.count(graph) for graph in STEP_GRAPHS)] for run in measured_runs(2.0)]
    assert np.linalg.matrix_rank(np.array(counts)) == 1 + len(STEP_GRAPHS)


class PlayedCascade:
    """Makes clips that take what `SLOW` says, times a factor for each run, on a clock of its own."""

    config = CONFIG

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slowness: Iterable[float]) -> None:
        self.time, self.slowness = 0.0, iter(slowness)
        self.runs: list[Sampling] = []
        monkeypatch.setattr(costs, "decoded_clips", self.decoded_clips)
        monkeypatch.setattr(costs, "encode_clip", lambda *_: None)
        monkeypatch.setattr(costs, "Usage", self)

    def denoise(self, *arguments: Any, max_frames: int) -> tuple[Sampling, int]:
        return arguments[-1], max_frames

    def decoded_clips(self, cascade: Any, denoised: tuple[Sampling, int]) -> Iterator[tuple[None, None]]:
        sampling, frames = denoised
        self.runs.append(sampling)
        factor = next(self.slowness)
        self.time += factor * SLOW.start
        for left in reversed(range(frames // CONFIG.clip_frames)):
            self.time += (
                factor * SLOW.clip_seconds(sampling) if left else 0.0
            )  # beside the last one nothing is denoised
            yield None, None

    def now(self) -> Any:
        moment = self.time
        return SimpleNamespace(moment=moment, alone_since=lambda before: moment - before.moment)


def test_a_measurement_times_each_run_until_two_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = measured_runs(CONFIG.guidance_scale)
    disturbed = [9.0, *[3.0] * 5, 1.0, 1.0, 3.0, 1.0, 1.0, *[1.0] * 5, *[1.05] * 5]
    cascade = PlayedCascade(monkeypatch, disturbed)
    measured, steady = measure_costs(cascade)  # type: ignore[arg-type]
    np.testing.assert_allclose(astuple(measured), astuple(SLOW), rtol=1e-9)
    assert steady
    assert cascade.runs[1:] == runs * 4


def test_costs_of_a_machine_that_does_not_calm_down_are_not_kept(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Bundle.load(bundle)
    monkeypatch.setattr("emo_rt.planning.steady.LONGEST", 0.0)
    cascade: Any = PlayedCascade(monkeypatch, [1.0, *[3.0] * 5, *[1.0] * 5])
    busy = cost_of(fake, "onnxruntime", 1, lambda: cascade)
    np.testing.assert_allclose(astuple(busy), astuple(SLOW), rtol=1e-9)
    assert not cache_file().exists()
    calm_cascade: Any = PlayedCascade(monkeypatch, [1.0] * 11)
    calm = cost_of(fake, "onnxruntime", 1, lambda: calm_cascade)
    assert cost_of(fake, "onnxruntime", 1, lambda: pytest.fail("the costs are known")) == calm


def test_costs_are_measured_once_for_a_machine_and_a_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load() -> Any:
        loaded.append("engines")
        return PlayedCascade(monkeypatch, itertools.repeat(1.0))

    fake = Bundle.load(bundle)
    first = cost_of(fake, "onnxruntime", 1, load)
    np.testing.assert_allclose(astuple(first), astuple(SLOW), rtol=1e-9)
    assert cost_of(fake, "onnxruntime", 1, load) == first
    assert len(loaded) == 1
    cost_of(fake, "onnxruntime", 2, load)
    with monkeypatch.context() as patch:  # undoing all would give the user's own cache back
        patch.setattr(costs, "_processor", lambda: "another")
        cost_of(fake, "onnxruntime", 1, load)
    other = Bundle(fake.directory, replace(fake.manifest, name="retrained"))
    cost_of(other, "onnxruntime", 1, load)
    assert len(loaded) == 4
    with monkeypatch.context() as patch:
        patch.setattr(costs, "describe", lambda backend: f"{backend} of another version")
        cost_of(fake, "onnxruntime", 1, load)
    assert len(loaded) == 5
    cache_file().write_text("{ torn")
    cost_of(fake, "onnxruntime", 1, load)
    assert len(loaded) == 6


def test_pasting_is_measured_once_and_costs_by_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []
    monkeypatch.setattr(costs, "measure_pasting", lambda _: measured.append(0.25) or (0.25, True))
    side = CONFIG.resolution
    assert costs.picture_seconds(CONFIG, (side, side)) == 0
    assert measured == []
    width, height = costs.PICTURE
    seconds = costs.picture_seconds(CONFIG, costs.PICTURE)
    assert seconds == pytest.approx(0.25 * (1 - side**2 / (width * height)))
    assert costs.picture_seconds(CONFIG, (2 * width, height)) == pytest.approx(seconds + 0.25)
    assert len(measured) == 1
    assert SLOW.with_picture(seconds).clip_seconds(FEW_GUIDED) == pytest.approx(SLOW.clip_seconds(FEW_GUIDED) + seconds)
    cache_file().write_text('{"torn": 3}')
    assert costs.picture_seconds(CONFIG, costs.PICTURE) == seconds
    assert len(measured) == 2


def test_more_frames_take_longer_to_paste() -> None:
    few, many = (costs.measure_pasting(replace(CONFIG, clip_frames=frames))[0] for frames in (2, 12))
    assert 0 < few < many


def test_the_cores_are_known_where_they_cannot_be_chosen(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS and Windows have no `os.sched_getaffinity`."""
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr(costs, "measure_costs", lambda _: (SLOW, True))
    fake = Bundle.load(bundle)
    assert cost_of(fake, "onnxruntime", None, lambda: Cascade.load(fake, threads=1)) == SLOW
    assert " | 3 of 3 threads | " in next(iter(json.loads(cache_file().read_text())))
