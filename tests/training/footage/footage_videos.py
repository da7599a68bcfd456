"""Videos of generated speakers as footage, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from emo_rt.media.boxes import Box
from training import prepare
from training.clips.clip import TrainingClip
from training.footage.face_detector import DetectedFace

SECONDS = 1.0
LENGTH = 25
OPTIONS = ["--resolution", "32", "--seconds", str(SECONDS), "--detect-every", "6", "--held-out", "40"]


def write_video(
    path: Path,
    frames: np.ndarray,
    times: Sequence[float] | None = None,
    waveform: np.ndarray | None = None,
    sound_start: float = 0.0,
) -> Path:
    """RGB uint8 (t, h, w, 3) at `times` in seconds (default: 25 Hz) and 16 kHz sound, nearly without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(len(frames)) / 25 if times is None else times
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "1", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        audio = None
        if waveform is not None:
            codec = "pcm_s16le" if path.suffix == ".mkv" else "aac"
            audio = container.add_stream(codec, 16000, layout="mono")
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and waveform is not None:
            for begin in range(0, len(waveform), 1024):
                part = np.ascontiguousarray(waveform[None, begin : begin + 1024])
                kind = {"pcm_s16le": "s16", "aac": "fltp"}[codec]
                part = (part * 32767).astype(np.int16) if kind == "s16" else part.astype(np.float32)
                sound = av.AudioFrame.from_ndarray(part, format=kind, layout="mono")
                sound.sample_rate = 16000
                sound.pts, sound.time_base = begin + round(sound_start * 16000), Fraction(1, 16000)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def report_of(out: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    return {line["video"]: line for line in lines if "video" in line}


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def the_clip(out: Path, video: str) -> TrainingClip:
    (name,) = report_of(out)[video]["clips"]  # type: ignore[misc]
    return TrainingClip.load(out / name)


def one_video(folder: Path, out: Path, *options: str) -> tuple[dict[str, object], list[TrainingClip]]:
    """Prepares a folder with a single video."""
    assert prepare.main([str(folder), str(out), *OPTIONS, *options]) == 0
    (line,) = report_of(out).values()
    return line, [TrainingClip.load(out / name) for name in line["clips"]]  # type: ignore[attr-defined]


def same_pictures(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each frame, the index of the truth's that it is most like."""
    small = torch.nn.functional.interpolate(
        torch.from_numpy(truth).movedim(-1, 1).float(), frames.shape[1:3], mode="area"
    ).movedim(1, -1)
    return ((torch.from_numpy(frames)[:, None].float() - small[None]) ** 2).flatten(2).mean(2).argmin(1).numpy()


class TheSameFace:
    """Where a generated speaker's face is; quick."""

    def detect(self, image: np.ndarray) -> list[DetectedFace]:
        height, width = image.shape[:2]
        return [DetectedFace(Box(0.25 * width, 0.3 * height, 0.5 * width, 0.5 * height))]
