"""Paths of the files that come with emo-rt: the default bundle, and a portrait and a voice to try it with.

A wheel carries them inside the package; in a checkout they are where they were made.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE, _CHECKOUT = Path(__file__).resolve().parent, Path(__file__).resolve().parents[1]
_INSTALLED = (_PACKAGE / "data").is_dir()

DEFAULT_BUNDLE = _PACKAGE / "data" / "emo-photo" if _INSTALLED else _CHECKOUT / "models" / "emo-photo" / "bundle"
_ASSETS = _PACKAGE / "data" if _INSTALLED else _CHECKOUT / "assets"
PORTRAIT, VOICE = _ASSETS / "portrait.png", _ASSETS / "voice.wav"
