"""One configuration for all sizes of EMO.

*Ours* marks what the paper does not give. Values of SD 1.5, AnimateDiff and wav2vec 2.0 are those of the networks that
the paper starts from.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

#: Folder of the named sizes: one file each, with the model and the recipes of its stages.
CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class EmoConfig:
    """Shape of every part of EMO, and how it is sampled.

    Attributes:
        name: name of the size.
        resolution: height and width of a frame, in pixels (paper: 512).
        block_out_channels: channels of the UNet at each level (SD 1.5: 320, 640, 1280, 1280).
        attention_levels: for each level, whether it has spatial attention layers (SD 1.5: all but the last).
        layers_per_block: number of residual blocks per level on the way down (SD 1.5: 2).
        attention_heads: number of heads of every spatial attention (SD 1.5: 8).
        temporal_heads: number of heads of every temporal attention (AnimateDiff: 8).
        norm_groups: number of groups of every GroupNorm (SD 1.5: 32).
        latent_channels: channels of the latents (SD 1.5: 4).
        vae: arguments of `diffusers.AutoencoderKL`; its image channels follow from `vae_patch`.
        wav2vec2: arguments of `transformers.Wav2Vec2Config`.
        temporal_levels: for each level, whether it has temporal modules; None means all levels (AnimateDiff: all).
        vae_patch: side, in pixels, of the blocks that are folded into channels before the VAE's encoder and unfolded
            behind its decoder (SD 1.5: 1; a larger one makes the decoder cheap, *ours*).
        vae_shortcut: whether a linear map of pixel patches is added to the VAE (*ours*).
        audio_channels: channels of an audio token (*ours*).
        audio_in_time_embedding: whether a linear map of a frame's audio tokens is added to its time embedding (*ours*:
            small models learn lip sync sooner).
        known_frames_in_latents: whether the Backbone also gets the latents of the portrait and of the motion frames,
            through convolutions beside its first one. If it predicts the sample, it then predicts the difference from
            the last motion frame, or from the portrait in a first clip (*ours*: without SD's weights, attention alone
            takes long to learn where to look).
        portrait_warp: whether it predicts instead how the portrait's pixels move, how much of them each frame shows,
            and what is new in the rest (*ours*: a face stays as sharp as the portrait, and a head that turns leaves no
            ghost).
        gestures: whether each frame is told how far the head is turned (*ours*: what neither the voice nor the frames
            before tell, a model that samples in one step leaves out: the mean of all turns is a head that keeps still).
        eyelids: whether the portrait that is moved shuts its eyes as far as each frame is told; needs `portrait_warp`
            (*ours*: a small network finds its lids, and blinks are as sharp as it is).
        clip_frames: f, number of frames that are generated at once (paper: 12).
        motion_frames: n, number of frames of the previous clip that the temporal modules see (paper: 4).
        temporal_positions: number of positions in the temporal modules' table (AnimateDiff v2: 32).
        frames_per_second: frame rate of videos, in Hz (*ours*).
        sample_rate: sample rate of the voice, in Hz (wav2vec 2.0: 16000).
        audio_margin: m, number of frames on each side of a frame whose sound it attends to (paper: 2); the same for
            head speeds.
        audio_context: number of further frames on each side that only the audio encoder hears (*ours*). Each clip is
            encoded from a window of `audio_window_frames` frames, so that a voice can be streamed.
        speed_centers: c_d, centre of each bucket of head rotation speed, in degrees per frame (*ours*).
        speed_radii: r_d, radius of each bucket, in degrees per frame (*ours*).
        portrait_pull: share of the way that motion frames are moved towards the portrait at each clip, 0 to 1 (*ours*:
            without it, a small model's errors grow from clip to clip; with it, a head turns less far).
        speed_channels: channels of a speed token (*ours*).
        prediction_type: quantity that the Backbone predicts, `epsilon`, `v_prediction` or `sample` (*ours*).
        beta_start: variance of the noise at the first timestep, as in `diffusers.DDIMScheduler` (*ours*, as are the
            next four, after published systems that resemble EMO).
        beta_end: variance of the noise at the last timestep, before any rescaling (*ours*).
        beta_schedule: course of the variance between them, as in `diffusers.DDIMScheduler` (*ours*).
        rescale_betas_zero_snr: whether the last timestep is pure noise (*ours*).
        timestep_spacing: choice of the timesteps that sampling visits, as in `diffusers.DDIMScheduler` (*ours*).
        steps: number of DDIM steps (paper: 40).
        guidance_scale: weight of the prediction with the voice against that without; 1 means no guidance (*ours*).
        speed: default head rotation speed, in degrees per frame (paper: one constant, of which the value is *ours*).
        face_region_margin: margin of the face region around the face box on each side, in box sizes (*ours*).
        face_fraction: width of the face in a cropped portrait, as a share of the picture's width (*ours*).
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
    portrait_warp: bool = False
    gestures: bool = False
    eyelids: bool = False
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
        if self.portrait_warp and not (self.known_frames_in_latents and self.prediction_type == "sample"):
            raise ValueError("portrait_warp needs known_frames_in_latents and a prediction of the sample")
        if self.portrait_warp and not self.vae_shortcut:
            raise ValueError("portrait_warp needs vae_shortcut, which encodes what moves in each step")
        if self.eyelids and (not self.portrait_warp or self.resolution % 16):
            raise ValueError("eyelids need portrait_warp, and a resolution that is a multiple of 16")
        if self.prediction_type == "epsilon" and self.rescale_betas_zero_snr:
            raise ValueError("rescale_betas_zero_snr needs v_prediction or sample: epsilon has no signal in pure noise")

    @property
    def takes_gestures(self) -> bool:
        """Whether frames are told how far the head is turned or the eyes are shut."""
        return self.gestures or self.eyelids

    @property
    def vae_factor(self) -> int:
        """Side of the square that one latent stands for, in pixels."""
        return int(self.vae_patch * 2 ** (len(self.vae["block_out_channels"]) - 1))

    @property
    def latent_size(self) -> int:
        """Height and width of the latents, in latents."""
        return self.resolution // self.vae_factor

    @property
    def audio_features(self) -> int:
        """Channels of A(f), the concatenated output of all blocks of the audio encoder (paper, section 3.2)."""
        return int(self.wav2vec2["num_hidden_layers"] * self.wav2vec2["hidden_size"])

    @property
    def audio_window_frames(self) -> int:
        """Length of the sound that the audio encoder hears for one clip, in video frames."""
        return self.clip_frames + 2 * (self.audio_margin + self.audio_context)

    @property
    def time_channels(self) -> int:
        """Channels of the time embedding."""
        return 4 * self.block_out_channels[0]

    @classmethod
    def from_name(cls, name: str | Path) -> EmoConfig:
        """Config of a named size, or of a `.toml` file.

        Raises:
            ValueError: if there is no such config, or a key or a value in it is wrong.
        """
        path, content = read_config_file(name)
        return cls._of({"name": path.stem} | content.get("model", {}), path)

    @classmethod
    def load(cls, path: Path) -> EmoConfig:
        """Config that `save` wrote.

        Raises:
            ValueError: if the file is no JSON, or a key or a value in it is wrong.
        """
        try:
            values = json.loads(Path(path).read_text())
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from None
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
        """Write the config as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n")


def config_names() -> list[str]:
    """Names of all sizes."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def read_config_file(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """File and content of a config.

    Args:
        name: name of a size, or a path that ends in `.toml`.

    Raises:
        ValueError: if there is no such config, or the file cannot be read.
    """
    path = Path(name) if str(name).endswith(".toml") else CONFIGS / f"{name}.toml"
    try:
        return path, tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(config_names())
        raise ValueError(f"no config is called {str(name)!r}: there are {known}, or give a .toml file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
