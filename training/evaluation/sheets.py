"""Pictures that show at a glance what an evaluation generates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.evaluation.evaluated_video import EvaluatedVideo
from training.evaluation.metrics import correlation


def write_strip(videos: Sequence[EvaluatedVideo], path: Path, rows: int = 6) -> None:
    """Draws the mouth opening over time, generated (orange) over true (grey).

    Args:
        videos: generated videos.
        path: PNG file.
        rows: number of videos, at most, that are drawn.
    """
    width, height, margin = 900, 110, 22  # pixels
    chosen = videos[:rows]
    image = Image.new("RGB", (width, height * len(chosen)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for row, video in enumerate(chosen):
        top, bottom = row * height + margin, (row + 1) * height - 8
        true, read = video.clip.mouth_opening, video.reading.mouth_opening
        across = np.linspace(10, width - 10, len(true))

        def line(curve: np.ndarray, across: np.ndarray = across, top: int = top, bottom: int = bottom) -> list[Any]:
            return list(zip(across, bottom - curve.clip(-0.1, 1.1) * (bottom - top), strict=True))

        draw.line([(10, bottom), (width - 10, bottom)], fill="#dddddd")
        draw.line(line(true), fill="#888888", width=3)
        draw.line(line(read), fill="#e06000", width=2)
        text = f"{video.name}   mouth opening: true grey, generated orange   r = {correlation(read, true):.2f}"
        draw.text((10, row * height + 3), text, fill="black", font=font)
    image.save(path)


def write_contact_sheet(videos: Sequence[EvaluatedVideo], path: Path, columns: int = 10, rows: int = 8) -> None:
    """Writes the portrait and frames evenly spaced in time: for each video the true ones above the generated ones.

    Args:
        videos: generated videos.
        path: PNG file.
        columns: number of frames of each video.
        rows: number of videos, at most, that are shown.
    """
    sheet = []
    for video in videos[:rows]:
        times = np.linspace(0, len(video.frames) - 1, columns).round().astype(int)
        gap = np.full((video.portrait.shape[0], 4, 3), 255, np.uint8)
        for frames in (video.clip.frames, video.frames):
            sheet.append(np.concatenate([video.portrait, gap, *frames[times]], 1))
        sheet.append(np.full((4, sheet[-1].shape[1], 3), 255, np.uint8))
    Image.fromarray(np.concatenate(sheet[:-1])).save(path)
