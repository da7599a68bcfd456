"""emo-rt: one portrait and a voice become a talking video.

Example:
    import emo_rt

    emo_rt.animate("me.jpg", "hello.wav", "hello.mp4")

`animate` makes one video in one call, a `Session` many. For frames instead of a file, give what `read_portrait` and
`AudioStream` read to `Cascade.generate`. A `LiveFace` answers a voice while it is spoken. Errors that a user can put
right are `EmoError`s. Names load when they are first used: `import emo_rt` by itself is quick.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it, without importing `typing`
if TYPE_CHECKING:
    import typing

    from emo_rt.bundle import Bundle, RuntimeConfig
    from emo_rt.bundled import DEFAULT_BUNDLE, PORTRAIT, VOICE
    from emo_rt.cascade.cascade import Cascade
    from emo_rt.cascade.sampling import Sampling
    from emo_rt.errors import BundleError, EmoError, InputError
    from emo_rt.jobs.animate import animate
    from emo_rt.jobs.request import GenerationOptions, Request
    from emo_rt.jobs.session import Result, Session
    from emo_rt.live.face import LiveFace
    from emo_rt.live.frame import LiveFrame
    from emo_rt.media.boxes import Box, portrait_crop
    from emo_rt.media.face import find_face
    from emo_rt.media.face_detector import Face, detect_faces
    from emo_rt.media.image import crop_portrait, read_image
    from emo_rt.media.portrait import read_portrait
    from emo_rt.media.sound import AudioStream, read_voice

    __version__: str

__all__ = [
    "DEFAULT_BUNDLE",
    "PORTRAIT",
    "VOICE",
    "AudioStream",
    "Box",
    "Bundle",
    "BundleError",
    "Cascade",
    "EmoError",
    "Face",
    "GenerationOptions",
    "InputError",
    "LiveFace",
    "LiveFrame",
    "Request",
    "Result",
    "RuntimeConfig",
    "Sampling",
    "Session",
    "__version__",
    "animate",
    "crop_portrait",
    "detect_faces",
    "find_face",
    "portrait_crop",
    "read_image",
    "read_portrait",
    "read_voice",
]

#: The names that each module gives, the same as above.
_NAMES = {
    "emo_rt.bundle": ("Bundle", "RuntimeConfig"),
    "emo_rt.bundled": ("DEFAULT_BUNDLE", "PORTRAIT", "VOICE"),
    "emo_rt.cascade.cascade": ("Cascade",),
    "emo_rt.cascade.sampling": ("Sampling",),
    "emo_rt.errors": ("BundleError", "EmoError", "InputError"),
    "emo_rt.jobs.animate": ("animate",),
    "emo_rt.jobs.request": ("GenerationOptions", "Request"),
    "emo_rt.jobs.session": ("Result", "Session"),
    "emo_rt.live.face": ("LiveFace",),
    "emo_rt.live.frame": ("LiveFrame",),
    "emo_rt.media.boxes": ("Box", "portrait_crop"),
    "emo_rt.media.face": ("find_face",),
    "emo_rt.media.face_detector": ("Face", "detect_faces"),
    "emo_rt.media.image": ("crop_portrait", "read_image"),
    "emo_rt.media.portrait": ("read_portrait",),
    "emo_rt.media.sound": ("AudioStream", "read_voice"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> typing.Any:
    """Loads a public name when it is first used (PEP 562)."""
    import importlib

    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("emo-rt")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
