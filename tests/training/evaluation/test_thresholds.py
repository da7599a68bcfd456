"""Every threshold can be reached and can be missed."""

from __future__ import annotations

from dataclasses import replace

from training.evaluation.evaluation import Evaluation
from training.evaluation.experiments import Endurance, RegionResponse, SpeedResponse
from training.evaluation.sync_report import (
    ClosedLips,
    GroupSync,
    OpeningSync,
    Recognition,
    SyncReport,
    WidthSync,
)
from training.evaluation.thresholds import evaluation_summary, threshold_table, thresholds
from training.evaluation.video_measures import AgainstRenders, HeadSpeed, PictureQuality, ReaderCheck


def report(
    sync: float, control: float, *, lips: float, identity: float, inside: float, borders: float, blinks: float
) -> SyncReport:
    """A report of what thresholds look at; all else is 0."""
    return SyncReport(
        videos=1,
        frames=25,
        opening=OpeningSync(0, None, 0, 0, {}, 1, sync, 0, control, 0, 1, 0, 0),
        width=WidthSync(0, 0),
        lips=ClosedLips(generated=lips, renders=1.0, control=0.5),
        identity=Recognition(100, AgainstRenders(identity, 1.0), 0.01),
        face_in_region=AgainstRenders(inside, 1.0),
        blinks_per_minute=AgainstRenders(blinks, 20.0),
        border_ratio=AgainstRenders(borders, 1.0),
        reader=ReaderCheck(0, 0, 0),
        head_speed_rank_correlation=0,
        picture=PictureQuality(0, 0, 0),
        head_speed=HeadSpeed(0, 0, 0),
        by_language={"known": GroupSync(1, 0.5, None)},
        by_style={"speech": GroupSync(1, 0.5, 0.25)},
        by_sound={},
        per_video=(),
    )


GOOD = Evaluation(
    steps=8,
    guidance_scale=3.0,
    speed=0.5,
    sync=report(0.85, 0.15, lips=0.9, identity=0.95, inside=0.99, borders=1.2, blinks=5),
    voice_family=report(0.7, 0.15, lips=0, identity=0, inside=0, borders=0, blinks=0),
    speeds=SpeedResponse(4, (0.0, 4.0), (0.0, 4.0), rank_correlation=0.9, sync=(0.8, 0.85), sync_range=0.05),
    regions=RegionResponse(4, (0.8, 1.4), small=0.01, large=0.02),
    long=Endurance(3, 60, 2, sync_first=0.85, identity_first=1.0, sync_last=0.9, identity_last=0.98),
)

BAD = Evaluation(
    steps=8,
    guidance_scale=3.0,
    speed=0.5,
    # Its control fails.
    sync=report(0.9, 0.16, lips=0.89, identity=0.94, inside=0.98, borders=1.21, blinks=41),
    voice_family=report(0.69, 0.1, lips=0, identity=0, inside=0, borders=0, blinks=0),
    speeds=SpeedResponse(4, (0.0, 4.0), (0.0, 4.0), rank_correlation=0.89, sync=(0.8, 0.86), sync_range=0.06),
    regions=RegionResponse(4, (0.8, 1.4), small=0.02, large=0.02),
    long=Endurance(3, 60, 2.1, sync_first=0.9, identity_first=1, sync_last=0.86, identity_last=0.96),
)


def test_every_threshold_has_a_value_that_reaches_it_and_one_that_does_not() -> None:
    assert [row.passed for row in thresholds(GOOD)] == [True] * 13
    assert [row.passed for row in thresholds(BAD)] == [False] * 13
    assert "FAIL" in threshold_table(thresholds(BAD))
    assert "FAIL" not in threshold_table(thresholds(GOOD))


def test_an_experiment_that_was_left_out_is_not_measured() -> None:
    left_out = replace(GOOD, voice_family=None, speeds=None, regions=None, long=None)
    assert sum(row.passed is None for row in thresholds(left_out)) == 7
    assert threshold_table(thresholds(left_out)).count("not measured") == 7


def test_too_few_videos_are_no_verdict() -> None:
    assert "a trial, no verdict" in evaluation_summary(GOOD)
    enough = replace(GOOD, sync=replace(GOOD.sync, videos=50, frames=125))
    summary = evaluation_summary(enough)
    assert "no verdict" not in summary
    assert summary.startswith("50 videos of 5 s, 8 steps\n")
    assert summary.endswith(
        "language known: 1 videos, r = 0.50, lips closed -\nstyle speech: 1 videos, r = 0.50, lips closed 25%"
    )
