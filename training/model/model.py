"""The complete EMO model: its parts, its checkpoint, and the conditions that the parts give the Backbone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Wav2Vec2Model

from training.model.audio import AudioEncoder, AudioProjection
from training.model.backbone import Backbone, has_motion
from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.controls import Eyelids, FaceLocator, GestureEncoder, SpeedEncoder
from training.model.reference_net import ReferenceNet
from training.model.vae import VAE

# The libraries' progress bars, one for each part of a checkpoint, would interrupt those of the command that loads it.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


class EmoModel(nn.Module):
    """All parts of EMO (paper, section 3).

    A checkpoint is a directory with `config.json`, `model.safetensors`, and the VAE and the audio encoder in the
    layouts of diffusers and transformers (`vae/`, `wav2vec2/`).
    """

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = VAE(config)
        self.audio_encoder = AudioEncoder(config)
        self.reference_net = ReferenceNet(config)
        self.backbone = Backbone(config)
        self.audio_projection = AudioProjection(config)
        self.face_locator = FaceLocator(config)
        self.speed_encoder = SpeedEncoder(config)
        self.gesture_encoder = GestureEncoder(config) if config.gestures else None
        self.eyelids = Eyelids() if config.eyelids else None

    def voice_and_place(
        self,
        audio_features: Tensor,
        head_speed: Tensor | None,
        face_region: Tensor,
        gestures: Tensor | None = None,
    ) -> Conditions:
        """Conditions of the voice, the head speed, the face region and the gestures.

        Args:
            audio_features: A(f) of the frames and their margins (b, f + 2m, audio_features); zeros mean no voice.
            head_speed: head rotation speeds (b, f + 2m) in degrees per frame; None leaves the speed layers out.
            face_region: mask (b, 1, resolution, resolution) of 0 and 1.
            gestures: as in `GestureEncoder.forward` (b, f, 4), for a model that takes them.
        """
        voice = self.backbone.audio_conditions(self.audio_projection(audio_features))
        place = self.place(face_region, gestures)
        if head_speed is None:
            return Conditions.merged(voice, place)
        return Conditions.merged(voice, place, self.backbone.speed_conditions(self.speed_encoder(head_speed)))

    def place(self, face_region: Tensor, gestures: Tensor | None = None) -> Conditions:
        """Conditions of the face region and the gestures, as in `voice_and_place`."""
        region = self.face_locator(face_region)
        if not self.config.takes_gestures:
            return Conditions(face_latents=region)
        if gestures is None:
            raise ValueError(f"{self.config.name} takes the gestures of each frame, and there are none")
        return Conditions(
            face_latents=region,
            gesture_embedding=None if self.gesture_encoder is None else self.gesture_encoder(gestures),
            closing=None if self.eyelids is None else gestures[..., -1],
        )

    def portrait_and_motion(
        self, reference_latents: Tensor, motion_latents: Tensor, portrait_pull: float = 0.0
    ) -> Conditions:
        """Conditions of the portrait and the motion frames.

        Args:
            reference_latents: latents of the portrait (b, c, h, w).
            motion_latents: latents of the motion frames (b, n, c, h, w); zeros before the first clip.
            portrait_pull: share of the way that motion frames are moved towards the portrait, as in `EmoConfig`; 0 in
                training.
        """
        batch, motion_frames = motion_latents.shape[:2]
        pulled = motion_latents + portrait_pull * (reference_latents[:, None] - motion_latents)
        motion_latents = torch.where(has_motion(motion_latents), pulled, motion_latents)
        reference, motion = self.reference_net(torch.cat([reference_latents, motion_latents.flatten(0, 1)]))
        shaped = [features[batch:].unflatten(0, (batch, motion_frames)) for features in motion]
        return Conditions.merged(
            self.backbone.reference_conditions([features[:batch] for features in reference]),
            self.backbone.motion_conditions(shaped),
            self.backbone.known_frame_conditions(reference_latents, motion_latents),
            self.warp_conditions(reference_latents),
        )

    def warp_conditions(self, reference_latents: Tensor) -> Conditions:
        """`portrait` of its latents (b, c, h, w) if the config has a warp, and its `eyelids` if it has them."""
        if not self.config.portrait_warp:
            return Conditions()
        portrait = self.vae.decode(reference_latents)
        return Conditions(portrait=portrait, eyelids=None if self.eyelids is None else self.eyelids(portrait))

    def save(self, directory: Path) -> None:
        """Write a checkpoint with weights rounded to float16. The model itself does not change."""
        directory.mkdir(parents=True, exist_ok=True)
        rounded = copy.deepcopy(self).half()
        rounded.config.save(directory / "config.json")
        rounded.vae.autoencoder.save_pretrained(directory / "vae")
        rounded.audio_encoder.wav2vec2.save_pretrained(directory / "wav2vec2")
        weights = {name: tensor.contiguous() for name, tensor in rounded._own_weights().items()}
        save_file(weights, directory / "model.safetensors")

    @classmethod
    def load(cls, directory: Path, **changes: Any) -> EmoModel:
        """Read a checkpoint in float32.

        Args:
            directory: folder of the checkpoint.
            changes: other values of config fields that no weight depends on, such as `clip_frames` and `resolution`.

        Raises:
            FileNotFoundError: if the directory is not a checkpoint.
            ValueError: if a part of the checkpoint is missing, broken, or does not fit its config.
        """
        directory = Path(directory)
        if not (directory / "config.json").is_file():
            raise FileNotFoundError(f"{directory} is no checkpoint: it has no config.json")
        model = cls(replace(EmoConfig.load(directory / "config.json"), **changes))
        path = directory / "model.safetensors"
        try:
            weights = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        vae, _ = read_published(AutoencoderKL, directory / "vae")
        wav2vec2, _ = read_published(Wav2Vec2Model, directory / "wav2vec2")
        _copy(weights, model._own_weights(), path)
        _copy(vae.state_dict(), model.vae.autoencoder.state_dict(), directory / "vae")
        _copy(wav2vec2.state_dict(), model.audio_encoder.wav2vec2.state_dict(), directory / "wav2vec2")
        model.vae.autoencoder.register_to_config(scaling_factor=vae.config["scaling_factor"])
        return model.eval()

    def _own_weights(self) -> dict[str, Tensor]:
        """Weights in `model.safetensors`: all but those of the libraries' own directories."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith(("vae.autoencoder.", "audio_encoder.")) and not name.endswith("pos_embed.pe")
        }


def read_published(library_class: Any, directory: Path) -> tuple[Any, list[str]]:
    """A published model, from a directory in the layout of its library.

    Args:
        library_class: class of diffusers or transformers with `from_pretrained`.
        directory: folder of the model.

    Returns:
        the model in float32, and the sorted names of weights there that the library does not know.

    Raises:
        ValueError: if the directory is missing, incomplete or broken.
    """
    dtype = "dtype" if library_class is Wav2Vec2Model else "torch_dtype"
    try:
        published, loading = library_class.from_pretrained(
            directory, output_loading_info=True, local_files_only=True, **{dtype: torch.float32}
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{directory} is no {library_class.__name__} that can be read: {reason}") from None
    missing = sorted(loading["missing_keys"])
    if missing:
        raise ValueError(f"{directory} is incomplete: its weights lack {', '.join(missing[:3])}")
    return published, sorted(loading["unexpected_keys"])


@torch.no_grad()
def _copy(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Copy all `weights`, read from `path`, into all tensors of the model's part `own`."""
    odd = weights.keys() ^ own.keys()
    odd |= {name for name in weights.keys() & own.keys() if weights[name].shape != own[name].shape}
    if odd:
        raise ValueError(f"{path} does not fit the checkpoint's config.json: {', '.join(sorted(odd)[:3])}")
    for name, tensor in own.items():
        tensor.copy_(weights[name])
