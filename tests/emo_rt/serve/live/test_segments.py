from __future__ import annotations

import io

import av
import numpy as np

from emo_rt.serve.live.segments import MIME, Segments


def test_pieces_make_an_mp4_that_plays_while_it_grows() -> None:
    segments, pieces = Segments(64, 25, 16000), []
    for number in range(50):
        picture = np.full((64, 64, 3), 5 * number, np.uint8)
        pieces.append(segments.add(picture, np.zeros(640, np.float32)))
    assert all(pieces[3:])  # each frame gives something at once
    with av.open(io.BytesIO(b"".join(pieces))) as growing:
        assert sum(1 for _ in growing.decode(video=0)) >= 48
    pieces.append(segments.end())
    with av.open(io.BytesIO(b"".join(pieces))) as whole:
        frames = list(whole.decode(video=0))
        assert [round(frame.time * 25) for frame in frames] == list(range(50))
        assert abs(frames[20].to_ndarray(format="rgb24").mean() - 100) < 3
    with av.open(io.BytesIO(b"".join(pieces))) as whole:
        samples = sum(frame.samples for frame in whole.decode(audio=0))
        assert abs(samples - 50 * 640) <= 2048


def test_the_type_names_the_profile_that_is_written() -> None:
    segments = Segments(64, 25, 16000)
    data = b"".join(segments.add(np.zeros((64, 64, 3), np.uint8), np.zeros(640, np.float32)) for _ in range(3))
    profile = data[data.index(b"avcC") + 5]
    assert f"avc1.{profile:02x}" in MIME
