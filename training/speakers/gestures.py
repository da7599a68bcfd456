"""How the head, the eyelids and the eyes of somebody move who speaks."""

from __future__ import annotations

import numpy as np

from training.clips.rates import FRAMES_PER_SECOND

ROTATION_LIMITS = np.array([20.0, 12.0, 10.0])  # degrees: yaw, pitch, roll

_SWAY_SPEEDS = (0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # degrees per frame


def wander(rng: np.random.Generator, frames: int, frequency: float) -> np.ndarray:
    """A smooth random curve (frames,) of about unit size, with frequencies around `frequency` in Hz."""
    time = np.arange(frames) / FRAMES_PER_SECOND
    frequencies = frequency * rng.uniform(0.4, 1.6, 4)
    phases, sizes = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.3, 1, 4)
    return np.sin(2 * np.pi * frequencies * time[:, None] + phases) @ (sizes / np.sqrt((sizes**2).sum()))


def head_motion(rng: np.random.Generator, waveform: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """How the head of a speaker moves.

    A third of the heads hardly move. Of the others, three fifths nod with the stress of the voice and turn away in its
    pauses (people's heads follow their prosody: Munhall et al., 2004); two fifths sway, shake or nod independently of
    the voice. Some are livelier than others.

    Args:
        rng: chooses the kind of motion and its details.
        waveform: (frames * 640,) what the speaker says, at 16 kHz.
        frames: number of frames.

    Returns:
        rotation (frames, 3) in degrees, and translation (frames, 2) in fractions of the frame.
    """
    liveliness = 0.07 * rng.random() if rng.random() < 0.38 else rng.uniform(0.1, 1)
    frequency = 0.12 + 0.75 * liveliness * rng.uniform(0.6, 1)
    size = (0.02 + 0.85 * liveliness) * rng.uniform(0.5, 1, 3)
    resting = rng.normal(0, 0.16, 3)
    driven = np.zeros((frames, 3))
    if liveliness > 0.1 and rng.random() < 0.4:
        driven = shakes(rng, frames) if rng.random() < 0.3 else sways(rng, frames)
        size, resting = 0.08 * size, 0.2 * resting
    elif liveliness > 0.1:
        driven = liveliness * prosody(waveform, frames, np.sign(resting))
        size = 0.25 * size
    curves = np.stack([wander(rng, frames, frequency) for _ in range(3)], 1)
    rotation = ROTATION_LIMITS * (np.tanh(resting + size * curves) + driven)
    sway = np.stack([wander(rng, frames, 0.6 * frequency) for _ in range(2)], 1)
    return rotation.clip(-ROTATION_LIMITS, ROTATION_LIMITS), 0.016 * (0.05 + liveliness) * sway


def prosody(waveform: np.ndarray, frames: int, side: np.ndarray) -> np.ndarray:
    """How the liveliest head follows a voice: (frames, 3) yaw, pitch, roll in fractions of `ROTATION_LIMITS`.

    The head nods on stress. In pauses it turns and tilts to the side at which it rests, so that a portrait shows which.

    Args:
        waveform: (frames * 640,) what the speaker says, at 16 kHz.
        frames: number of frames.
        side: (3,) -1 or 1 for yaw, pitch and roll.
    """
    soft = smoothed(smoothed(_loudness(waveform, frames), 7), 7)
    pause, stressed = 0.5 - smoothed(smoothed(soft, 9), 7), stress(waveform, frames)
    return np.stack([side[0] * 1.2 * pause, -3.6 * stressed, side[2] * (0.7 * pause + 0.7 * stressed)], 1)


def stress(waveform: np.ndarray, frames: int) -> np.ndarray:
    """How much louder a third of a second is than the second around it: (frames,), up to about 0.3.

    Args:
        waveform: (frames * 640,) a voice at 16 kHz.
        frames: number of frames.
    """
    soft = smoothed(smoothed(_loudness(waveform, frames), 7), 7)
    return soft - smoothed(soft, 25)


def pauses(waveform: np.ndarray, frames: int) -> np.ndarray:
    """The frames, in order, in which a voice (frames * 640,) at 16 kHz falls silent."""
    quiet = smoothed(_loudness(waveform, frames), 5) < 0.1
    return 1 + np.flatnonzero(quiet[1:] & ~quiet[:-1])


def _loudness(waveform: np.ndarray, frames: int) -> np.ndarray:
    """The loudness of each frame (frames,) as a share of the voice's loudest."""
    power = np.square(waveform.reshape(frames, -1)).mean(1)
    loudness: np.ndarray = np.sqrt(power / max(float(np.percentile(power, 95)), 1e-8)).clip(0, 1.2)
    return loudness


def shakes(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Shaking or nodding, 0.7 to 1.6 times a second and mostly about one axis.

    Returns:
        yaw, pitch, roll (frames, 3) in fractions of `ROTATION_LIMITS`.
    """
    sizes = rng.uniform(0.1, 0.45, 3)
    sizes[int(rng.random() < 0.25)] = rng.uniform(0.6, 0.85)
    frequency, drift = rng.uniform(0.7, 1.6), rng.uniform(-0.08, 0.08)  # Hz, Hz per second
    time = np.arange(frames) / FRAMES_PER_SECOND
    cycles = frequency * time + drift * time**2 / 2
    return sizes * np.sin(2 * np.pi * (cycles[:, None] + rng.random(3)))


def sways(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Swaying or nodding at speeds that change every 0.8 to 2.4 s.

    What comes next follows from what is seen, so that it can be learned: the head keeps its direction, and turns back
    at an angle that only its speed decides. After a rest it starts towards the middle.

    Returns:
        yaw, pitch, roll (frames, 3) in fractions of `ROTATION_LIMITS`.
    """
    main = int(rng.random() < 0.25)
    axis = rng.uniform(-0.25, 0.25, 3)  # degrees of yaw, pitch and roll for each degree
    axis[main] = 1.0
    limit = ROTATION_LIMITS[main]
    angle, step, heading = limit * rng.uniform(-0.6, 0.6), 0.0, rng.choice([-1.0, 1.0])
    angles = np.zeros(frames)
    following, speed = 0, 0.0  # frame of the next change; degrees per frame
    for frame in range(frames):
        if frame == following:
            following += int(rng.uniform(0.8, 2.4) * FRAMES_PER_SECOND)
            if speed == 0:  # after a rest
                heading = -1.0 if angle > 0 else 1.0
            speed = float(rng.choice(_SWAY_SPEEDS)) * rng.uniform(0.9, 1.1)
        if heading * angle > limit * (0.55 + 0.03 * speed):
            heading = -heading
        step += 0.35 * (heading * speed - step)
        angle += step
        angles[frame] = angle
    return axis * angles[:, None] / ROTATION_LIMITS


def blink_curve(rng: np.random.Generator, waveform: np.ndarray, frames: int) -> np.ndarray:
    """How far the eyes are shut in each frame (frames,), from 0, open, to 1, shut: blinks of 4 or 5 frames.

    People blink where their sentences pause (Nakano and Kitazawa, 2010). So do these as soon as the voice is quiet;
    without a pause they blink every 4 to 7 s. A model can learn the former, but not the latter.

    Args:
        rng: chooses the shape of a blink and the times between blinks.
        waveform: (frames * 640,) what the speaker says, at 16 kHz.
        frames: number of frames.
    """
    shape = ([0.6, 1.0, 0.8, 0.3], [0.5, 1.0, 1.0, 0.6, 0.2])[rng.integers(2)]
    starts: list[float] = []
    latest = -rng.uniform(0, 3) * FRAMES_PER_SECOND
    for start in [*pauses(waveform, frames), frames]:
        while start - latest > 7 * FRAMES_PER_SECOND:
            starts.append(latest := latest + rng.uniform(4, 6) * FRAMES_PER_SECOND)
        if start - latest > FRAMES_PER_SECOND:
            starts.append(latest := start)
    blink = np.zeros(frames + len(shape))
    for start in starts:
        blink[int(start) : int(start) + len(shape)] = shape
    return blink[:frames]


def gaze(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Where the eyes look, (frames, 2) right and down in [-1, 1]: mostly at the viewer, with quick shifts."""
    curve = np.zeros((frames, 2))
    start = 0
    while start < frames:
        end = start + int(rng.uniform(0.5, 2.5) * FRAMES_PER_SECOND)
        away = 0.55 if rng.random() < 0.35 else 0.12
        curve[start:end] = rng.normal(0, away, 2).clip(-1, 1)
        start = end
    return np.stack([smoothed(curve[:, axis], 3) for axis in range(2)], 1)


def smoothed(curve: np.ndarray, window: int) -> np.ndarray:
    """The mean of a curve (n,) over an odd number of values around each, (n,)."""
    padded = np.pad(curve, window // 2, mode="edge")
    return np.convolve(padded, np.ones(window) / window, mode="valid")
