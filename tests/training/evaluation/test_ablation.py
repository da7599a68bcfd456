"""Videos without one condition: each is left out, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training.clips.clip import TrainingClip, portrait_of
from training.evaluate import main
from training.evaluation.ablation import ABLATIONS, AblationRow, ablation, ablation_table
from training.evaluation.evaluation import EvaluationOptions
from training.evaluation.generator import Generator, left_out
from training.evaluation.reader import FaceReader
from training.model.conditions import Conditions
from training.model.model import EmoModel

FRAMES = 6


class Listener(nn.Module):
    """A Backbone that keeps what it gets."""

    def forward(self, latents: torch.Tensor, timestep: torch.Tensor, conditions: Conditions) -> Conditions:
        return conditions


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_condition_is_left_out_and_all_others_stay(name: str) -> None:
    one = torch.ones(1)
    pair = (one, one)
    pairs = {0: pair}
    of_layers = {"audio": pairs, "speed": pairs, "reference": pairs, "motion": {0: (pair, pair)}}
    conditions = Conditions(**{field.name: of_layers.get(field.name, one) for field in fields(Conditions)})
    before = conditions.named_tensors().keys()
    listener = Listener()
    with left_out(listener, ABLATIONS[name]):
        heard = listener(one, one, conditions).named_tensors().keys()
    field = ABLATIONS[name]
    alone = Conditions(**{field: getattr(conditions, field)}).named_tensors().keys()
    assert alone
    assert before - heard == alone
    assert listener(one, one, conditions).named_tensors().keys() == before


@pytest.fixture(scope="module")
def lively(model: EmoModel) -> EmoModel:
    """A model in which everything counts: new layers begin at zero."""
    torch.manual_seed(0)
    lively = EmoModel(replace(model.config, gestures=True))
    lively.load_state_dict(model.state_dict(), strict=False)
    for parameter in lively.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return lively


def test_each_video_without_something_differs_and_is_kept_apart(
    lively: EmoModel, clips: dict[str, TrainingClip], tmp_path: Path
) -> None:
    clip = clips["4"]
    portrait, box = portrait_of(clip)
    videos = [
        Generator(lively, steps=1, directory=tmp_path, without=name)(
            portrait, box, clip.waveform, FRAMES, seed=0, speed=0.5
        )
        for name in (None, *ABLATIONS.values())
    ]
    assert len(list(tmp_path.iterdir())) == len(videos)
    for video in videos[1:]:
        assert (video != videos[0]).any()


def test_the_rows_measure_the_videos(
    lively: EmoModel, reader: FaceReader, clips: dict[str, TrainingClip], tmp_path: Path
) -> None:
    options = EvaluationOptions(tmp_path, videos=2, seconds=FRAMES / 25, steps=1)
    rows = ablation(lively, reader, clips, options)
    assert [row.without for row in rows] == ["", *ABLATIONS]  # the test model has all of them
    assert rows[0].full_psnr == 100
    assert all(row.full_psnr < 100 for row in rows[1:])
    assert all(row.border_ratio is not None and -1 <= row.opening <= 1 for row in rows)
    kept = len(list((tmp_path / "videos").iterdir()))
    assert kept == 2 * len(rows)


def test_the_table_names_the_full_model_and_what_is_missing() -> None:
    rows = [
        AblationRow("", 0.8, 1.0, 30.0, 100.0, 0.5, 0.01),
        AblationRow("audio-attention", 0.1, None, 29.0, 40.0, 0.5, 0.01),
    ]
    head, full, without = ablation_table(rows).splitlines()
    assert head.split()[0] == "without"
    assert full.split() == ["(full", "model)", "0.80", "1.00", "30.0", "-", "0.50", "1.0", "%"]
    assert without.split() == ["audio-attention", "0.10", "-", "29.0", "40.0", "dB", "0.50", "1.0", "%"]


def test_the_command_writes_the_rows(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--ablate", "--videos=1", f"--seconds={FRAMES / 25}", "--steps=1", f"--out={tmp_path}"]
    folders = [f"--model={directory / 'model'}", f"--data={directory / 'clips'}", f"--reader={directory / 'reader'}"]
    assert main([*options, *folders]) == 0
    rows = [AblationRow(**row) for row in json.loads((tmp_path / "ablation.json").read_text())["rows"]]
    assert ablation_table(rows) in capsys.readouterr().out
    assert np.isfinite([row.face_psnr for row in rows]).all()
