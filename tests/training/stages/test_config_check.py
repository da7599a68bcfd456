"""Configs of all wrong kinds are refused in one line that names the file, by training and by the export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.model.config import CONFIGS
from training.stages.config_check import check_checkpoint, read_checked_config
from training.train import main

DEEP = "[" * 3000
#: What stands in a config, what takes its place, and words of the error.
WRONG_TOML = [
    ("resolution = 32", "resolution = 'wide'", "resolution is 'wide', not a whole number"),
    ("resolution = 32", "resolution = true", "resolution is True, not a whole number"),
    ("resolution = 32", "resolution = nan", "resolution is nan, not a whole number"),
    ("resolution = 32", "resolution = [32]", "resolution is [32], not a whole number"),
    ("resolution = 32", "resolution = 1_000_000_000_000", "resolution is 1000000000000; choose 1 to 4096"),
    ("resolution = 32", f"resolution = 0x{'f' * 9000}", "resolution is a value that is too long; choose 1 to 4096"),
    ("resolution = 32", "resolution = 0", "resolution is 0; choose 1 to 4096"),
    ("resolution = 32", "resolution = {a = 1}", "resolution is {'a': 1}, not a whole number"),
    ("resolution = 32", f"resolution = {DEEP}", "nested too deeply"),
    ("resolution = 32", "", "resolution is missing"),
    ("resolution = 32", 'resolution = 32\n"a\\u0007b" = 1', "unknown key a\\x07b"),
    ("resolution = 32", 'resolution = 32\nname = "a\\u001bb"', "name is 'a\\x1bb'"),
    ("resolution = 32", "resolution = 32\nbeta_schedule = 'square'", "beta_schedule is 'square', not one of"),
    ("guidance_scale = 2.0", "guidance_scale = nan", "guidance_scale is nan; choose 0 to 20"),
    ("guidance_scale = 2.0", "guidance_scale = inf", "guidance_scale is inf; choose 0 to 20"),
    ("block_out_channels = [16, 32]", "block_out_channels = 16", "block_out_channels is 16, not a list"),
    ("block_out_channels = [16, 32]", "block_out_channels = []", "block_out_channels is [], not a list"),
    ("block_out_channels = [16, 32]", "block_out_channels = [16, 'x']", "entry 2 of block_out_channels is 'x'"),
    ("block_out_channels = [16, 32]", "block_out_channels = [65536, 65536]", "billion parameters"),
    ("attention_levels = [true, false]", "attention_levels = [1, 0]", "entry 1 of attention_levels is 1, not true"),
    ("block_out_channels = [8, 16]", "", "vae.block_out_channels is None"),
    ("block_out_channels = [8, 16]", "block_out_channels = [8, nan]", "vae.block_out_channels is nan"),
    ("norm_num_groups = 4", "norm_num_groups = 3", "no model can be built of it"),
    ("norm_num_groups = 4", "norm_num_groups = 4\nwarp = 1", "no model can be built of it"),
    ("norm_num_groups = 4", "norm_num_groups = {a = {b = 1}}", "vae.norm_num_groups is {'a'"),
    ("conv_dim = [16, 16, 16, 16, 16, 16, 16]", "conv_dim = [16]", "no model can be built of it"),
    ("conv_dim = [16, 16, 16, 16, 16, 16, 16]", "conv_dim = 'x'", "no model can be built of it"),
    ("num_hidden_layers = 2", "num_hidden_layers = 9999", "wav2vec2.num_hidden_layers is more than 200"),
    ("[model.vae]", "[model.wav]", "unknown key wav"),
    ("[model]", "[modell]", "unknown table 'modell'"),
    ("[stages.vae]", "[stages.vae.inner]", "unknown key inner in [stages.vae]"),
    ("[stages.vae]\nsteps = 2", "[stages.vae]\nsteps = 2.5", "[stages.vae]: steps is 2.5, not a whole number"),
    ("[stages.vae]\nsteps = 2", "[stages.vae]\nsteps = [2]", "[stages.vae]: steps is [2], not a whole number"),
    ("[stages.vae]\nsteps = 2", "[stages.vae]\nsteps = 'two'", "[stages.vae]: steps is 'two', not a whole number"),
    ("[stages.vae]\nsteps = 2", "[stages.vae]\nhears = 1", "[stages.vae]: hears is 1, not true or false"),
    ("ema = 0.995", "ema = nan", "[stages.vae]: ema is nan; choose 0 to 1e+09"),
    ("learning_rate = 1.5e-3", "learning_rate = inf", "[stages.vae]: learning_rate is inf"),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG_TOML, ids=[new[:50] for _, new, _ in WRONG_TOML])
def test_training_refuses_a_malformed_config(
    old: str, new: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "emo-test.toml").read_text()
    assert old in text
    refused(text.replace(old, new, 1), words, ["--stage", "vae"], tmp_path, capsys)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no table [model]"),
        ("model = 3", "[model] is 3, not a table"),
        ("stages = [1]\n[model]", "stages is [1], not a table"),
        ("[stages]\nvae = 3\n[model]", "[stages.vae] is 3, not a table"),
        ("\0", "cannot be read"),
    ],
)
@pytest.mark.parametrize("options", [["--stage", "vae"], ["--minutes", "1"]], ids=["one", "all"])
def test_training_refuses_a_config_of_something_else(
    content: str, words: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(content, words, options, tmp_path, capsys)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("share = 0.2", "share = 'x'", "share is 'x', not a number"),
        ("[stages.vae]", "[stages.film]", "unknown stage film; there are vae, decoder"),
        ("share = 0.2\n", "", None),
    ],
)
def test_training_of_all_stages_refuses_a_malformed_config(
    old: str, new: str, words: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (CONFIGS / "emo-test.toml").read_text()
    if words is None:  # no stage at all
        text, words = text[: text.index("[stages.")], "gives no stage a share of the time"
    refused(text.replace(old, new, 1), words, ["--minutes", "1"], tmp_path, capsys)


def refused(text: str, words: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    out = tmp_path / "out"
    assert main([*options, "--config", str(path), "--data", str(tmp_path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert str(path) in error
    assert words in error
    assert not out.exists()


def set_to(file: str, key: str, value: Any) -> Callable[[Path], None]:
    """A change of one value of a JSON file; `key` may lead into a table."""

    def change(checkpoint: Path) -> None:
        content = json.loads((checkpoint / file).read_text())
        table, _, name = key.rpartition(".")
        (content[table] if table else content)[name] = value
        (checkpoint / file).write_text(json.dumps(content))

    return change


def write(file: str, text: str) -> Callable[[Path], object]:
    return lambda checkpoint: (checkpoint / file).write_text(text)


WRONG_JSON: list[tuple[str, Callable[[Path], object], str]] = [
    ("null", write("config.json", "null"), "config.json is None, not a table"),
    ("list", write("config.json", "[]"), "config.json is [], not a table"),
    ("empty", write("config.json", ""), "config.json cannot be read"),
    ("empty table", write("config.json", "{}"), "config.json: name is missing"),
    ("nested", write("config.json", "[" * 100_000), "config.json cannot be read"),
    ("not UTF-8", lambda checkpoint: (checkpoint / "config.json").write_bytes(b"\xff\xfe"), "cannot be read"),
    ("wrong type", set_to("config.json", "resolution", "32"), "resolution is '32', not a whole number"),
    ("value null", set_to("config.json", "vae", None), "vae is None, not a table"),
    ("NaN", set_to("config.json", "portrait_pull", float("nan")), "portrait_pull is nan; choose 0 to 1"),
    ("infinity", set_to("config.json", "frames_per_second", float("inf")), "frames_per_second is inf, not a whole"),
    ("huge", set_to("config.json", "clip_frames", 10**30), "clip_frames is 1000000000000000000000000000000; choose"),
    ("zero", set_to("config.json", "attention_heads", 0), "attention_heads is 0; choose 1 to 1024"),
    ("list for number", set_to("config.json", "steps", [4]), "steps is [4], not a whole number"),
    ("unknown key", set_to("config.json", "warp", 9), "unknown key warp"),
    ("deep value", set_to("config.json", "wav2vec2.hidden_size", {"a": [1]}), "wav2vec2.hidden_size is {'a': [1]}"),
    ("other network", set_to("config.json", "vae.latent_channels", 5), "latent_channels is not 5, as the checkpoint's"),
    ("VAE null", write("vae/config.json", "null"), "vae/config.json is None, not a table"),
    ("VAE empty", write("vae/config.json", "{}"), "vae/config.json: "),
    ("no scale", set_to("vae/config.json", "scaling_factor", None), "scaling_factor is None, not a number"),
    ("NaN scale", set_to("vae/config.json", "scaling_factor", float("nan")), "scaling_factor is nan; choose"),
    ("voice list", write("wav2vec2/config.json", "[1]"), "wav2vec2/config.json is [1], not a table"),
    ("no voice", lambda checkpoint: (checkpoint / "wav2vec2/config.json").unlink(), "it has no config.json"),
    ("activation", set_to("vae/config.json", "act_fn", 5), "vae/config.json: no network can be built of it"),
    (
        "voice",
        set_to("wav2vec2/config.json", "conv_kernel", "x"),
        "wav2vec2/config.json: no network can be built of it",
    ),
]


@pytest.mark.parametrize(
    ("command", "change", "words"),
    [
        pytest.param(command, change, words, id=f"{name}-{command}")
        for name, change, words in WRONG_JSON
        for command in ("export", "export --dry-run", "training")
        if not ("no network" in words and "--dry-run" in command)  # a dry run builds nothing
    ],
)
def test_a_malformed_checkpoint_is_refused(
    command: str,
    change: Callable[[Path], object],
    words: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from export import build

    copy = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    change(copy)
    out = tmp_path / "out"
    if command == "training":
        code = main(["--stage", "vae", "--init", str(copy), "--data", str(tmp_path), "--out", str(out)])
    else:
        code = build.main(["--model", str(copy), "--out", str(out), *command.split()[1:]])
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1, error
    assert str(copy) in error
    assert words in error
    assert not out.exists()


def test_the_configs_that_are_there_are_good(checkpoint: Path) -> None:
    for path in CONFIGS.glob("*.toml"):
        assert read_checked_config(path.stem)[0] == path
    check_checkpoint(checkpoint)
    check_checkpoint(Path(__file__).parents[3] / "models" / "emo-photo")
