"""What is measured of one generated video, and of the sentences that it does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emo_rt.media.boxes import face_region
from training.clips.clip import TrainingClip
from training.evaluation.evaluated_video import EvaluatedVideo
from training.evaluation.metrics import (
    LAGS,
    LipClosures,
    border_ratio,
    correlation,
    find_blinks,
    lagged_correlation,
    lip_closures,
    mean_speed,
    nearest_pictures,
    picture_psnr,
    share_inside,
)
from training.evaluation.reader import FaceReader, Gallery, Reading
from training.model.model import EmoModel
from training.model.vae import decode_frames, encode_frames


@dataclass(frozen=True)
class AgainstRenders:
    """A measure of generated frames beside the same measure of the clips' own frames, the renders.

    Attributes:
        generated: value of the generated frames; None if it cannot be measured.
        renders: value of the renders; None if it cannot be measured.
    """

    generated: float | None
    renders: float | None


@dataclass(frozen=True)
class ReaderCheck:
    """Whether the reader reads these people well: its mouth opening against the labels.

    Attributes:
        correlation_on_renders: Pearson's r in the clips' own frames.
        correlation_on_reconstructions: Pearson's r in these frames after the VAE's encoder and decoder.
        deviation_ratio_on_reconstructions: standard deviation of the read opening over that of the label, in the
            frames after the VAE.
    """

    correlation_on_renders: float
    correlation_on_reconstructions: float
    deviation_ratio_on_reconstructions: float


@dataclass(frozen=True)
class PictureQuality:
    """Peak signal-to-noise ratios in dB.

    Attributes:
        first_frame_psnr: the first generated frame against the portrait.
        nearest_frame_psnr: mean over the generated frames, each against the nearest of the clip's own frames.
        reconstruction_psnr: mean over the clip's own frames, each after the VAE against itself; the decoder's limit.
    """

    first_frame_psnr: float
    nearest_frame_psnr: float
    reconstruction_psnr: float


@dataclass(frozen=True)
class HeadSpeed:
    """Mean head speeds in degrees per frame.

    Attributes:
        generated: speed that the reader sees in the generated frames.
        read_on_renders: speed that the reader sees in the clip's own frames.
        of_renders: speed that the labels give, smoothed like what is read.
    """

    generated: float
    read_on_renders: float
    of_renders: float


@dataclass(frozen=True)
class OtherSentences:
    """The control: how well a video follows the n sentences of other clips, which it does not say.

    Attributes:
        opening: Pearson's r of the mouth opening (n, lags), for each of `LAGS`.
        width: Pearson's r of the mouth width (n,).
        lips: lip closures on the sounds p, b and m of all n sentences together.
    """

    opening: np.ndarray
    width: np.ndarray
    lips: LipClosures


@dataclass(frozen=True)
class VideoMeasures:
    """What is measured of one video.

    Attributes:
        name: name of the clip whose voice the video speaks.
        language: language of the clip; empty if it is unknown.
        style: "speech", "whisper" or "singing"; empty if it is unknown.
        sound: "clean" or the effects on the voice; empty if they are unknown.
        opening_by_lag: Pearson's r of the mouth opening with the label, for each of `LAGS`.
        opening_control: mean of Pearson's r with the other sentences, at lag 0.
        opening_deviation_ratio: standard deviation of the mouth opening over that of the label.
        width_correlation: Pearson's r of the mouth width with the label.
        lips: lip closures on p, b and m.
        lips_of_renders: lip closures on p, b and m in the clip's own frames.
        identity: share of the frames in which the portrait's person is the nearest of the gallery.
        face_in_region: share of the frames whose face centre lies in the face region.
        blinks: number of blinks; that of the renders is the labels'.
        border_ratio: difference between frames across the borders of clips over that inside of clips.
        reader: how well the reader reads this person.
        picture: quality of the pictures.
        head_speed: speeds of the head.
    """

    name: str
    language: str
    style: str
    sound: str
    opening_by_lag: dict[int, float]
    opening_control: float
    opening_deviation_ratio: float
    width_correlation: float
    lips: LipClosures
    lips_of_renders: LipClosures
    identity: AgainstRenders
    face_in_region: AgainstRenders
    blinks: AgainstRenders
    border_ratio: AgainstRenders
    reader: ReaderCheck
    picture: PictureQuality
    head_speed: HeadSpeed


def measure_other_sentences(video: EvaluatedVideo, others: Sequence[TrainingClip]) -> OtherSentences:
    """Compares a video with the labels of other clips, each at least as long as the video."""
    frames, reading = len(video.frames), video.reading
    openings = [clip.mouth_opening[:frames] for clip in others]
    return OtherSentences(
        opening=np.array(
            [[lagged_correlation(reading.mouth_opening, opening, lag) for lag in LAGS] for opening in openings]
        ),
        width=np.array([correlation(reading.mouth_width, clip.mouth_width[:frames]) for clip in others]),
        lips=LipClosures.total(lip_closures(reading.mouth_opening, clip.phoneme_class) for clip in others),
    )


def measure_video(
    video: EvaluatedVideo, control: OtherSentences, model: EmoModel, reader: FaceReader, gallery: Gallery
) -> VideoMeasures:
    """Compares a video with the clip whose voice it speaks.

    Args:
        video: the generated video.
        control: its comparison with other sentences.
        model: the model that has generated it; the VAE of this model limits the pictures.
        reader: reader of the reconstructed frames.
        gallery: people among whom the portrait's person is looked for.
    """
    config, clip = model.config, video.clip
    reading, true_reading = video.reading, video.true_reading
    region = face_region(video.face_box, config.resolution, config.face_region_margin)
    reconstruction = decode_frames(model.vae, encode_frames(model.vae, clip.frames))
    return VideoMeasures(
        name=video.name,
        language=clip.language,
        style=clip.style,
        sound=clip.sound,
        opening_by_lag={lag: lagged_correlation(reading.mouth_opening, clip.mouth_opening, lag) for lag in LAGS},
        opening_control=float(control.opening.mean(0)[LAGS.index(0)]),
        opening_deviation_ratio=_deviation_ratio(reading.mouth_opening, clip.mouth_opening),
        width_correlation=correlation(reading.mouth_width, clip.mouth_width),
        lips=lip_closures(reading.mouth_opening, clip.phoneme_class),
        lips_of_renders=lip_closures(true_reading.mouth_opening, clip.phoneme_class),
        identity=AgainstRenders(
            *(gallery.share_recognised(seen.identity, video.name) for seen in (reading, true_reading))
        ),
        face_in_region=AgainstRenders(*(share_inside(seen.face_centre, region) for seen in (reading, true_reading))),
        blinks=AgainstRenders(*(len(find_blinks(curve)) for curve in (reading.blink, clip.blink))),
        border_ratio=AgainstRenders(
            *(border_ratio(frames, config.clip_frames) for frames in (video.frames, clip.frames))
        ),
        reader=_checked_reader(video, reader.read(reconstruction)),
        picture=_picture_quality(video, reconstruction),
        head_speed=HeadSpeed(
            *(mean_speed(rotation) for rotation in (reading.rotation, true_reading.rotation, clip.rotation))
        ),
    )


def _checked_reader(video: EvaluatedVideo, reconstructed: Reading) -> ReaderCheck:
    label = video.clip.mouth_opening
    return ReaderCheck(
        correlation_on_renders=correlation(video.true_reading.mouth_opening, label),
        correlation_on_reconstructions=correlation(reconstructed.mouth_opening, label),
        deviation_ratio_on_reconstructions=_deviation_ratio(reconstructed.mouth_opening, label),
    )


def _picture_quality(video: EvaluatedVideo, reconstruction: np.ndarray) -> PictureQuality:
    true = video.clip.frames
    return PictureQuality(
        first_frame_psnr=float(picture_psnr(video.frames[:1], video.portrait[None])[0]),
        nearest_frame_psnr=float(picture_psnr(video.frames, true[nearest_pictures(video.frames, true)]).mean()),
        reconstruction_psnr=float(picture_psnr(reconstruction, true).mean()),
    )


def _deviation_ratio(read: np.ndarray, label: np.ndarray) -> float:
    return float(read.std() / max(float(label.std()), 1e-6))
