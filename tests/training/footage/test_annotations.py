"""The annotations of HDTF and VFHQ are read as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from footage_videos import LENGTH, OPTIONS, report_of, same_pictures, the_clip, write_video

from emo_rt.media.boxes import Box
from training import prepare
from training.clips.clip import TrainingClip
from training.evaluation.metrics import correlation
from training.footage.annotations import Shot, read_annotations


def test_hdtfs_files_are_read_as_published(tmp_path: Path) -> None:
    (tmp_path / "RD_annotion_time.txt").write_text("Radio1.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 01:30-02:30 \n")
    (tmp_path / "RD_crop_wh.txt").write_text("Radio11_0.mp4 412 599 0 590\nRadio11_1.mp4 557 478 3 478\n")
    (tmp_path / "RD_resolution.txt").write_text("Radio11.mp4 720\n")
    (tmp_path / "RD_video_url.txt").write_text("Radio1 https://example.org\n")
    (tmp_path / "WRA_annotion_time.txt").write_text("JeffFlake.mp4 01:00:05-01:00:10\n")
    assert read_annotations(tmp_path) == {
        "Radio1": (Shot(20, 95),),
        "Radio11": (Shot(30, 60, Box(412, 0, 599, 590), 720), Shot(90, 150, Box(557, 3, 478, 478), 720)),
        "JeffFlake": (Shot(3605, 3610),),
    }
    (tmp_path / "WRA_annotion_time.txt").write_text("JeffFlake.mp4 soon\n")
    with pytest.raises(ValueError, match=r"WRA_annotion_time.txt: JeffFlake.mp4 is not as HDTF"):
        read_annotations(tmp_path)


def test_vfhqs_files_are_read_as_published(tmp_path: Path) -> None:
    text = "FPS 25.0\nH 720\nW 1280\nCROP 100 50 500 470\n"
    (tmp_path / "Clip+a+b_-9+P0+C1+F99-201.txt").write_text(text)
    (tmp_path / "Clip+a+b_-9+P0+C0+F9-31.txt").write_text(text.replace(" ", ": ", 1))
    crop = Box(100, 50, 400, 420)
    assert read_annotations(tmp_path) == {"a+b_-9": (Shot(0.4, 1.2, crop, 720), Shot(4.0, 8.0, crop, 720))}
    (tmp_path / "Clip+c+P0+C0+F9-31.txt").write_text("FPS 25.0\n")
    with pytest.raises(ValueError, match=r"C0\+F9-31.txt is not as VFHQ"):
        read_annotations(tmp_path)


def test_annotations_give_the_shots_and_the_crops(tmp_path: Path, speakers: dict[str, TrainingClip]) -> None:
    anna, ben = speakers["anna"], speakers["ben"]
    beside = np.concatenate([anna.frames, ben.frames], 2)  # rejected without a crop
    write_video(tmp_path / "in" / "WDA_Ben1.mp4", np.tile(beside, (4, 1, 1, 1)), waveform=np.tile(ben.waveform, 4))
    write_video(tmp_path / "in" / "Carl.mp4", anna.frames)
    (tmp_path / "WDA_annotion_time.txt").write_text("Ben1.mp4 00:02-00:03 00:01-00:02\n")
    (tmp_path / "WDA_crop_wh.txt").write_text("Ben1_0.mp4 192 192 0 192\nBen1_1.mp4 1000 192 0 192\n")
    (tmp_path / "WDA_resolution.txt").write_text("Ben1.mp4 192\n")  # twice the size of the file
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), *OPTIONS, "--annotations", str(tmp_path)]
    assert prepare.main(arguments) == 0
    report = report_of(tmp_path / "out")
    assert report["Carl.mp4"]["rejected"] == {"not annotated": 0.0}
    outcome = report["WDA_Ben1.mp4"]
    assert outcome["identity"] == "Ben"
    assert set(outcome["rejected"]) == {"crop outside the picture"}  # type: ignore[call-overload]
    clip = the_clip(tmp_path / "out", "WDA_Ben1.mp4")
    shown = (50 + np.arange(LENGTH)) % 30
    np.testing.assert_array_equal(same_pictures(clip.frames, ben.frames), shown)
    heard = np.tile(ben.waveform, 4)[32000:48000]
    assert correlation(clip.waveform, heard) > 0.95
