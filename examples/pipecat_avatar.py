"""A face in a Pipecat pipeline: takes the sound of a TTS service, gives pictures and the sound in time.

pip install "emo-rt[openvino]" pipecat-ai
python examples/pipecat_avatar.py --audio hello.wav

It stands between the TTS service and the transport, whose `TransportParams` say `video_out_enabled=True,
video_out_is_live=True, video_out_framerate=25` and the side of the picture as `video_out_width` and `video_out_height`:

    Pipeline([transport.input(), stt, user, llm, tts, EmoAvatar(face), transport.output(), assistant])
"""

import argparse
import asyncio

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.tests.utils import run_test

import emo_rt
from emo_rt.live.face import LiveFace
from emo_rt.serve.live.avatar import Avatar, AvatarFrame, load_face


class EmoAvatar(FrameProcessor):
    """A face that says what a TTS service gives; it idles while nothing comes.

    `TTSStoppedFrame` waits for the end of what was said, so the transport tells in time that the bot stopped speaking.

    Args:
        face: face that is not entered yet
    """

    def __init__(self, face: LiveFace) -> None:
        super().__init__()
        self._avatar = Avatar(face)
        self._stopped: dict[str, TTSStoppedFrame] = {}
        self._pictures: asyncio.Queue[AvatarFrame] = asyncio.Queue()
        self._tasks: list[asyncio.Task] = []

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Loads what is left to load."""
        await super().setup(setup)
        await self._avatar.__aenter__()

    async def cleanup(self) -> None:
        """Ends the face."""
        await super().cleanup()
        await self._stop()
        await self._avatar.__aexit__()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Says the sound of TTS, and lets all else pass."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._avatar.hear(frame.audio, frame.sample_rate, frame.num_channels)
            return
        if isinstance(frame, TTSStoppedFrame) and (name := self._avatar.end()):
            self._stopped[name] = frame
            return
        if isinstance(frame, InterruptionFrame):
            self._avatar.clear()
            self._stopped.clear()
        elif isinstance(frame, EndFrame):
            self._avatar.end()
            while self._avatar.busy and not any(task.done() for task in self._tasks):
                await asyncio.sleep(0.02)
        if isinstance(frame, EndFrame | CancelFrame):
            await self._stop()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._tasks = [self.create_task(self._speak()), self.create_task(self._show())]

    async def _speak(self) -> None:
        rate = self._avatar.face.sound_rate
        try:
            async for frame in self._avatar.frames():
                self._pictures.put_nowait(frame)
                if len(frame.sound):  # a little before its picture is shown, so that the transport never runs out of it
                    await self.push_frame(TTSAudioRawFrame(frame.sound.tobytes(), rate, 1))
                for name in frame.said:
                    if stopped := self._stopped.pop(name, None):
                        await self.push_frame(stopped)
        except emo_rt.EmoError as error:
            await self.push_error(str(error), error)

    async def _show(self) -> None:
        while frame := await self._pictures.get():
            await asyncio.sleep(max(frame.due - asyncio.get_running_loop().time(), 0))
            height, width, _ = frame.picture.shape
            await self.push_frame(OutputImageRawFrame(frame.picture.tobytes(), (width, height), "RGB"))

    async def _stop(self) -> None:
        for task in self._tasks:
            await self.cancel_task(task)
        self._tasks = []


async def say(audio: str, image: str, bundle: str) -> None:
    """Says a voice in a pipeline that has nothing else in it, and counts what comes out."""
    face = await asyncio.to_thread(load_face, image, bundle=bundle)
    voice = (emo_rt.read_voice(audio, 16000) * 32767).astype(np.int16)
    chunks = [TTSAudioRawFrame(chunk.tobytes(), 16000, 1) for chunk in np.split(voice, range(1600, len(voice), 1600))]
    frames = [TTSStartedFrame(), *chunks, TTSStoppedFrame()]
    down, _ = await run_test(EmoAvatar(face), frames_to_send=frames, start_timeout=60)
    pictures = sum(isinstance(frame, OutputImageRawFrame) for frame in down)
    seconds = sum(frame.num_frames / frame.sample_rate for frame in down if isinstance(frame, TTSAudioRawFrame))
    print(f"{pictures} pictures, {seconds:.2f} s of sound")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default=emo_rt.PORTRAIT, help="picture with a face (default: the bundled portrait)")
    parser.add_argument("--audio", default=emo_rt.VOICE, help="speech (default: the bundled voice)")
    parser.add_argument("--bundle", default=emo_rt.DEFAULT_BUNDLE, help="model bundle (default: emo-photo)")
    options = parser.parse_args()
    asyncio.run(say(options.audio, options.image, options.bundle))
