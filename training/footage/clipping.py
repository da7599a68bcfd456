"""The clips of one video: cut, cropped, and labelled as far as anything is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emo_rt.errors import reason
from emo_rt.media.image import crop_portrait
from training.clips.clip import TrainingClip
from training.clips.held_out import is_held_out_person
from training.clips.rates import FRAMES_PER_SECOND, SAMPLE_RATE
from training.clips.rotation import head_speed
from training.evaluation.reader import FaceReader
from training.footage.annotations import Shot
from training.footage.face_models import FaceModels
from training.footage.report import VideoOutcome
from training.footage.settings import PreparationSettings
from training.footage.sightings import CropOutside, look, visible
from training.footage.timeline import UnreadableVideo, read_frames, read_sound
from training.footage.videos import FootageVideo
from training.footage.windows import Window, windows

_QUIETEST = 1e-5  # root mean square, of 1; below, the sound was muted
_SHORTEST_SOUND = 0.98  # share of a clip
_SMOOTHING = 5  # frames over which a rotation that was read from single pictures is averaged


def clips_of_video(video: FootageVideo, out: Path, settings: PreparationSettings, models: FaceModels) -> VideoOutcome:
    """Writes the clips of one video.

    Args:
        video: the video and the shots of it to use.
        out: folder that holds `train` and `held-out`.
        settings: what the clips depend on.
        models: what sees faces.

    Returns:
        the clips, and the reasons why the rest of the video is in none. A video that cannot be used has no clips.

    Raises:
        OSError: if a clip cannot be written.
    """
    held_out = is_held_out_person(video.identity, settings.held_out)
    outcome = VideoOutcome(video.name, video.identity, "held-out" if held_out else "train")
    try:
        sound = read_sound(video.path)
        if not video.shots:
            outcome.reject("not annotated")
        for shot in video.shots:
            for window, frames in _windows_of_shot(video.path, shot, settings, models, outcome):
                clip = _clip(window, frames, _voice(sound, shot.start, window.first, len(frames)), models.reader)
                name = f"{outcome.split}/{_clip_name(video.name, shot.start, window.first)}"
                clip.save(out / name)
                outcome.keep(name, clip)
    except UnreadableVideo as error:
        return _discarded(outcome, out, "unreadable", error)
    except OSError:
        raise  # of writing: reading gives UnreadableVideo
    except Exception as error:  # whatever else is wrong with one video, the others go on
        return _discarded(outcome, out, "failed", error)
    return outcome


def _discarded(outcome: VideoOutcome, out: Path, fault: str, error: Exception) -> VideoOutcome:
    for name in outcome.clips:
        (out / name).unlink(missing_ok=True)
    return VideoOutcome(outcome.video, outcome.identity, outcome.split, rejected={fault: 0.0}, error=reason(error))


def _clip_name(video: str, start: float, first: int) -> str:
    """A file name that is different for all clips of a folder, and the same each time."""
    digest = hashlib.sha256(video.encode()).hexdigest()[:8]
    return f"{Path(video).stem[:80]}-{digest}-{round(start * FRAMES_PER_SECOND) + first:06d}.npz"


def _windows_of_shot(
    path: Path, shot: Shot, settings: PreparationSettings, models: FaceModels, outcome: VideoOutcome
) -> Iterator[tuple[Window, np.ndarray]]:
    """The windows of a shot that become clips, with their frames uint8 (t, resolution, resolution, 3)."""
    try:
        sightings = list(look(path, shot, settings.detect_every, models.detector))
    except CropOutside:
        outcome.reject("crop outside the picture")
        return
    kept = list(windows(sightings, settings.clip_frames, settings.min_face, outcome.reject))
    yield from _cut_out(path, shot, kept, settings)


def _cut_out(
    path: Path, shot: Shot, kept: list[Window], settings: PreparationSettings
) -> Iterator[tuple[Window, np.ndarray]]:
    """Each window with its frames uint8 (t, resolution, resolution, 3); reads the video a second time."""
    if not kept:
        return
    length = settings.clip_frames
    remaining = iter(kept)
    window = next(remaining)
    frames: list[np.ndarray] = []
    end = shot.start + (kept[-1].first + length) / FRAMES_PER_SECOND
    for index, frame in enumerate(read_frames(path, shot.start, end)):
        if index < window.first:
            continue
        frames.append(crop_portrait(visible(frame.pixels, shot), window.crop, settings.resolution))
        if len(frames) == length:
            yield window, np.stack(frames)
            frames = []
            if (following := next(remaining, None)) is None:
                return
            window = following
    raise UnreadableVideo("it gives other frames each time that it is read")


def _voice(sound: np.ndarray | None, start: float, first: int, frames: int) -> np.ndarray:
    """The sound of a window, float32 (samples,); (0,) if there is none.

    Args:
        sound: (n,) sound of the whole video at 16 kHz; None if it has none.
        start: beginning of the shot in seconds.
        first: first frame of the window, counted from the beginning of the shot.
        frames: number of frames in the window.
    """
    samples = frames * SAMPLE_RATE // FRAMES_PER_SECOND
    begin = round((start + first / FRAMES_PER_SECOND) * SAMPLE_RATE)
    voice = (np.zeros(0, np.float32) if sound is None else sound)[begin : begin + samples].clip(-1, 1)
    if len(voice) < _SHORTEST_SOUND * samples or float(np.sqrt(np.square(voice).mean())) < _QUIETEST:
        return np.zeros(0, np.float32)
    return np.pad(voice, (0, samples - len(voice)))


def _clip(window: Window, frames: np.ndarray, voice: np.ndarray, reader: FaceReader | None) -> TrainingClip:
    unknown = np.zeros(0, np.float32)
    rotation, blink = window.rotation, unknown
    if not len(rotation) and reader:
        reading = reader.read(frames)
        rotation, blink = _smoothed(reading.rotation), reading.blink.clip(0, 1).astype(np.float32)
    scale = frames.shape[1] / window.crop.width
    corner = np.array([window.crop.x, window.crop.y, 0, 0])
    return TrainingClip(
        frames=frames,
        waveform=voice,
        mouth_opening=unknown,
        mouth_width=unknown,
        rotation=rotation.astype(np.float32),
        head_speed=head_speed(rotation) if len(rotation) else unknown,
        face_box=((window.face_box - corner) * scale).astype(np.float32),
        mouth_box=((window.mouth_box - corner) * scale).astype(np.float32),
        phoneme_class=unknown,
        blink=blink,
    )


def _smoothed(rotation: np.ndarray) -> np.ndarray:
    """Rotations (t, 3), each the mean of those around it: what is read from single pictures shakes."""
    padded = np.pad(rotation, ((_SMOOTHING // 2, _SMOOTHING // 2), (0, 0)), mode="edge")
    means: np.ndarray = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHING, axis=0).mean(-1)
    return means
