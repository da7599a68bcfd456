"""Pictures and sounds for the tests, written in many formats, and videos read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def drawn_face(side: int = 256) -> Image.Image:
    """A face that the detector finds, in the middle of a picture of side x side pixels."""
    image = Image.new("RGB", (256, 256), (90, 110, 140))
    draw = ImageDraw.Draw(image)
    draw.ellipse((62, 30, 194, 180), fill=(60, 40, 30))
    draw.ellipse((70, 48, 186, 220), fill=(224, 180, 150))
    for x in (103, 153):
        draw.ellipse((x - 20, 98, x + 20, 112), fill=(150, 105, 85))
        draw.ellipse((x - 16, 104, x + 16, 122), fill=(245, 245, 245))
        draw.ellipse((x - 8, 105, x + 8, 121), fill=(40, 25, 20))
        draw.rectangle((x - 20, 88, x + 20, 95), fill=(60, 40, 30))
    draw.polygon([(128, 110), (114, 152), (142, 152)], fill=(235, 195, 168))
    draw.ellipse((114, 146, 142, 158), fill=(180, 130, 105))
    draw.ellipse((100, 172, 156, 192), fill=(160, 70, 70))
    return image.filter(ImageFilter.GaussianBlur(2)).resize((side, side))


def tones(seconds: float, rate: int = 16000, channels: int = 1) -> np.ndarray:
    """Something like a voice: float32 (channels, samples), different in every channel."""
    time = np.arange(round(seconds * rate)) / rate
    swell = np.sin(2 * np.pi * 2.5 * time) ** 2
    return np.stack(
        [0.3 * swell * np.sin(2 * np.pi * (180 + 40 * k + 30 * time) * time) for k in range(channels)]
    ).astype(np.float32)


def write_sound(path: Path, sound: np.ndarray, rate: int, codec: str = "pcm_s16le", layout: str = "mono") -> Path:
    """Writes float32 (channels, samples) with any codec that PyAV has."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        target = stream.codec_context.format or av.AudioFormat("fltp")
        resampler = av.AudioResampler(format=target, layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        for part in [*resampler.resample(frame), None]:
            container.mux(stream.encode(part))
    return path


def read_video(path: Path) -> dict[str, Any]:
    """Decoded frames (k, height, width, 3), sound (channels, samples), and both lengths in seconds."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        facts: dict[str, Any] = {
            "video_seconds": float(video.duration * video.time_base),
            "audio_seconds": float(audio.duration * audio.time_base),
            "codecs": (video.codec_context.name, video.codec_context.pix_fmt, audio.codec_context.name),
            "rate": audio.codec_context.sample_rate,
        }
        pictures, sounds = [], []
        for frame in container.decode(video, audio):
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.to_ndarray(format="rgb24"))
            else:
                sounds.append(frame.to_ndarray())
        return {**facts, "frames": np.stack(pictures), "sound": np.concatenate(sounds, axis=1)}
