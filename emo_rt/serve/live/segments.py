"""A fragmented MP4 that is written frame by frame, with as little delay as the format allows."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

from emo_rt.media.video import repeatable

#: Options of the encoder: a frame comes out as soon as it went in, and every two seconds one begins anew.
H264_LIVE = {"preset": "veryfast", "tune": "zerolatency", "crf": "20", "bf": "0", "g": "50", "threads": "1"}
#: Options of the muxer: the head of the file at once, and then a fragment for each packet.
EACH_PACKET = {
    "movflags": "+empty_moov+default_base_moof",
    "frag_duration": "1",
    "flush_packets": "1",
    "max_interleave_delta": "1",
}
#: What `MediaSource.isTypeSupported` is asked with: H.264 high profile level 1.3 to 4, and AAC-LC.
MIME = 'video/mp4; codecs="avc1.64001f,mp4a.40.2"'


class Segments:
    """Encodes pictures and sound into the bytes of an MP4.

    Args:
        side: width and height of the pictures, pixels
        frames_per_second: frame rate
        sound_rate: sample rate of the sound, Hz, one that AAC has
    """

    def __init__(self, side: int, frames_per_second: int, sound_rate: int) -> None:
        self._written = bytearray()
        self._container = av.open(self, "w", format="mp4", options=EACH_PACKET)
        options = {**H264_LIVE, **repeatable(side)}
        self._video = self._container.add_stream("libx264", rate=frames_per_second, options=options)
        context = self._video.codec_context
        context.width = context.height = side
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, frames_per_second)
        context.colorspace, context.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        self._audio = self._container.add_stream("aac", rate=sound_rate, layout="mono")
        self._container.start_encoding()
        self._frames = self._samples = 0

    def write(self, data: bytes) -> int:
        """Takes what the muxer writes."""
        self._written += data
        return len(data)

    def add(self, picture: np.ndarray, sound: np.ndarray) -> bytes:
        """Appends a frame.

        Args:
            picture: RGB uint8 (side, side, 3)
            sound: mono, float32 (samples,)

        Returns:
            what the file grew by
        """
        heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
        heard.sample_rate, heard.pts = self._audio.codec_context.sample_rate, self._samples
        heard.time_base = Fraction(1, heard.sample_rate)
        self._samples += len(sound)
        self._container.mux(self._audio.encode(heard))
        seen = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        seen = seen.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        seen.pts, seen.time_base = self._frames, self._video.codec_context.time_base
        self._frames += 1
        packets = self._video.encode(seen)
        for packet in packets:
            packet.duration = 1
        self._container.mux(packets)
        return self._taken()

    def end(self) -> bytes:
        """Ends the file; returns what it grew by."""
        self._container.mux(self._video.encode(None))
        self._container.mux(self._audio.encode(None))
        self._container.close()
        return self._taken()

    def _taken(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken
