"""What a config or a checkpoint says, checked before anything is built of it: a wrong value is one line that names it.

The values are checked without PyTorch. `check_builds` then makes the networks without their weights, which takes no
memory, and finds what only a library knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from emo_rt.bundle import read_json
from emo_rt.errors import printable, reason
from emo_rt.limits import LARGEST_IN_CONFIG
from training.model.config import EmoConfig, read_config_file

_Limits = tuple[float, float]
_LARGEST = 1e9
#: The smallest and the largest value of the numbers of a model, or of each one in a list.
_LIMITS: dict[str, _Limits] = {
    **{name: (1, largest) for name, largest in LARGEST_IN_CONFIG.items()},
    "block_out_channels": (1, 65_536),
    "layers_per_block": (1, 64),
    "attention_heads": (1, 1024),
    "temporal_heads": (1, 1024),
    "norm_groups": (1, 65_536),
    "vae_patch": (1, 1024),
    "audio_channels": (1, 65_536),
    "speed_channels": (1, 65_536),
    "temporal_positions": (1, 10_000),
    "audio_margin": (0, LARGEST_IN_CONFIG["audio_margin"]),
    "audio_context": (0, LARGEST_IN_CONFIG["audio_context"]),
    "portrait_pull": (0, 1),
    "beta_start": (0, 1),
    "beta_end": (0, 1),
    "guidance_scale": (0, LARGEST_IN_CONFIG["guidance_scale"]),
    "speed": (0, LARGEST_IN_CONFIG["speed"]),
    "face_region_margin": (0, LARGEST_IN_CONFIG["face_region_margin"]),
    "face_fraction": (0.01, 1),
}
#: The words that a config chooses from; diffusers has more, which the runtime does not know.
_CHOICES = {"timestep_spacing": ("trailing", "leading"), "beta_schedule": ("linear", "scaled_linear")}
#: What the tables of the two networks of libraries must have.
_NEEDED: dict[str, dict[str, Any]] = {
    "vae": {"block_out_channels": tuple[int, ...], "latent_channels": int},
    "wav2vec2": {"num_hidden_layers": int, "hidden_size": int},
}
#: What says how many layers they have.
_LAYERS = ("num_hidden_layers", "layers_per_block")
#: Largest number in those tables, most layers, and most entries of a list.
_LARGEST_NESTED, _MOST_LAYERS, _MOST_ENTRIES = 65_536, 200, 64
#: Most parameters that a model can have: eight times those of the paper's size.
_MOST_PARAMETERS = 20_000_000_000
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "a table"}


def read_checked_config(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """File and content of a config, as `read_config_file` gives them, with all that it says checked.

    Args:
        name: name of a size, or a path that ends in `.toml`

    Raises:
        ValueError: if there is no such config, or something in it is wrong. It names the file.
    """
    try:
        path, content = read_config_file(name)
    except RecursionError:
        raise ValueError(f"{printable(str(name))} cannot be read: it is nested too deeply") from None
    if unknown := sorted(content.keys() - {"model", "stages"}):
        raise ValueError(f"{path}: unknown table {_shown(unknown[0])}; a config has [model] and [stages.NAME]")
    stages = _table(content.get("stages", {}), f"{path}: stages")
    for stage, values in stages.items():
        _table(values, f"{path}: [stages.{printable(stage)}]")
    if "model" not in content:
        raise ValueError(f"{path} has no table [model]")
    _check_model({"name": path.stem} | _table(content["model"], f"{path}: [model]"), f"{path}: [model]")
    return path, content


def check_checkpoint(directory: Path) -> None:
    """Checks the configs of a checkpoint.

    Raises:
        FileNotFoundError: if one of them is missing.
        ValueError: if something in one of them is wrong. It names the file.
    """
    path = directory / "config.json"
    config = _read_json(path)
    _check_model(config, str(path))
    for part in _NEEDED:
        path = directory / part / "config.json"
        published = _read_json(path)
        for key, value in config[part].items():
            if key not in published or published[key] != value:
                raise ValueError(f"{path}: {key} is not {_shown(value)}, as the checkpoint's config.json says")
        if part == "vae":
            _check_value("scaling_factor", published.get("scaling_factor"), float, str(path), (1e-6, 1e6))


def check_builds(config: EmoConfig, where: str | Path) -> None:
    """Raises ValueError if no model can be built of a config; `where` is the file that it is from."""
    import torch

    from training.model.model import EmoModel
    from training.model.schedule import noise_scheduler

    try:
        noise_scheduler(config)
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in EmoModel(config).parameters())
    except Exception as error:  # the libraries raise whatever they stumble over
        raise ValueError(f"{where}: no model can be built of it: {reason(error)}") from None
    if count > _MOST_PARAMETERS:
        raise ValueError(f"{where}: its model has {count / 1e9:.0f} billion parameters; choose fewer channels")


def check_checkpoint_builds(directory: Path, **changes: Any) -> None:
    """Raises ValueError if no model can be built of a checkpoint's config with some of its fields changed."""
    check_checkpoint(directory)
    check_builds(replace(EmoConfig.load(directory / "config.json"), **changes), directory / "config.json")
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from torch import device
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    for part, build in (
        ("vae", AutoencoderKL.from_config),
        ("wav2vec2", lambda values: Wav2Vec2Model(Wav2Vec2Config.from_dict(values))),
    ):
        path = directory / part / "config.json"
        try:
            with device("meta"):
                build(_read_json(path))
        except Exception as error:
            raise ValueError(f"{path}: no network can be built of it: {reason(error)}") from None


def check_fields(cls: type, values: Mapping[str, Any], where: str, limits: Mapping[str, _Limits] | None = None) -> None:
    """Checks the values for a dataclass: that it has such fields, and that each value is of its field's type.

    Args:
        cls: dataclass that is made of the values
        values: values by the name of their field
        where: what names them in an error
        limits: the smallest and the largest value of a number, or of each one in a list; others are 0 to 1e9

    Raises:
        ValueError: if a value is unknown or wrong.
    """
    hints = get_type_hints(cls)
    if unknown := sorted(printable(key) for key in values.keys() - {field.name for field in fields(cls)}):
        raise ValueError(f"{where}: unknown key {', '.join(unknown)[:200]}")
    for key, value in values.items():
        _check_value(key, value, hints[key], where, (limits or {}).get(key, (0, _LARGEST)))


def _check_value(key: str, value: Any, hint: Any, where: str, limits: _Limits) -> None:
    """Raises ValueError if a value is not of a type, or out of its limits."""
    if get_origin(hint) is UnionType:  # None for a default
        if value is None:
            return
        hint = get_args(hint)[0]
    kind = get_origin(hint) or hint
    if kind is tuple:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MOST_ENTRIES:
            raise ValueError(f"{where}: {key} is {_shown(value)}, not a list of 1 to {_MOST_ENTRIES} entries")
        for index, each in enumerate(value, 1):
            _check_value(f"entry {index} of {key}", each, get_args(hint)[0], where, limits)
        return
    if not isinstance(value, (int, float) if kind is float else kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: {key} is {_shown(value)}, not {_WORDS[kind]}")
    if kind in (int, float) and not limits[0] <= value <= limits[1]:
        raise ValueError(f"{where}: {key} is {_shown(value)}; choose {limits[0]:g} to {limits[1]:g}")


def _check_model(values: Any, where: str) -> None:
    """Raises ValueError if the values of an `EmoConfig` are wrong."""
    check_fields(EmoConfig, _table(values, where), where, _LIMITS)
    for field in fields(EmoConfig):
        if field.name not in values and field.default is MISSING:
            raise ValueError(f"{where}: {field.name} is missing")
    if not values["name"].isprintable():
        raise ValueError(f"{where}: name is {_shown(values['name'])}, which no terminal shows")
    for name, choices in _CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            raise ValueError(f"{where}: {name} is {_shown(values[name])}, not one of {', '.join(choices)}")
    for part, needed in _NEEDED.items():
        for key, value in values[part].items():
            _check_nested(f"{part}.{printable(key)}", value, where)
        for key, hint in needed.items():
            _check_value(f"{part}.{key}", values[part].get(key), hint, where, (1, _LARGEST_NESTED))
        if layers := [key for key in _LAYERS if not isinstance(values[part].get(key, 1), int)]:
            raise ValueError(f"{where}: {part}.{layers[0]} is {_shown(values[part][layers[0]])}, not a whole number")
        if layers := [key for key in _LAYERS if values[part].get(key, 1) > _MOST_LAYERS]:
            raise ValueError(f"{where}: {part}.{layers[0]} is more than {_MOST_LAYERS}")


def _check_nested(key: str, value: Any, where: str) -> None:
    """Raises ValueError if a value for a library's network is no text, no number and no list of such."""
    for each in value if isinstance(value, list | tuple) else [value]:
        number = type(each) in (int, float) and -_LARGEST_NESTED <= each <= _LARGEST_NESTED
        if not (number or isinstance(each, str | bool)):
            raise ValueError(f"{where}: {key} is {_shown(each)}, which no network can have")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {_shown(value)}, not a table")
    return value


def _read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.parent} is no checkpoint: it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from None
    return _table(content, str(path))


def _shown(value: Any) -> str:
    """A value in a few words."""
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # a number of thousands of digits, say
        text = "a value that is too long"
    return text if len(text) <= 60 else f"{text[:60]}..."
