"""Some footage, and the clips of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from footage_videos import OPTIONS, write_video

from training import prepare
from training.clips.clip import TrainingClip
from training.speakers.speaker import make_clip


@pytest.fixture(scope="session")
def speakers() -> dict[str, TrainingClip]:
    """A good second of each, in which the head moves: no two frames are alike."""
    return {name: make_clip(seed, 1.2, 96) for name, seed in {"anna": 25, "ben": 10, "cleo": 9}.items()}


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory, speakers: dict[str, TrainingClip]) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    anna, ben, cleo = speakers.values()
    write_video(folder / "anna" / "talk.mp4", anna.frames, waveform=anna.waveform)
    cut = np.concatenate([ben.frames[:28], cleo.frames[:10]])
    write_video(folder / "ben" / "cut.mp4", cut, waveform=np.tile(ben.waveform, 2)[: 38 * 640])
    write_video(folder / "cleo_0.mp4", cleo.frames)
    beside = np.concatenate([anna.frames, ben.frames], 2)
    write_video(folder / "two_1.mp4", beside, waveform=anna.waveform)
    hill = np.broadcast_to(np.linspace(40, 200, 96).astype(np.uint8)[None, :, None, None], (26, 96, 96, 3))
    write_video(folder / "hill.mp4", hill, waveform=anna.waveform)
    write_video(folder / "short.mp4", anna.frames[:10], waveform=anna.waveform)
    whole = (folder / "anna" / "talk.mp4").read_bytes()
    (folder / "cut_off.mp4").write_bytes(whole[: len(whole) * 3 // 5])
    (folder / "words.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="session")
def prepared(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    assert prepare.main([str(footage), str(out), *OPTIONS]) == 0
    return out
