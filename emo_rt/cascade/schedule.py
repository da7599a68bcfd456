"""DDIM (Song et al. 2021, eta = 0): the timesteps of a run, and the coefficients that the backbone graphs apply.

A step is a linear combination of latents and prediction. The arithmetic equals diffusers'
`DDIMScheduler(clip_sample=False, set_alpha_to_one=True)`, in float64.
"""

from __future__ import annotations

import math

import numpy as np

from emo_rt.bundle import NoiseSchedule
from emo_rt.errors import BundleError, InputError


def ddim_timesteps(schedule: NoiseSchedule, steps: int) -> list[int]:
    """The training timesteps of a run, from noise to picture.

    Args:
        schedule: noise schedule of the bundle
        steps: number of DDIM steps

    Raises:
        InputError: if the schedule has fewer timesteps, or `steps` is below 1.
    """
    count = len(schedule.alphas_cumprod)
    if not 1 <= steps <= count - schedule.steps_offset:
        raise InputError(f"steps is {steps}: choose 1 to {count - schedule.steps_offset}")
    if schedule.timestep_spacing == "leading":
        return [step * (count // steps) + schedule.steps_offset for step in reversed(range(steps))]
    # As in diffusers. NumPy's arange may round its way to one entry too many.
    spaced = np.round(np.arange(count, 0, -count / steps))[:steps]
    return [int(timestep) - 1 for timestep in spaced]


def ddim_coefficients(schedule: NoiseSchedule, steps: int) -> list[tuple[int, float, float]]:
    """The coefficients of `next_latents = latents_coefficient * latents + prediction_coefficient * prediction`.

    Args:
        schedule: noise schedule of the bundle
        steps: number of DDIM steps

    Returns:
        (timestep, latents_coefficient, prediction_coefficient) of every step

    Raises:
        InputError: if the schedule has fewer timesteps, or `steps` is below 1.
        BundleError: if a step divides by zero: epsilon prediction at zero terminal SNR, sample prediction at no noise.
    """
    count = len(schedule.alphas_cumprod)
    result = []
    for timestep in ddim_timesteps(schedule, steps):
        previous = timestep - count // steps  # as in diffusers, even where the spacing differs
        alpha = schedule.alphas_cumprod[timestep]
        alpha_previous = schedule.alphas_cumprod[previous] if previous >= 0 else 1.0
        signal, noise = math.sqrt(alpha), math.sqrt(1.0 - alpha)
        next_signal, next_noise = math.sqrt(alpha_previous), math.sqrt(1.0 - alpha_previous)
        if schedule.prediction_type == "epsilon":
            if signal == 0.0:
                raise BundleError(
                    f"the noise schedule has zero terminal SNR at timestep {timestep}, where epsilon says nothing of "
                    "the picture; export a model that predicts sample or v_prediction"
                )
            # x0 = (x - noise * eps) / signal
            coefficients = (next_signal / signal, next_noise - next_signal * noise / signal)
        elif schedule.prediction_type == "sample":
            if noise == 0.0:
                raise BundleError(f"the noise schedule has no noise at timestep {timestep}; export it again")
            # eps = (x - signal * x0) / noise
            coefficients = (next_noise / noise, next_signal - next_noise * signal / noise)
        else:
            # x0 = signal * x - noise * v,  eps = signal * v + noise * x
            coefficients = (
                next_signal * signal + next_noise * noise,
                next_noise * signal - next_signal * noise,
            )
        result.append((timestep, *coefficients))
    return result
