"""A frame of a live face: the picture, the sound of its moment, and what the next clip needs to go on from it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from emo_rt.live.voice_queue import VoiceFrame


@dataclass(frozen=True)
class Place:
    """A place in a stretch of frames that is walked to and fro: at its ends, one turns round.

    Attributes:
        frame: number of the frame, from 0
        heading: 1 or -1, the way to the next one
    """

    frame: int
    heading: int = 1

    def next(self, length: int) -> Place:
        """The place after this one in a stretch of so many frames."""
        if length == 1:
            return Place(0)
        heading = self.heading if 0 <= self.frame + self.heading < length else -self.heading
        return Place(min(self.frame + heading, length - 1), heading)


#: Where a face is before its first frame.
BEFORE_ALL = Place(-1)


@dataclass(frozen=True)
class LivePose:
    """A generated picture, and what the next clip needs to go on from it.

    Attributes:
        picture: RGB uint8 (R, R, 3)
        latents: latents of the picture, float32 (c, s, s)
        place: where in the stretch of gestures that a live face walks to and fro it is
    """

    picture: np.ndarray
    latents: np.ndarray
    place: Place

    def blended(self, other: LivePose, share: float) -> LivePose:
        """A pose between this one and another, of which it has `share`, 0 to 1, at the other's place."""
        picture = cv2.addWeighted(self.picture, 1 - share, other.picture, share, 0)
        return LivePose(picture, (1 - share) * self.latents + share * other.latents, other.place)


@dataclass(frozen=True)
class LiveFrame:
    """A frame to show, and the sound to play with it.

    Attributes:
        pose: the picture, RGB uint8 (R, R, 3), and its latents
        voice: the sound of the frame
        speaking: whether the picture was generated for a voice; otherwise the face idles
        late: whether it repeats the frame before it because the next clip is not finished; where the next voice has
            not come, it repeats it, too
        played: names of the marks that are played with this frame, or were dropped by `LiveFace.clear`
        answered: seconds since the voice began that this is the first frame of; None for other frames
    """

    pose: LivePose
    voice: VoiceFrame
    speaking: bool = False
    late: bool = False
    played: tuple[str, ...] = ()
    answered: float | None = None

    @property
    def picture(self) -> np.ndarray:
        """RGB uint8 (R, R, 3)."""
        return self.pose.picture

    @property
    def sound(self) -> np.ndarray:
        """Mono, float32 (samples of a frame,)."""
        return self.voice.sound
