"""Which videos there are, and who speaks in them."""

from __future__ import annotations

from pathlib import Path

from training.footage.identities import identity_of
from training.footage.videos import find_videos


def test_videos_are_found_in_order_whatever_their_case(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/c.webm", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [video.name for video in find_videos(tmp_path)] == ["a/c.webm", "b.MP4"]


def test_names_tell_who_speaks(tmp_path: Path) -> None:
    names = {
        "anna.mp4": "anna",
        "anna_3.mp4": "anna",
        "WDA_BernieSanders_000.mp4": "BernieSanders",
        "AmyKlobuchar1_2.mp4": "AmyKlobuchar",
        "Radio34_9.mp4": "Radio",
        "LucilleRoybal-Allard.mp4": "LucilleRoybal-Allard",
        "Clip+_-91nXXjrVo+P0+C0+F1537-1825.mp4": "_-91nXXjrVo",
        "2024.mp4": "2024",
        "deep/er/1.mp4": "deep/er",
    }
    assert {name: identity_of(tmp_path / name, tmp_path) for name in names} == names
