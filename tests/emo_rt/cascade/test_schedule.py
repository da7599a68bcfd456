from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from emo_rt.bundle import NoiseSchedule
from emo_rt.cascade.schedule import ddim_coefficients, ddim_timesteps
from emo_rt.errors import BundleError, InputError

STEPS = (1, 2, 3, 7, 10, 30, 40, 50)


def scheduler_and_schedule(prediction_type: str, spacing: str, zero_snr: bool, steps_offset: int = 0):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        steps_offset=steps_offset,
        rescale_betas_zero_snr=zero_snr,
    )
    table = tuple(scheduler.alphas_cumprod.double().tolist())
    return scheduler, NoiseSchedule(table, prediction_type, spacing, steps_offset)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize(
    ("prediction_type", "zero_snr"),
    [("epsilon", False), ("sample", False), ("v_prediction", False), ("sample", True), ("v_prediction", True)],
)
def test_every_step_equals_diffusers(prediction_type: str, zero_snr: bool, spacing: str, steps: int) -> None:
    torch = pytest.importorskip("torch")

    offset = 1 if spacing == "leading" else 0
    scheduler, schedule = scheduler_and_schedule(prediction_type, spacing, zero_snr, offset)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(steps)
    assert ddim_timesteps(schedule, steps) == scheduler.timesteps.tolist()
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(64, generator=generator, dtype=torch.float64)
    for timestep, latents_coefficient, prediction_coefficient in ddim_coefficients(schedule, steps):
        prediction = torch.randn(64, generator=generator, dtype=torch.float64)
        expected = scheduler.step(prediction, timestep, latents).prev_sample
        latents = latents_coefficient * latents + prediction_coefficient * prediction
        torch.testing.assert_close(latents, expected, rtol=1e-9, atol=1e-9)


def test_a_perfect_prediction_leads_to_the_picture_whatever_it_predicts() -> None:
    alphas = np.linspace(0.999, 0.01, 1000)
    picture, noise = np.array([0.3, -1.2]), np.array([1.1, 0.4])
    for prediction_type in ("sample", "epsilon", "v_prediction"):
        schedule = NoiseSchedule(tuple(alphas.tolist()), prediction_type, "trailing")
        signal, sigma = np.sqrt(alphas[999]), np.sqrt(1 - alphas[999])
        latents = signal * picture + sigma * noise
        for timestep, a, b in ddim_coefficients(schedule, 10):
            signal, sigma = np.sqrt(alphas[timestep]), np.sqrt(1 - alphas[timestep])
            target = {"sample": picture, "epsilon": noise, "v_prediction": signal * noise - sigma * picture}
            latents = a * latents + b * target[prediction_type]
        np.testing.assert_allclose(latents, picture, atol=1e-9)


def test_trailing_timesteps_are_as_many_as_asked_for_and_start_at_the_noisiest() -> None:
    schedule = NoiseSchedule(tuple(np.linspace(0.99, 0.01, 1000).tolist()))
    for steps in range(1, 1001):
        timesteps = ddim_timesteps(schedule, steps)
        assert len(timesteps) == steps
        assert timesteps[0] == 999
        assert timesteps[-1] >= 0
        assert timesteps == sorted(set(timesteps), reverse=True)


def test_epsilon_prediction_at_zero_terminal_snr_is_refused() -> None:
    schedule = NoiseSchedule((0.9, 0.5, 0.0), "epsilon", "trailing")
    with pytest.raises(BundleError, match="zero terminal SNR"):
        ddim_coefficients(schedule, 3)
    assert len(ddim_coefficients(dataclasses.replace(schedule, prediction_type="v_prediction"), 3)) == 3


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_an_impossible_number_of_steps_is_refused(steps: int) -> None:
    schedule = NoiseSchedule(tuple(np.linspace(0.99, 0.01, 1000).tolist()))
    with pytest.raises(InputError, match="choose 1 to 1000"):
        ddim_timesteps(schedule, steps)
