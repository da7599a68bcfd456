"""What a cluster costs, and the simulation of many machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_bundle import write_fake_bundle

from benchmarks.cluster import simulation
from benchmarks.cluster.__main__ import main
from benchmarks.cluster.simulation import ClipCosts, Cluster, most_faces, videos_per_second, with_faces

COSTS = ClipCosts(replica=0.1, overhead=0.01, encoding=0.02)
CLIP = 0.24  # seconds that a clip plays


@pytest.mark.parametrize(
    ("replicas", "cores", "expected"),
    [
        (1, 4, 1 / 0.1),  # the way there and the encoding are hidden by the second video
        (2, 4, 2 / 0.1),
        (4, 2, 2 / 0.12),  # replicas and encoders share two cores
    ],
)
def test_videos_are_as_fast_as_what_is_scarce(replicas: int, cores: int, expected: float) -> None:
    assert videos_per_second(COSTS, replicas, cores=cores) == pytest.approx(expected, rel=0.03)


def test_faces_are_late_where_there_are_too_many() -> None:
    few = with_faces(COSTS, 4, faces=4, clip_seconds=CLIP, servers=1, seconds=60)
    many = with_faces(COSTS, 4, faces=40, clip_seconds=CLIP, servers=1, seconds=60)
    assert few.clips > 200
    assert few.late == 0
    assert many.late > 0.1 * many.clips
    assert few.videos > many.videos  # which take what is left
    assert max(few.answers) < 2 * (0.1 + 0.01 + 0.02) + 0.1


def test_the_most_faces_are_no_more_than_replicas_can_hold() -> None:
    faces, outcome = most_faces(COSTS, 8, CLIP, servers=2, seconds=60)
    assert outcome.late <= simulation.BORNE * outcome.clips
    speaking = faces / 2
    assert 0.3 < speaking * COSTS.replica / CLIP / 8 < 1


def test_a_clip_whose_replica_dies_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "LIFE", 0.5)
    monkeypatch.setattr(simulation, "RETURN", 0.1)
    cluster = Cluster(COSTS, 2)
    for _ in range(3):
        cluster.world.process(cluster.video())
    cluster.world.run(100)
    outcome = cluster.outcome
    assert outcome.videos > 500
    assert outcome.busy > 1.05 * 0.1 * outcome.videos  # some work was lost
    assert cluster.outcome.encoded == pytest.approx(0.02 * outcome.videos, rel=0.05)


def test_the_benchmark_measures_and_the_simulation_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_fake_bundle(tmp_path / "fake")
    out = tmp_path / "cluster.json"
    words = ["--bundle", str(bundle), "--backend", "onnxruntime", "--out", str(out)]
    assert main([*words, "--replicas", "1", "--rounds", "1", "--clips", "20"]) == 0
    found = json.loads(out.read_text())
    assert found["milliseconds"]["replica"] > 0
    assert len(found["spread"]) == 101
    (row,) = found["replicas"]
    assert row["frames_per_second"] > 0
    monkeypatch.setattr(simulation, "results_file", lambda name: tmp_path / f"{name}.json")
    assert simulation.main(["--machines", "2", "--seconds", "5", "--costs", str(out)]) == 0
    (row,) = json.loads((tmp_path / "cluster-simulated.json").read_text())["rows"]
    assert row["machines"] == 2
    assert row["faces"] >= 1
