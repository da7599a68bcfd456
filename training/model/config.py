"""One configuration for all sizes of EMO. A value that the paper does not give is marked *ours*."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

#: The named sizes: one readable file each, with the model and how its stages train.
CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class EmoConfig:
    """Shape of every part of EMO, and how it is sampled.

    Attributes:
        name: name of the size.
        resolution: height and width of a frame in pixels (paper: 512).
        frames_per_second: video frame rate in Hz (*ours*).
        clip_frames: f, frames generated at once (paper: 12).
        motion_frames: n, frames of the previous clip that the temporal modules see (paper: 4).
        block_out_channels: channels of the UNet at each level (SD 1.5: 320, 640, 1280, 1280).
        attention_levels: which levels have attention layers (SD 1.5: all but the last).
        temporal_levels: which levels have temporal modules; None means all (AnimateDiff).
        layers_per_block: residual blocks per level on the way down (SD 1.5: 2).
        attention_heads: heads of every spatial attention (SD 1.5: 8).
        temporal_heads: heads of every temporal attention (AnimateDiff: 8).
        temporal_positions: length of the temporal position table (AnimateDiff v2: 32).
        norm_groups: groups of every GroupNorm (SD 1.5: 32).
        latent_channels: channels of the latents (SD 1.5: 4).
        vae: arguments of ``diffusers.AutoencoderKL``; its image channels follow from ``vae_patch``.
        vae_patch: side of the pixel blocks that are folded into channels before the VAE encoder and unfolded after
            its decoder (SD 1.5: 1; more makes a decoder cheap, *ours*).
        vae_shortcut: whether a linear map of pixel patches stands beside the VAE (*ours*).
        wav2vec2: arguments of ``transformers.Wav2Vec2Config``.
        sample_rate: of the voice, in Hz (wav2vec 2.0: 16000).
        audio_margin: m, audio frames on each side of a frame that it attends to (paper: 2).
        audio_context: further frames on each side that only the audio encoder sees (*ours*): every clip is encoded
            from a window of ``clip_frames + 2 * (audio_margin + audio_context)`` frames, so a voice can be streamed.
        portrait_pull: how far motion frames are drawn towards the portrait at each clip, 1 is all the way (*ours*: the
            errors of a small model would grow from clip to clip; a head that turns far is dimmed by it).
        audio_channels: width of an audio token (*ours*).
        audio_in_time_embedding: also add a linear map of a frame's audio tokens to its time embedding (*ours*; small
            models learn to speak sooner).
        known_frames_in_latents: also give the Backbone the latents of the portrait and of the motion frames as they
            are, through convolutions beside its first one. Where it predicts the sample, it predicts the difference
            from the last motion frame, or from the portrait in a first clip (*ours*; without SD's weights, attention
            alone takes long to learn where to look).
        speed_centers: c_d, centre of each bucket of head rotation speed, in degrees per frame (*ours*).
        speed_radii: r_d, radius of each bucket, in degrees per frame (*ours*).
        speed_channels: width of a speed token (*ours*).
        prediction_type: what the backbone predicts: ``epsilon``, ``v_prediction`` or ``sample`` (*ours*).
        beta_start, beta_end, beta_schedule, rescale_betas_zero_snr, timestep_spacing: as in
            ``diffusers.DDIMScheduler`` (*ours*, after the published systems that resemble EMO).
        steps: DDIM steps (paper: 40).
        guidance_scale: weight of the voice against no voice, 1 is no guidance (*ours*).
        speed: head speed asked for when nothing else is, in degrees per frame (the paper sets one constant value).
        face_region_margin: how far the face region reaches beyond the face box on each side, in box sizes (*ours*).
        face_fraction: width of the face in a cropped portrait, in widths of the picture (*ours*).
    """

    name: str
    resolution: int
    block_out_channels: tuple[int, ...]
    attention_levels: tuple[bool, ...]
    layers_per_block: int
    attention_heads: int
    temporal_heads: int
    norm_groups: int
    latent_channels: int
    vae: dict[str, Any] = field(repr=False)
    wav2vec2: dict[str, Any] = field(repr=False)
    temporal_levels: tuple[bool, ...] | None = None
    vae_patch: int = 1
    vae_shortcut: bool = False
    audio_channels: int = 768
    audio_in_time_embedding: bool = False
    known_frames_in_latents: bool = False
    clip_frames: int = 12
    motion_frames: int = 4
    temporal_positions: int = 32
    frames_per_second: int = 25
    sample_rate: int = 16_000
    audio_margin: int = 2
    audio_context: int = 8
    speed_centers: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    speed_radii: tuple[float, ...] = (0.125, 0.25, 0.25, 0.5, 0.5, 0.5, 1.0, 1.0)
    portrait_pull: float = 0.0
    speed_channels: int = 256
    prediction_type: str = "v_prediction"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    rescale_betas_zero_snr: bool = True
    timestep_spacing: str = "trailing"
    steps: int = 40
    guidance_scale: float = 3.5
    speed: float = 0.5
    face_region_margin: float = 0.2
    face_fraction: float = 0.5

    def __post_init__(self) -> None:
        if len(self.block_out_channels) != len(self.attention_levels):
            raise ValueError("block_out_channels and attention_levels must have one entry per level")
        if self.temporal_levels is not None and len(self.temporal_levels) != len(self.block_out_channels):
            raise ValueError("temporal_levels must have one entry per level")
        if len(self.speed_centers) != len(self.speed_radii) or min(self.speed_radii) <= 0:
            raise ValueError("speed_centers and speed_radii must have one entry per bucket, and radii above 0")
        for channels in self.block_out_channels:
            for heads in (self.attention_heads, self.temporal_heads, self.norm_groups):
                if channels % heads:
                    raise ValueError(f"{channels} channels do not divide into {heads} heads or groups")
        if self.motion_frames + self.clip_frames > self.temporal_positions:
            raise ValueError("motion_frames + clip_frames is more than temporal_positions")
        if self.sample_rate % self.frames_per_second:
            raise ValueError("sample_rate must be a multiple of frames_per_second")
        if self.resolution % (self.vae_factor * 2 ** (len(self.block_out_channels) - 1)):
            raise ValueError(f"resolution {self.resolution} does not divide into the levels of the VAE and the UNet")
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(f"prediction_type {self.prediction_type!r} is not epsilon, v_prediction or sample")
        if self.prediction_type == "epsilon" and self.rescale_betas_zero_snr:
            raise ValueError("epsilon says nothing at zero signal: rescale_betas_zero_snr wants v_prediction or sample")

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, on each side."""
        return int(self.vae_patch * 2 ** (len(self.vae["block_out_channels"]) - 1))

    @property
    def latent_size(self) -> int:
        """Height and width of the latents."""
        return self.resolution // self.vae_factor

    @property
    def audio_features(self) -> int:
        """Width of A(f): the outputs of all blocks of the audio encoder, concatenated (paper, section 3.2)."""
        return int(self.wav2vec2["num_hidden_layers"] * self.wav2vec2["hidden_size"])

    @property
    def audio_window_frames(self) -> int:
        """Frames of sound that the audio encoder sees for one clip."""
        return self.clip_frames + 2 * (self.audio_margin + self.audio_context)

    @property
    def time_channels(self) -> int:
        """Width of the time embedding."""
        return 4 * self.block_out_channels[0]

    @classmethod
    def from_name(cls, name: str | Path) -> EmoConfig:
        """The model of a config, by its name or its file. Raises ``ValueError`` that names what is wrong."""
        path, content = read_config_file(name)
        return cls._of({"name": path.stem} | content.get("model", {}), path)

    @classmethod
    def load(cls, path: Path) -> EmoConfig:
        """Read a JSON file. Raises ``ValueError`` that names an unknown or missing key."""
        try:
            values = json.loads(Path(path).read_text())
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from None
        return cls._of(values, path)

    @classmethod
    def _of(cls, values: dict[str, Any], path: Path) -> EmoConfig:
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: unknown key {', '.join(sorted(unknown))}")
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n")


def config_names() -> list[str]:
    """The named sizes."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def read_config_file(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """A config's file and content, by its name or as a path that ends in ``.toml``.

    Raises ``ValueError`` if there is none, or it is broken.
    """
    path = Path(name) if str(name).endswith(".toml") else CONFIGS / f"{name}.toml"
    try:
        return path, tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(config_names())
        raise ValueError(f"no config is called {str(name)!r}: there are {known}, or give a .toml file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
