"""A page of your own: a portrait and a voice make a video.

pip install "emo-rt[openvino]" gradio
python examples/gradio_app.py
"""

import tempfile
from pathlib import Path

import gradio

import emo_rt


def animate(image: str, audio: str) -> str:
    """The file of the video."""
    try:
        return str(emo_rt.animate(image, audio, Path(tempfile.mkdtemp()) / "video.mp4").out)
    except emo_rt.EmoError as error:
        raise gradio.Error(str(error)) from error


portrait = gradio.Image(type="filepath", label="Portrait", value=str(emo_rt.PORTRAIT))
voice = gradio.Audio(type="filepath", label="Voice", value=str(emo_rt.VOICE))
page = gradio.Interface(animate, [portrait, voice], gradio.Video(label="Video"), title="emo-rt", flagging_mode="never")
if __name__ == "__main__":
    page.launch()
