"""The models that are timed on a GPU: bundled weights, or random ones that are made where they are used."""

from __future__ import annotations

import torch

from benchmarks.gpu_rows.variants import GpuVariant
from benchmarks.machine import CHECKOUT
from export.graphs.float16 import to_float16
from training.model.config import EmoConfig
from training.model.model import EmoModel


def has_bundled_weights(name: str) -> bool:
    """Whether a model of this name comes with the checkout."""
    return (CHECKOUT / "models" / name).exists()


def check_size(name: str) -> None:
    """Raises ValueError unless a bundled model or a config has the name."""
    if not has_bundled_weights(name):
        EmoConfig.from_name(name)


def random_model(config: EmoConfig, device: str = "cpu") -> EmoModel:
    """A model with random weights of float32, always the same ones on a kind of device, in which no layer is silent.

    Args:
        config: configuration of the model
        device: PyTorch's device that the weights are made on
    """
    torch.manual_seed(0)
    with torch.device(device):
        model = EmoModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)
    return model.eval()


def make_model(name: str, variant: GpuVariant, device: str) -> EmoModel:
    """A model to time.

    Args:
        name: folder in `models`, or name of a config, which gets random weights
        variant: row of PyTorch, which decides dtype and memory format
        device: PyTorch's device

    Raises:
        FileNotFoundError: if the folder in `models` holds no checkpoint.
        ValueError: if a file of that checkpoint is missing or broken.
    """
    if has_bundled_weights(name):
        model = EmoModel.load(CHECKOUT / "models" / name)
    else:
        model = random_model(EmoConfig.from_name(name), device)
    if variant.precision == "bf16":
        model = model.to(torch.bfloat16)
    if variant.precision == "fp16":
        model = to_float16(model)
    if variant.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device).eval().requires_grad_(False)
