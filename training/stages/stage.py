"""The stages of training: what each one trains, and what its clips must hold (paper, section 3.3)."""

from __future__ import annotations

from training.model.config import EmoConfig
from training.model.model import EmoModel

#: The stages in the order in which they train. The decoder and the eyelids stage are optional.
STAGES = ("vae", "decoder", "eyelids", "audio", "image", "video", "speed")

#: Stages that denoise latents.
DIFFUSION_STAGES = ("image", "video", "speed")

#: Stages that learn from latents.
LATENT_STAGES = ("eyelids", *DIFFUSION_STAGES)

#: Fields that the clips of a stage must have, besides frames and boxes. Clips without them are left out.
REQUIRED_FIELDS = {
    "eyelids": ("landmarks",),
    "audio": ("waveform", "phoneme_class", "mouth_opening", "mouth_width"),
    "video": ("waveform",),
    "speed": ("waveform", "head_speed"),
}

#: Fields that they must have too where frames are told how the head is turned.
GESTURE_FIELDS = ("rotation",)


def required_fields(stage: str, config: EmoConfig, knows_speed: bool = False) -> tuple[str, ...]:
    """Fields that the clips of a stage must have; a video stage that knows the head speed has those of the next."""
    fields = REQUIRED_FIELDS.get("speed" if knows_speed else stage, ())
    return (*fields, *GESTURE_FIELDS) if config.gestures and stage in DIFFUSION_STAGES else fields


def trained_parameters(model: EmoModel, stage: str, hears: bool = False, knows_speed: bool = False) -> list[str]:
    """Names of the parameters that a stage trains (paper, section 3.3).

    Args:
        model: model that is trained
        stage: one of `STAGES`
        hears: whether the image stage trains the audio layers too
        knows_speed: whether the video stage trains the speed layers too
    """

    def trains(name: str) -> bool:
        part = name.split(".", 1)[0]
        temporal, speed = "motion_modules" in name, "_speed" in name
        audio = any(layer in name for layer in ("_audio.", "audio_embedding."))
        faces = ("backbone", "reference_net", "face_locator", "gesture_encoder")
        if stage in ("vae", "eyelids"):
            return part == stage
        if stage == "audio":
            return part in ("audio_encoder", "audio_projection")
        if stage == "decoder":
            return name.startswith(
                ("vae.autoencoder.decoder.", "vae.autoencoder.post_quant_conv.", "vae.shortcut_decoder.")
            )
        if stage == "image":
            trained = (*faces, *(("audio_projection",) if hears else ()))
            return part in trained and not (temporal or (audio and not hears))
        if stage == "video":
            trained = (*faces, "audio_projection", *(("speed_encoder",) if knows_speed else ()))
            return part in trained and (knows_speed or not speed)
        return part == "speed_encoder" or (part == "backbone" and temporal)

    return [name for name, _ in model.named_parameters() if trains(name)]
