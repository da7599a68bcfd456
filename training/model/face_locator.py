"""Face Locator: a light convolutional encoder of the face region (paper, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from training.model.config import EmoConfig


class FaceLocator(nn.Module):
    """Encoder of the face region: a mask of where the face may be in a clip. Its output is added to the latents."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__()
        channels = 16
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1), nn.SiLU()]
        for _ in range(config.vae_factor.bit_length() - 1):  # down to the latents' size
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.SiLU()]
            channels *= 2
        last = nn.Conv2d(channels, config.latent_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, face_region: Tensor) -> Tensor:
        """Masks (b, 1, resolution, resolution) of 0 and 1 to encoded regions (b, c, h, w) of the latents' shape."""
        out: Tensor = self.layers(face_region)
        return out
