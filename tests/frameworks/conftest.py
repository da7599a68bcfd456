"""Faces of the fake bundle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fake_bundle import write_fake_bundle
from speech import RATE

from emo_rt.bundle import Bundle
from emo_rt.cascade.cascade import Cascade
from emo_rt.cascade.sampling import Sampling
from emo_rt.live.face import LiveFace
from emo_rt.media.boxes import Box

NewFace = Callable[..., LiveFace]


@pytest.fixture(scope="session")
def new_face(tmp_path_factory: pytest.TempPathFactory) -> NewFace:
    """Makes faces that are not entered; engines are loaded once."""
    cascade = Cascade.load(Bundle.load(write_fake_bundle(tmp_path_factory.mktemp("models") / "fake")))
    picture = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)

    def make(sound_rate: int = RATE) -> LiveFace:
        return LiveFace(cascade, picture, Box(8, 8, 16, 16), Sampling(1, 1.0, 0), sound_rate=sound_rate)

    return make
