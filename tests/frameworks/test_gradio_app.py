"""The example for Gradio: its page is built, and its function makes the video of the bundled portrait and voice."""

from __future__ import annotations

import functools
from pathlib import Path

import av
import gradio
import pytest
from loading import example

import emo_rt
from emo_rt.media.sound import AudioStream


@pytest.fixture(scope="module")
def page() -> gradio.Interface:
    return example("gradio_app").page


def test_the_page_has_a_portrait_and_a_voice_and_shows_a_video(page: gradio.Interface) -> None:
    assert [type(each) for each in page.input_components] == [gradio.Image, gradio.Audio]
    assert [type(each) for each in page.output_components] == [gradio.Video]
    assert page.get_config_file()["components"]


def test_its_function_makes_the_video(page: gradio.Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    once = functools.partial(emo_rt.animate, backend="onnxruntime", steps=1)  # without measuring the machine
    monkeypatch.setattr(emo_rt, "animate", once)
    out = Path(page.fn(str(emo_rt.PORTRAIT), str(emo_rt.VOICE)))
    seconds = sum(len(chunk.voice) for chunk in AudioStream(emo_rt.VOICE, 16000)) / 16000
    with av.open(str(out)) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert frames == pytest.approx(seconds * 25, abs=1)


def test_what_is_wrong_is_said_on_the_page(page: gradio.Interface, tmp_path: Path) -> None:
    with pytest.raises(gradio.Error, match="no such file"):
        page.fn(str(emo_rt.PORTRAIT), str(tmp_path / "missing.wav"))
