"""The clips of a directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_clips import small_clip

from training.clips.folder import clip_paths, load_clips


def test_clips_come_by_name_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        replace(small_clip(), text=name).save(tmp_path / f"{name}.npz")
    (tmp_path / "report.jsonl").write_text("{}")
    assert [path.name for path in clip_paths(tmp_path)] == ["a.npz", "b.npz"]
    assert {name: clip.text for name, clip in load_clips(tmp_path).items()} == {"a": "a", "b": "b"}


def test_a_directory_may_hold_both_forms(tmp_path: Path) -> None:
    for name in ("a.npz", "b.labels.npz", "c.npz", "c.labels.npz"):
        replace(small_clip(), text=name).save(tmp_path / name)
    assert [path.name for path in clip_paths(tmp_path)] == ["a.npz", "b.labels.npz", "c.npz"]
    assert {name: clip.text for name, clip in load_clips(tmp_path).items()} == {
        "a": "a.npz",
        "b": "b.labels.npz",
        "c": "c.npz",
    }


def test_a_directory_without_clips_is_named(tmp_path: Path) -> None:
    for read in (clip_paths, load_clips):
        with pytest.raises(FileNotFoundError, match=f"{tmp_path} has no clips: make some"):
            read(tmp_path)


def test_a_clip_without_a_label_is_named(tmp_path: Path) -> None:
    small_clip().save(tmp_path / "a.npz")
    replace(small_clip(), rotation=np.zeros(0)).save(tmp_path / "b.npz")
    with pytest.raises(ValueError, match=r"b.npz has no rotation: prepare the footage"):
        load_clips(tmp_path)
