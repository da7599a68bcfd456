"""What a video was made from, and how: in its comment, in its credentials, in the JSON beside it and in its job."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from emo_rt.atomic import atomic_write
from emo_rt.bundle import Bundle, file_sha256
from emo_rt.cascade.sampling import Sampling
from emo_rt.engines.registry import BACKENDS
from emo_rt.errors import InputError, printable
from emo_rt.jobs.request import GenerationOptions, Request
from emo_rt.media.credentials import Signature
from emo_rt.media.framing import ORIGINAL
from emo_rt.media.video import explained
from emo_rt.planning.planner import Plan
from emo_rt.planning.presets import Preset


@dataclass(frozen=True)
class Provenance:
    """What decides over every pixel of a video, beside the plan.

    A later run may go on with a video only if all of this is the same.

    Attributes:
        picture: sha256 of the picture's file
        voice: sha256 of the voice's file
        face_box: the face box that was asked for, x, y, width and height in pixels; None if it was detected
        face: the number of the face that was asked for, counted from the left, from 1; None for the largest
        bundle: digest of the bundle
        seed: seed of the noise
        speed: speed of the head that was asked for, degrees per frame; None for the bundle's own
        framing: what the video shows, one of `emo_rt.media.framing.FRAMINGS`
        audio_track: the track of sound that was asked for, from 1; None for the file's default
        max_seconds: the seconds of the voice after which the video ends; None for all of it
        generation_options: fields of `GenerationOptions`
        version: version of emo-rt
    """

    picture: str
    voice: str
    face_box: list[float] | None
    face: int | None
    bundle: str
    seed: int
    speed: float | None
    framing: str
    audio_track: int | None
    max_seconds: float | None
    generation_options: dict[str, Any]
    version: str

    @classmethod
    def of(cls, request: Request, bundle: Bundle, options: GenerationOptions) -> Provenance:
        """The provenance of a video that is about to be made; reads both inputs."""
        box = request.face_box
        return cls(
            picture=file_sha256(request.image),
            voice=file_sha256(request.audio),
            face_box=None if box is None else list(asdict(box).values()),
            face=request.face,
            bundle=bundle.digest,
            seed=int(request.seed),
            speed=None if request.speed is None else float(request.speed),
            framing=request.framing,
            audio_track=request.audio_track,
            max_seconds=None if request.max_seconds is None else float(request.max_seconds),
            generation_options=asdict(options),
            version=version("emo-rt"),
        )

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """What `other`, the JSON of another provenance, has otherwise, in words."""
        return [
            field.name.replace("_", " ") for field in fields(self) if getattr(self, field.name) != other.get(field.name)
        ]

    def facts(self, bundle: Bundle, plan: Plan, frames: int) -> dict[str, Any]:
        """What the finished video says of itself, as a JSON object.

        Args:
            bundle: bundle that it was made with
            plan: plan that it was made by
            frames: number of its frames
        """
        inputs = asdict(self)
        del inputs["generation_options"]  # the plan is what came of them
        return {
            "generator": "emo-rt",
            **inputs,
            "model": bundle.manifest.name,
            "frames": frames,
            "plan": plan_facts(plan),
        }


def plan_facts(plan: Plan) -> dict[str, Any]:
    """The backend of a plan and the fields of its sampling, as a JSON object."""
    return {"backend": plan.backend, **asdict(plan.sampling)}


def plan_of(facts: object) -> Plan | None:
    """The plan that `plan_facts` made the facts of; None if no plan has them."""
    if not isinstance(facts, dict) or list(facts) != ["backend", *(field.name for field in fields(Sampling))]:
        return None
    backend, *values = facts.values()
    if backend not in BACKENDS:
        return None
    kinds = zip(values, (int, float, int, int), strict=True)
    if not all(type(value) is kind or (kind is float and type(value) is int) for value, kind in kinds):
        return None
    try:
        return Plan(backend, Preset(Sampling(*values)))
    except InputError:
        return None


def metadata(request: Request, bundle: Bundle, plan: Plan) -> dict[str, str]:
    """The title and the comment of an MP4: that it was generated, and by what."""
    around = " Only the square around the face is generated." if request.framing == ORIGINAL else ""
    return {
        "title": printable(f"{request.image.stem} speaking"),
        "comment": printable(
            f"Generated by emo-rt {version('emo-rt')} from a picture and a voice; this was never filmed. "
            f"Model {bundle.manifest.name}, bundle {bundle.digest[:16]}, seed {request.seed}, "
            f"{plan.backend}, {plan.sampling}.{around}"
        ),
    }


def sign(signature: Signature, video: Path, title: str, facts: Mapping[str, Any]) -> None:
    """Adds content credentials to a video in its place.

    Raises:
        InputError: if the certificate cannot sign it, or the file cannot be written.
    """
    signed = video.with_name("signed.mp4")
    signature.sign(video, signed, printable(title), facts)
    signed.replace(video)


def check_beside(video: Path) -> None:
    """Raises InputError if `write_beside` can write nothing beside a video of this name."""
    beside = _beside(video)
    with explained(video):
        if os.path.isdir(beside):
            raise IsADirectoryError(errno.EISDIR, f"{beside} is a directory")
        with contextlib.suppress(FileNotFoundError):
            beside.with_name(f"{beside.name}.{os.getpid()}.part").lstat()  # raises OSError if it is too long


def write_beside(video: Path, facts: Mapping[str, Any]) -> None:
    """Writes the facts and the sha256 of a finished video into `<video>.json`.

    Raises:
        InputError: if that cannot be written.
    """
    content = json.dumps({**facts, "sha256": file_sha256(video)}, indent=1) + "\n"
    with explained(video), atomic_write(_beside(video)) as file:
        file.write(content.encode())


def _beside(video: Path) -> Path:
    return Path(os.path.realpath(video.with_name(f"{video.name}.json")))
