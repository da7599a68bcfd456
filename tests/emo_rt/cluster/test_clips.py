"""Clips that replicas on a real Ray cluster of this machine make: the same as without it, whoever dies meanwhile."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from processes import processes_of
from samples import tones

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.clips import Clip
from emo_rt.cascade.sampling import Sampling
from emo_rt.cluster.clips import APPLICATION, ClipReplica, ClusterCascade, Replicas, ReplicaSetup, replicas_of
from emo_rt.cluster.connection import LOCAL, connected
from emo_rt.cluster.shared_bundle import SharedBundle
from emo_rt.errors import BundleError, InputError
from emo_rt.live.clip_maker import ClipMaker
from emo_rt.live.frame import LiveFrame
from emo_rt.live.voice_queue import VoiceQueue
from emo_rt.media.boxes import Box

PICTURE = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
FACE = Box(8, 8, 16, 16)
REPLICAS = b"ServeReplica:emo-rt"  # in the names of their processes


@pytest.fixture(scope="module")
def here(bundle: Path) -> Bundle:
    return Bundle.load(bundle)


@pytest.fixture(scope="module")
def setup(here: Bundle) -> ReplicaSetup:
    return ReplicaSetup(SharedBundle.of(here, validated=True), "onnxruntime")


@pytest.fixture(scope="module")
def replicas(setup: ReplicaSetup) -> Iterator[Replicas]:
    """Two replicas."""
    with connected(LOCAL) as ray, replicas_of(ray, setup, 2) as replicas:
        yield replicas


@pytest.fixture
def cluster(here: Bundle, replicas: Replicas) -> ClusterCascade:
    return ClusterCascade(here, replicas)


def frames_of(cascade: Cascade) -> Iterator[np.ndarray]:
    """The clips of a second of voice."""
    return cascade.generate(PICTURE, FACE, [tones(1.01)[0]], seed=3, steps=2, speed=1.0)


def test_replicas_make_the_frames_of_one_machine(here: Bundle, cluster: ClusterCascade) -> None:
    expected = list(frames_of(Cascade.load(here)))
    found = list(frames_of(cluster))
    assert len(found) == len(expected) > 3
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_clip_whose_replica_dies_is_made_all_the_same(here: Bundle, cluster: ClusterCascade) -> None:
    expected = np.concatenate(list(frames_of(Cascade.load(here))))
    found = []
    for clip in frames_of(cluster):
        found.append(clip)
        if len(found) == 2:
            assert len(processes_of(REPLICAS)) == 2
            for process in processes_of(REPLICAS):
                os.kill(process, signal.SIGKILL)
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_live_face_is_the_same(here: Bundle, cluster: ClusterCascade) -> None:
    voice = VoiceQueue(here.config, 16000)
    voice.push(tones(1.0)[0])
    made = []
    for cascade in (Cascade.load(here), cluster):
        maker = ClipMaker(cascade, PICTURE, FACE, Sampling(1, 1.0, 0), seed=1, speed=0.5)
        maker.prepare()
        first = maker.make([], list(voice))
        before = [LiveFrame(*pair) for pair in zip(first, voice, strict=False)]
        made.append([*first, *maker.make(before, list(voice)[len(first) :])])
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.latents, other.latents)
        assert one.place == other.place


def test_what_a_replica_refuses_is_said_in_its_words(here: Bundle, cluster: ClusterCascade, replicas: Replicas) -> None:
    with pytest.raises(InputError, match="steps is 100000: choose 1 to 1000"):
        list(cluster.generate(PICTURE, FACE, [tones(0.5)[0]], steps=100_000))
    video = cluster.condition(PICTURE, FACE, 0.0, 0)
    nothing = np.full_like(video.reference_latents, np.nan)
    broken = replace(video, reference=replicas.ray.put(replace(video, reference_latents=nothing)))
    config = here.config
    clip, silence = Clip(0, 0, config.clip_frames), np.zeros(config.window_samples, np.float32)
    motion = np.zeros((config.motion_frames, *config.latents_shape[1:]), np.float32)
    with pytest.raises(BundleError, match="NaN"):
        cluster.denoise_one(clip, broken, silence, motion, Sampling(1, 1.0, 0), 0, 0.0)


def test_replicas_that_run_already_are_used(replicas: Replicas, setup: ReplicaSetup) -> None:
    with replicas_of(replicas.ray, setup, None) as found:
        assert found.number == 2
        assert found.call("setup") == setup
    assert replicas.call("setup") == setup  # they still run
    other = replace(setup, bundle=replace(setup.bundle, sha256="0" * 64))
    with pytest.raises(InputError, match="have another bundle"), replicas_of(replicas.ray, other, None):
        pass


def test_what_there_is_no_room_for(replicas: Replicas, setup: ReplicaSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas.ray, "cluster_resources", lambda: {"CPU": 2.0, "memory": 1e9})
    with (
        pytest.raises(InputError, match="room for 2 replicas of 1 CPU, and not for 3"),
        replicas_of(replicas.ray, setup, 3),
    ):
        pass
    with (
        pytest.raises(InputError, match="room for 0 replicas of 3 CPUs"),
        replicas_of(replicas.ray, replace(setup, threads=3), 1),
    ):
        pass


def test_a_replica_that_is_not_alike_is_named(setup: ReplicaSetup) -> None:
    other = replace(setup, bundle=replace(setup.bundle, version="0.0.1"))
    with pytest.raises(InputError, match=r"and 0\.0\.1 is needed"):
        ClipReplica(other).setup()


def test_the_example_of_a_deployment_is_true(here: Bundle) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = Path(__file__).parents[3] / "examples" / "cluster.yaml"
    (application,) = ServeDeploySchema.parse_obj(yaml.safe_load(config.read_text())).applications
    assert application.name == APPLICATION
    module, name = application.import_path.split(":")
    build = getattr(importlib.import_module(module), name)
    built = build({**application.args, "bundle": str(here.directory), "backend": "onnxruntime"})
    deployment = built._bound_deployment
    assert [each.name for each in application.deployments] == [deployment.name]
    (setup,) = deployment.init_args
    assert setup == ReplicaSetup(SharedBundle.of(here, validated=True), "onnxruntime", 1)
