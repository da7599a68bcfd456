"""The kinds of input that are damaged: how mutation N of each is made, and what it is given to.

Mutation N of a kind is the same bytes on every machine with the same libraries: its random numbers come from the
kind's name and N alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Protocol

import numpy as np
import seeds
from fake_bundle import write_fake_bundle
from mutations import damaged, damaged_json
from samples import tones, write_sound

from emo_rt.bundle import Bundle, file_sha256
from emo_rt.errors import EmoError
from emo_rt.jobs.batch import read_jobs
from emo_rt.jobs.job import Job
from emo_rt.jobs.request import GenerationOptions, Request
from emo_rt.jobs.session import Session
from emo_rt.media.boxes import Box
from emo_rt.media.image import read_image
from emo_rt.media.sound import AudioStream, read_voice

FACE = Box(20, 20, 50, 60)


class Kind(Protocol):
    """Inputs of one kind."""

    def mutation(self, number: int) -> list[tuple[str, bytes]]:
        """Names of files and their damaged contents; what is not named stays whole."""
        ...

    def use(self, number: int) -> None:
        """Gives a mutation to the public function that reads it.

        Raises:
            EmoError: for what cannot be used.
        """
        ...


class Files:
    """Inputs of a single file.

    Args:
        name: name of the kind
        folder: folder to write into
        made: function that makes the whole contents
        words: words that mean something in them
        read: public function that reads the file
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        made: Callable[[], list[bytes]],
        words: tuple[bytes, ...],
        read: Callable[[Path], object],
    ) -> None:
        self.name, self.path, self.words, self.read = name, folder / f"mutation-of-{name}", words, read
        self.seeds = made()

    def mutation(self, number: int) -> list[tuple[str, bytes]]:
        random = Random(f"{self.name} {number}")
        return [(self.path.name, damaged(random.choice(self.seeds), random, self.seeds, self.words))]

    def use(self, number: int) -> None:
        self.path.write_bytes(self.mutation(number)[0][1])
        self.read(self.path)


def _hear_pipe(path: Path) -> None:
    """Sends a file through a pipe to the reader of live voices."""
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, 1031, 1 << 20)  # F_SETPIPE_SZ: all of it fits
        os.write(writing, path.read_bytes())
        os.close(writing)
        for _ in AudioStream(f"/dev/fd/{reading}", 16000):
            pass
    finally:
        os.close(reading)


def _read_table(path: Path) -> None:
    for _, request in read_jobs(path, Request(Path("a.png"), Path("a.wav"), Path("a.mp4"))):
        str(request)


class Bundles:
    """Bundles of which one file is damaged; for half of them the manifest says that it is right so."""

    def __init__(self, folder: Path) -> None:
        self.whole = write_fake_bundle(folder / "whole")
        self.directory = folder / "bundle"
        sampling = {"steps": 2, "guidance_scale": 1.5, "guided_steps": 1, "cache_interval": 2}
        presets = {"presets": [{**sampling, "sync": 0.9}, {**sampling, "steps": 3, "sync": None}]}
        (self.whole / "presets.json").write_text(json.dumps(presets))
        shutil.copytree(self.whole, self.directory)
        self.files = {path.name: path.read_bytes() for path in sorted(self.whole.iterdir())}

    def mutation(self, number: int) -> list[tuple[str, bytes]]:
        random = Random(f"bundles {number}")
        name = random.choice(["manifest.json"] * 6 + ["presets.json"] * 3 + sorted(self.files))
        content, others = self.files[name], [self.files["manifest.json"], self.files["vae_decoder.onnx"]]
        if name.endswith(".json") and random.random() < 0.8:
            return [(name, damaged_json(content, random))]
        changed = damaged(content, random, others, (b"float32", b"inputs", b"\x08", b"\x12"))
        result = [(name, changed)]
        if name in ("manifest.json", "presets.json") or random.random() < 0.2:
            return result
        manifest = self.files["manifest.json"]
        (self.directory / name).write_bytes(changed)
        trusted = file_sha256(self.directory / name)
        return [*result, ("manifest.json", manifest.replace(file_sha256(self.whole / name).encode(), trusted.encode()))]

    def use(self, number: int) -> None:
        changes = self.mutation(number)
        try:
            for name, content in changes:
                (self.directory / name).write_bytes(content)
            bundle = Bundle.load(self.directory, validated=False)
            session = Session(bundle, GenerationOptions("onnxruntime", threads=1))
            session.cascade("onnxruntime").warm_up(session.presets[0].sampling)
        finally:
            for name, _ in changes:
                (self.directory / name).write_bytes(self.files[name])


class Jobs:
    """Folders of unfinished videos: a run that goes on from one makes the very video, or says what is wrong."""

    #: Number of clips that are finished, of 4.
    DONE = 3

    def __init__(self, folder: Path) -> None:
        portrait, voice = folder / "portrait.png", folder / "voice.wav"
        portrait.write_bytes(seeds.pictures()[0])
        write_sound(voice, tones(0.5), 16000)
        bundle = Bundle.load(write_fake_bundle(folder / "bundle"), validated=False)
        self.session = Session(bundle, GenerationOptions("onnxruntime", threads=1, steps=2))
        self.request = Request(portrait, voice, folder / "out.mp4", FACE)
        self.session.make(self.request, resume=True)
        self.video = self.request.out.read_bytes()
        self.request.out.unlink()
        self.folder = Path(f"{self.request.out}.job")
        with contextlib.suppress(KeyboardInterrupt):
            self._stop()
        self.files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def _stop(self) -> None:
        append = Job.append

        def stopped(job: Job, packets: list[bytes], motion_latents: np.ndarray) -> None:
            append(job, packets, motion_latents)
            if job.progress.clips == self.DONE:
                raise KeyboardInterrupt

        Job.append = stopped  # type: ignore[method-assign]
        try:
            self.session.make(self.request, resume=True)
        finally:
            Job.append = append  # type: ignore[method-assign]

    def mutation(self, number: int) -> list[tuple[str, bytes]]:
        random = Random(f"jobs {number}")
        name = random.choice(["clips.bin", "progress.npz", "job.json", "job.json", random.choice(sorted(self.files))])
        content = self.files[name]
        if name == "job.json" and random.random() < 0.7:
            return [(name, damaged_json(content, random))]
        return [(name, damaged(content, random, list(self.files.values()), (b"PK\3\4", b"\x93NUMPY", b"descr", b"|O")))]

    def use(self, number: int) -> None:
        self.folder.mkdir(exist_ok=True)
        for name, content in {**self.files, **dict(self.mutation(number))}.items():
            (self.folder / name).write_bytes(content)
        try:
            self.session.make(self.request, resume=True)
            assert self.request.out.read_bytes() == self.video, "another video"
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.request.out.unlink(missing_ok=True)


class Bits(Jobs):
    """The same folders with a single bit turned, anywhere in their files."""

    def mutation(self, number: int) -> list[tuple[str, bytes]]:
        bit = Random(f"bits {number}").randrange(8 * sum(map(len, self.files.values())))
        for name, content in self.files.items():
            if bit < 8 * len(content):
                data = bytearray(content)
                data[bit // 8] ^= 1 << bit % 8
                return [(name, bytes(data))]
            bit -= 8 * len(content)
        raise AssertionError


#: What makes each kind, in a folder of its own.
KINDS: dict[str, Callable[[Path], Kind]] = {
    "pictures": lambda folder: Files("pictures", folder, _pictures, seeds.PICTURE_WORDS, read_image),
    "sounds": lambda folder: Files("sounds", folder, _sounds, seeds.SOUND_WORDS, lambda path: read_voice(path, 16000)),
    "pipes": lambda folder: Files("pipes", folder, _sounds, seeds.SOUND_WORDS, _hear_pipe),
    "tables": lambda folder: Files("tables", folder, seeds.tables, seeds.TABLE_WORDS, _read_table),
    "bundles": Bundles,
    "jobs": Jobs,
    "bits": Bits,
}
_pictures, _sounds = cache(seeds.pictures), cache(seeds.sounds)


def problem(kind: Kind, number: int) -> str | None:
    """What a mutation does that none may; None if it is read, or refused by an `EmoError` of one line."""
    try:
        kind.use(number)
    except EmoError as error:
        return f"a message of several lines: {error}" if "\n" in str(error) else None
    except (Exception, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    return None
