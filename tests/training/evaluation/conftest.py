"""People, an untrained model and an untrained reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from training.clips.clip import TrainingClip
from training.evaluation.reader import FaceReader
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.speakers.speaker import make_clip


@pytest.fixture(scope="session")
def clips() -> dict[str, TrainingClip]:
    return {str(seed): make_clip(seed, seconds=0.4, resolution=32) for seed in (4, 17, 33)}


@pytest.fixture(scope="session")
def model() -> EmoModel:
    torch.manual_seed(0)
    model = EmoModel(EmoConfig.from_name("emo-test")).eval()
    # Its last layer begins at zero, with which every video would be the portrait.
    torch.nn.init.normal_(model.backbone.conv_out.weight, std=0.1)
    return model


@pytest.fixture(scope="session")
def reader() -> FaceReader:
    torch.manual_seed(0)
    return FaceReader().eval()


@pytest.fixture(scope="session")
def directory(
    tmp_path_factory: pytest.TempPathFactory, model: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip]
) -> Path:
    """Holds a checkpoint (`model`), a reader that passes for a good one (`reader`) and clips (`clips`)."""
    root = tmp_path_factory.mktemp("evaluate")
    model.save(root / "model")
    reader.save(root / "reader")
    report = {"tests": {"held-out": {"renders": {"opening_correlation": 0.99}}}}
    (root / "reader" / "reader.json").write_text(json.dumps(report))
    (root / "clips").mkdir()
    for name, clip in clips.items():
        clip.save(root / "clips" / f"{name}.npz")
    return root
