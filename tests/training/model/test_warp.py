"""The warp of the portrait: what maps mean, what a frame is made of, and how guidance reaches it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import Inputs, emo_model, latents
from torch import Tensor

from training.model.conditions import Conditions
from training.model.config import EmoConfig
from training.model.model import EmoModel
from training.model.pipeline import EmoPipeline
from training.model.warp import REACH, WARP_MAPS, WARP_POINTS, composed, moved_portrait

SIDE = 4  # latents
RESOLUTION = 32  # pixels
FRAMES = 2


@pytest.fixture
def maps() -> Tensor:
    return torch.zeros(1, FRAMES, WARP_MAPS, SIDE, SIDE)


@pytest.fixture
def portrait() -> Tensor:
    return torch.rand(1, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def model() -> EmoModel:
    return emo_model(portrait_warp=True, vae_shortcut=True)


def right_down_and_share(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Views of the channels of each kind of map (1, f, WARP_POINTS ** 2, h, w)."""
    return (
        maps[:, :, : WARP_POINTS**2],
        maps[:, :, WARP_POINTS**2 : 2 * WARP_POINTS**2],
        maps[:, :, 2 * WARP_POINTS**2 :],
    )


def test_maps_of_zeros_show_nine_tenths_of_the_portrait_where_it_is(maps: Tensor, portrait: Tensor) -> None:
    moved, share = moved_portrait(maps, portrait)
    torch.testing.assert_close(moved, portrait.expand(FRAMES, -1, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(share, torch.full((FRAMES, 1, RESOLUTION, RESOLUTION), 0.9))


def test_a_frame_takes_each_pixel_from_where_its_maps_point(maps: Tensor, portrait: Tensor) -> None:
    pixels = 3
    right, down, _ = right_down_and_share(maps)
    right[:, 0] += pixels / RESOLUTION / REACH
    down[:, 1] += pixels / RESOLUTION / REACH
    moved, _ = moved_portrait(maps, portrait)
    torch.testing.assert_close(moved[0, :, :, :-pixels], portrait[0, :, :, pixels:], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[1, :, :-pixels], portrait[0, :, pixels:], atol=1e-4, rtol=0)
    border = portrait[0, :, :, -1:].expand(-1, -1, pixels)
    torch.testing.assert_close(moved[0, :, :, -pixels:], border, atol=1e-4, rtol=0)


def test_a_point_moves_its_own_part_of_a_latent(maps: Tensor, portrait: Tensor) -> None:
    """Points lie on a grid of WARP_POINTS along each side of a latent, row by row."""
    row, column, inner_row, inner_column = 1, 2, 3, 1
    _, _, share = right_down_and_share(maps)
    share[0, 0, inner_row * WARP_POINTS + inner_column, row, column] = -30
    pixels = RESOLUTION // (SIDE * WARP_POINTS)
    at = (
        slice((row * WARP_POINTS + inner_row) * pixels, None),
        slice((column * WARP_POINTS + inner_column) * pixels, None),
    )
    _, shares = moved_portrait(maps, portrait)
    hidden = shares[0, 0][at][:pixels, :pixels]
    assert hidden.max() < 0.1
    far = torch.ones(RESOLUTION, RESOLUTION, dtype=torch.bool)
    far[at[0].start - pixels : at[0].start + 2 * pixels, at[1].start - pixels : at[1].start + 2 * pixels] = False
    torch.testing.assert_close(shares[0, 0][far], torch.full((int(far.sum()),), 0.9))


def test_a_new_model_shows_nine_tenths_of_the_portrait() -> None:
    torch.manual_seed(0)
    config = replace(EmoConfig.from_name("emo-test"), portrait_warp=True, vae_shortcut=True)
    model = EmoModel(config).eval().requires_grad_(False)
    inputs = Inputs(config)
    conditions = inputs.conditions(model)
    noisy = latents(config, 1, config.clip_frames, seed=9)
    prediction = composed(model.backbone(noisy, torch.tensor([800]), conditions), conditions, model.vae)
    shown = 0.9 * model.vae.decode(inputs.reference_latents) + 0.1 * model.vae.decode_by_shortcut(0 * noisy[:, 0])
    expected = model.vae.encode_by_shortcut(shown)[:, None].expand_as(noisy)
    torch.testing.assert_close(prediction, expected, atol=1e-5, rtol=1e-4)


def test_what_is_new_covers_what_is_not_seen_of_the_moved_portrait(model: EmoModel) -> None:
    conditions = Inputs(model.config).conditions(model)
    new = latents(model.config, 1, FRAMES, seed=5)
    maps = 0.1 * torch.randn(1, FRAMES, WARP_MAPS, *new.shape[-2:], generator=torch.Generator().manual_seed(1))
    assert conditions.portrait is not None
    moved, share = moved_portrait(maps, conditions.portrait)
    frames = share * moved + (1 - share) * model.vae.decode_by_shortcut(new[0])
    expected = model.vae.encode_by_shortcut(frames)[None]
    torch.testing.assert_close(composed(torch.cat([new, maps], 2), conditions, model.vae), expected)
    seen = maps.clone()
    seen[:, :, 2 * WARP_POINTS**2 :] = 30
    portrait_alone = model.vae.encode_by_shortcut(moved)[None]
    torch.testing.assert_close(composed(torch.cat([new, seen], 2), conditions, model.vae), portrait_alone)


def test_the_portrait_is_the_last_condition_and_stands_for_the_last_frame(model: EmoModel) -> None:
    inputs = Inputs(model.config)
    named = inputs.conditions(model).named_tensors()
    assert list(named)[-2:] == ["known_maps", "portrait"]
    torch.testing.assert_close(named["portrait"], model.vae.decode(inputs.reference_latents))


def test_guidance_reaches_further_with_a_movement_and_blends_no_pictures(model: EmoModel) -> None:
    """With guidance 3, a mouth that opens by one pixel more with the voice opens by three."""
    config, pipeline = model.config, EmoPipeline(model)
    shape = (1, config.clip_frames, config.latent_channels, config.latent_size, config.latent_size)
    still = torch.zeros(1, config.clip_frames, config.latent_channels + WARP_MAPS, *shape[-2:])
    moving = still.clone()
    moving[:, :, config.latent_channels + WARP_POINTS**2 :][:, :, : WARP_POINTS**2] = 1 / config.resolution / REACH
    conditions = Inputs(config).conditions(model)
    voiced, unvoiced = Conditions(portrait=conditions.portrait), Conditions(portrait=conditions.portrait)
    answers = {id(voiced): moving, id(unvoiced): still}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.backbone, "forward", lambda latents, timestep, conditions: answers[id(conditions)])
        guided = pipeline.denoise(torch.randn(shape), voiced, unvoiced, steps=1, guidance_scale=3.0)
    expected = composed(still + 3 * (moving - still), voiced, model.vae)
    torch.testing.assert_close(guided, expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"known_frames_in_latents": False}, "needs known_frames_in_latents"),
        ({"prediction_type": "v_prediction"}, "a prediction of the sample"),
        ({"vae_shortcut": False}, "needs vae_shortcut"),
    ],
)
def test_a_warp_needs_known_frames_samples_and_a_shortcut(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(EmoConfig.from_name("emo-test"), **({"portrait_warp": True, "vae_shortcut": True} | changes))
