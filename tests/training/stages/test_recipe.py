"""Recipes and the configs that hold them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.model.config import CONFIGS, EmoConfig
from training.model.model import EmoModel
from training.stages.recipe import Recipe
from training.train import main


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, not 0"),
        ({"learning_rate": -1e-4}, "learning_rate must be 0 or more"),
        ({"learning_rate": float("nan")}, "learning_rate must be 0 or more"),
        ({"coarse": float("inf")}, "coarse must be 0 or more"),
        ({"movement_weight": -1.0}, "movement_weight must be 0 or more, not -1.0"),
        ({"own_motion": 1.5}, "own_motion is a share between 0 and 1, not 1.5"),
        ({"still": 0.6, "every_speed": 0.5}, "shares of one whole, not 0.6 and 0.5"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Recipe.load("emo-test", "video"), **{"still": 0.0, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[stages.video]", "[stages.video]\nsteeps = 3", "unknown key steeps in [stages.video]"),
        ("[model]", "[model]\nresolutoin = 32", "unknown key resolutoin"),
        ("[stages.video]\nsteps = 2", "[stages.video]\nsteps = 0", "[stages.video]: steps must be 1 or more, not 0"),
        ("[stages.video]", "[stages.film]", "has no table [stages.video]"),
        ("[model]", "[model", "cannot be read"),
    ],
)
def test_a_wrong_config_is_one_clear_line(
    old: str, new: str, message: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "emo-test.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    out = tmp_path / "out"
    assert main(["--stage", "video", "--config", str(path), "--data", str(clips), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error
    assert message in error
    assert not out.exists()


def test_a_config_of_ones_own_trains(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((CONFIGS / "emo-test.toml").read_text())
    out = tmp_path / "out"
    assert main(["--stage", "vae", "--config", str(path), "--data", str(clips), "--out", str(out)]) == 0
    assert EmoModel.load(out).config == EmoConfig.from_name(path)
    assert EmoModel.load(out).config.name == "mine"


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    recipe = Recipe(steps=1000, batch_size=1, learning_rate=2.0)
    rates = [recipe.learning_rate_at(step, step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[49] == pytest.approx(1.0, rel=0.01)
    assert max(rates) == rates[99] == pytest.approx(2.0, rel=0.03)
    assert rates[500] == pytest.approx(1.1)
    assert rates[1000] == pytest.approx(0.2)
