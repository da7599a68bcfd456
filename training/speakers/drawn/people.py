"""Which drawn heads there are: each portrait follows from a seed.

Tables hold what is drawn at random, from which range, for whom and in which order. The order matters: equal seeds give
equal people only as long as nothing is drawn earlier, later or between.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training.speakers.drawn.heads import Portraits


class _Uniform:
    """Values of equal chance between two bounds.

    Args:
        ranges: lowest and highest value; several ranges give a vector.
        rows: number of such vectors, which are drawn one after the other; None gives one, without an axis for it.
    """

    def __init__(self, *ranges: tuple[float, float], rows: int | None = None) -> None:
        self.low, self.high = np.array(ranges).T
        self.rows = rows

    def draw(self, rng: np.random.Generator) -> Any:
        """A float for a single range, otherwise (ranges,) or (rows, ranges)."""
        if len(self.low) == 1:
            return float(rng.uniform(self.low[0], self.high[0]))
        return rng.uniform(self.low, self.high, (self.rows, len(self.low)) if self.rows else None)


@dataclass(frozen=True)
class _Chance:
    """True with a `probability` from 0 to 1."""

    probability: float

    def draw(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.probability)


class _Choice:
    """One of several options.

    Args:
        options: what there is to choose from.
        weights: relative chance of each option; None gives all the same.
    """

    def __init__(self, options: Iterable[Any], weights: np.ndarray | None = None) -> None:
        self.options = tuple(options)
        self.chances = None if weights is None else weights / weights.sum()

    def draw(self, rng: np.random.Generator) -> Any:
        return self.options[int(rng.choice(len(self.options), p=self.chances))]


_SKINS = ((0.96, 0.80, 0.70), (0.92, 0.71, 0.58), (0.84, 0.61, 0.46), (0.70, 0.47, 0.33), (0.52, 0.33, 0.23),
          (0.38, 0.23, 0.16))  # fmt: skip
_DARK_HAIRS = ((0.08, 0.06, 0.05), (0.17, 0.10, 0.06), (0.32, 0.19, 0.10))
_LIGHT_HAIRS = ((0.50, 0.30, 0.14), (0.80, 0.62, 0.34), (0.58, 0.23, 0.09), (0.70, 0.69, 0.68))
_IRISES = ((0.24, 0.13, 0.06), (0.36, 0.22, 0.09), (0.40, 0.38, 0.16), (0.24, 0.45, 0.62), (0.28, 0.48, 0.30),
           (0.42, 0.50, 0.55))  # fmt: skip
_PAINTED_LIPS, _BARE_LIPS = np.array([0.72, 0.20, 0.22]), np.array([0.74, 0.36, 0.34])
_DARK_SKIN = 2.5  # darkness above which irises, and nearly always hair, are dark

# Style -> ranges of the fields below.
_HAIR_FIELDS = ("hair_volume", "hairline", "hair_side", "hair_part", "hair_fringe", "hair_curl", "hair_length")
_HAIRSTYLES = {
    "short": _Uniform((0.05, 0.12), (-0.80, -0.66), (-0.05, 0.25), (-0.12, 0.12), (0.0, 0.03), (0, 0), (0, 0)),
    "parted": _Uniform((0.10, 0.20), (-0.78, -0.66), (0.00, 0.25), (0.15, 0.32), (0.0, 0.03), (0, 0), (0, 0)),
    "fringe": _Uniform((0.09, 0.16), (-0.50, -0.42), (0.25, 0.60), (-0.06, 0.06), (0.02, 0.05), (0, 0), (0.6, 1.2)),
    "long": _Uniform((0.09, 0.18), (-0.76, -0.60), (0.70, 1.10), (-0.25, 0.25), (0.0, 0.02), (0, 0), (1.4, 2.4)),
    "bob": _Uniform((0.12, 0.20), (-0.72, -0.50), (0.80, 1.05), (-0.20, 0.20), (0.0, 0.04), (0, 0), (0.9, 1.3)),
    "bun": _Uniform((0.04, 0.09), (-0.80, -0.68), (-0.10, 0.15), (-0.05, 0.05), (0.0, 0.01), (0, 0), (0, 0)),
    "curly": _Uniform((0.18, 0.42), (-0.74, -0.60), (0.00, 0.40), (-0.05, 0.05), (0.03, 0.05), (1, 1), (0, 1.0)),
    "bald": _Uniform((0.00, 0.00), (-0.70, -0.70), (0.00, 0.00), (0.0, 0.0), (0.0, 0.0), (0, 0), (0, 0)),
}
_COVERS_EARS = ("long", "bob")
_STYLE_WEIGHTS = np.array([0.22, 0.14, 0.12, 0.20, 0.10, 0.08, 0.10, 0.04])
_FEMININE_WEIGHTS = _STYLE_WEIGHTS * np.array([0.35, 0.4, 1.3, 1.8, 1.8, 1.8, 1.0, 0.1])
_MASCULINE_WEIGHTS = _STYLE_WEIGHTS * np.array([1.8, 1.8, 0.6, 0.2, 0.1, 0.1, 1.0, 2.5])

# Each line: what is drawn, its distribution, and the trait without which (after "not": with which) nothing is drawn.
_Table = tuple[tuple[str, _Uniform | _Chance | _Choice, str], ...]
_ANYONE = "anyone"

_KIND: _Table = (
    ("feminine", _Chance(0.5), _ANYONE),
    ("darkness", _Uniform((0, len(_SKINS) - 1)), _ANYONE),  # a place in the palette of skins
    ("skin_tint", _Uniform((0.95, 1.05), (0.95, 1.05), (0.95, 1.05)), _ANYONE),
    ("hairstyle", _Choice(_HAIRSTYLES, _FEMININE_WEIGHTS), "feminine"),
    ("hairstyle", _Choice(_HAIRSTYLES, _MASCULINE_WEIGHTS), "not feminine"),
)

_LOOKS: _Table = (
    ("dark_haired", _Chance(0.85), "dark"),
    ("hair", _Choice(_DARK_HAIRS), "dark_haired"),
    ("hair", _Choice((*_DARK_HAIRS, *_LIGHT_HAIRS)), "not dark_haired"),
    ("hair_shade", _Uniform((0.85, 1.15)), _ANYONE),
    ("bearded", _Chance(0.35), "not feminine"),
    ("light_side", _Choice((-1, 1)), _ANYONE),
    ("light", _Uniform((0.15, 0.65), (0.25, 0.55)), _ANYONE),  # aside and above
    ("hue", _Uniform((0, 1)), _ANYONE),  # of the background
    ("eye_y", _Uniform((0.0, 0.08)), _ANYONE),
    ("painted", _Chance(0.6), "feminine"),
    ("mouth_y", _Uniform((0.71, 0.78)), _ANYONE),
    ("centre", _Uniform((0.47, 0.53), (0.47, 0.52)), _ANYONE),
    ("scale", _Uniform((0.255, 0.30)), _ANYONE),
    ("cranium", _Uniform((1.18, 1.32)), _ANYONE),
    ("chin", _Uniform((0.42, 0.50)), "feminine"),  # below the mouth
    ("chin", _Uniform((0.46, 0.58)), "not feminine"),
    ("depth", _Uniform((1.05, 1.2)), _ANYONE),
    ("taper", _Uniform((0.10, 0.24)), "feminine"),
    ("taper", _Uniform((-0.02, 0.18)), "not feminine"),
    ("blush", _Uniform((0.1, 0.6)), _ANYONE),
    ("eye_x", _Uniform((0.40, 0.45)), _ANYONE),
    ("eye_width", _Uniform((0.20, 0.25)), _ANYONE),
    ("eye_height", _Uniform((0.10, 0.15)), _ANYONE),
    ("eye_tilt", _Uniform((-0.05, 0.03)), _ANYONE),
    ("iris", _Uniform((0, 1.5)), "dark"),  # a place in the palette of irises
    ("iris", _Uniform((0, 5)), "not dark"),
    ("brow", _Uniform((0.27, 0.34)), _ANYONE),  # above the eye
    ("brow_thickness", _Uniform((0.030, 0.045)), "feminine"),
    ("brow_thickness", _Uniform((0.045, 0.07)), "not feminine"),
    ("brow_arch", _Uniform((0.02, 0.09)), _ANYONE),
    ("brow_tilt", _Uniform((-0.05, 0.05)), _ANYONE),
    ("nose_y", _Uniform((0.40, 0.47)), _ANYONE),
    ("nose_width", _Uniform((0.13, 0.19)), _ANYONE),
    ("nose_height", _Uniform((0.8, 1.2)), _ANYONE),
    ("mouth_half_width", _Uniform((0.34, 0.41)), _ANYONE),
    ("mouth_curve", _Uniform((0.01, 0.07)), _ANYONE),
    ("upper_lip", _Uniform((0.045, 0.085)), _ANYONE),
    ("lower_lip", _Uniform((0.07, 0.11)), _ANYONE),
    ("lip_shade", _Uniform((0.9, 1.1)), _ANYONE),
    ("ear", _Uniform((0.85, 1.15)), "not covered_ears"),
    ("bun", _Uniform((0.32, 0.48)), _ANYONE),
    ("beard", _Uniform((0.25, 1.0)), "bearded"),
    ("moustached", _Chance(0.7), "bearded"),
    ("moustache", _Uniform((0.5, 1.0)), "moustached"),
    ("glasses", _Chance(0.16), _ANYONE),
    ("glasses_round", _Uniform((0, 1)), _ANYONE),
    ("glasses_brightness", _Uniform((0, 1)), _ANYONE),
    ("glasses_tint", _Uniform((0, 0.5), (0, 0.5), (0, 0.5)), _ANYONE),
    ("cloth", _Uniform((0, 1), (0.1, 0.75), (0.2, 0.9)), _ANYONE),  # hue, saturation, value
    ("cloth_trim", _Uniform((0, 1), (0.0, 0.5), (0.3, 0.95)), _ANYONE),
    ("neck", _Uniform((0.46, 0.53)), "feminine"),
    ("neck", _Uniform((0.54, 0.66)), "not feminine"),
    ("neckline", _Uniform((0.02, 0.40)), _ANYONE),
    ("stripes", _Chance(0.2), _ANYONE),
    ("above", _Uniform((0.05, 0.5), (0.35, 0.95)), _ANYONE),  # saturation and value of the background
    ("below", _Uniform((0.1, 0.5), (0.2, 0.8)), _ANYONE),
    ("blobs", _Uniform((0, 1), (0, 1), (0.1, 0.3), (-0.2, 0.2), (0.3, 1), rows=4), _ANYONE),  # x, y, radius, hue, value
    ("light_tint", _Uniform((0.92, 1.0), (0.84, 1.0)), _ANYONE),  # green and blue
    ("light_strength", _Uniform((0.62, 0.76)), _ANYONE),
    ("ambient_tint", _Uniform((0.9, 1.0), (0.98, 1.08)), _ANYONE),  # red and blue
    ("ambient_strength", _Uniform((0.36, 0.48)), _ANYONE),
)


def sample_portraits(seeds: Sequence[int], device: torch.device | str = "cpu") -> Portraits:
    """One person per seed; equal seeds give equal people."""
    people = [_person(seed) for seed in seeds]
    return Portraits(
        **{
            field.name: torch.tensor(np.array([person[field.name] for person in people], np.float32), device=device)
            for field in dataclasses.fields(Portraits)
        }
    )


def _person(seed: int) -> dict[str, Any]:
    """The values of all fields of `Portraits` for one person, and what they were made from."""
    rng = np.random.default_rng([seed, 0x4EAD])
    traits = {_ANYONE}
    drawn = _draw(rng, _KIND, traits)
    style = drawn["hairstyle"]
    drawn |= zip(_HAIR_FIELDS, _HAIRSTYLES[style].draw(rng), strict=True)
    traits |= {"dark"} if drawn["darkness"] > _DARK_SKIN else set()
    traits |= {"covered_ears"} if style in _COVERS_EARS else set()
    drawn |= _draw(rng, _LOOKS, traits)
    return drawn | _shape(drawn) | _colours(drawn) | _surroundings(drawn)


def _draw(rng: np.random.Generator, table: _Table, traits: set[str]) -> dict[str, Any]:
    """Draws a table from top to bottom; what is not drawn is 0, and a chance that comes true becomes a trait."""
    drawn: dict[str, Any] = {}
    for name, distribution, trait in table:
        drawn.setdefault(name, 0.0)
        if (trait.removeprefix("not ") in traits) != trait.startswith("not "):
            drawn[name] = distribution.draw(rng)
        if drawn[name] is True:
            traits.add(name)
    return drawn


def _shape(drawn: dict[str, Any]) -> dict[str, Any]:
    return {
        "jaw": drawn["mouth_y"] + drawn["chin"],
        "eye_height": drawn["eye_height"] + 0.02 * drawn["feminine"],
        "brow_y": drawn["eye_y"] - drawn["brow"],
        "hair_present": drawn["hairstyle"] != "bald",
        "bun": drawn["bun"] * (drawn["hairstyle"] == "bun"),
    }


def _colours(drawn: dict[str, Any]) -> dict[str, Any]:
    skin = _mixture(_SKINS, drawn["darkness"]) * drawn["skin_tint"]
    lips = _PAINTED_LIPS if drawn["painted"] else _BARE_LIPS
    return {
        "skin": skin.clip(0.05, 1),
        "lips": lips * (0.35 + 0.65 * skin) * drawn["lip_shade"],
        "iris": _mixture(_IRISES, drawn["iris"]),
        "hair": np.array(drawn["hair"]) * drawn["hair_shade"],
        "glasses_colour": np.array([0.08, 0.07, 0.08]) + drawn["glasses_brightness"] ** 3 * drawn["glasses_tint"],
        "cloth": _rgb(*drawn["cloth"]),
        "cloth_trim": _rgb(*drawn["cloth_trim"]),
    }


def _surroundings(drawn: dict[str, Any]) -> dict[str, Any]:
    hue, (aside, above) = drawn["hue"], drawn["light"]
    light = np.array([drawn["light_side"] * aside, -above, 1.0])
    (green, blue), (ambient_red, ambient_blue) = drawn["light_tint"], drawn["ambient_tint"]
    return {
        "background": np.stack([_rgb(hue, *drawn["above"]), _rgb(hue + 0.08, *drawn["below"])]),
        "blobs": np.stack(
            [[x, y, radius, *_rgb(hue + shift, 0.4, value)] for x, y, radius, shift, value in drawn["blobs"]]
        ),
        "light": light / np.linalg.norm(light),
        "light_colour": np.array([1.0, green, blue]) * drawn["light_strength"],
        "ambient": np.array([ambient_red, 0.96, ambient_blue]) * drawn["ambient_strength"],
    }


def _mixture(palette: Sequence[tuple[float, float, float]], position: float) -> np.ndarray:
    """The colour (3,) at a `position` in a palette, mixed of the two beside it."""
    left = min(int(position), len(palette) - 2)
    return np.array(palette[left]) * (left + 1 - position) + np.array(palette[left + 1]) * (position - left)


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """HSV in [0, 1] -> RGB (3,)."""
    ramp = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return value * (1 - saturation * (1 - ramp.clip(0, 1)))
