"""How a clip is denoised: steps, guidance and cached steps."""

from __future__ import annotations

from dataclasses import dataclass

from emo_rt.bundle import RuntimeConfig
from emo_rt.errors import InputError
from emo_rt.limits import MAX_GUIDANCE_SCALE


@dataclass(frozen=True)
class Sampling:
    """How a clip is denoised.

    A guided step uses classifier-free guidance. The first steps decide where the mouth is, so guidance may stop after
    them (Kynkäänniemi et al. 2024 find the same for classes). A full step runs the whole Backbone; a cached step runs
    its outer level on the deep features of the last full step (Ma et al. 2023, DeepCache).

    Attributes:
        steps: number of DDIM steps
        guidance_scale: scale of classifier-free guidance
        guided_steps: number of guided steps; the first ones are guided, the others see the voice alone
        cache_interval: steps from one full step to the next; 1 makes all of them full

    Raises:
        InputError: if a value is out of its range; the noise schedule's limit on `steps` is checked where it is used.
    """

    steps: int
    guidance_scale: float
    guided_steps: int
    cache_interval: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.guidance_scale <= MAX_GUIDANCE_SCALE:
            raise InputError(f"guidance scale is {self.guidance_scale}: choose 0 to {MAX_GUIDANCE_SCALE:g}")
        if not 0 <= self.guided_steps <= max(self.steps, 0):
            raise InputError(f"guided steps is {self.guided_steps}: choose 0 to {self.steps}, the number of steps")
        if self.cache_interval < 1:
            raise InputError(f"cache interval is {self.cache_interval}: choose 1 or more")

    def __str__(self) -> str:
        guided = {0: "none guided", self.steps: "all guided"}.get(self.guided_steps, f"{self.guided_steps} guided")
        cached = f", 1 in {self.cache_interval} full" if self.cache_interval > 1 else ""
        return f"{self.steps} step{'s' if self.steps > 1 else ''}, {guided}{cached}"

    @property
    def graphs(self) -> list[str]:
        """The name of the graph of each step."""
        graphs = []
        for step in range(self.steps):
            name = "guided_backbone" if step < self.guided_steps else "backbone"
            # The first step without guidance is full: the deep features of guided steps do not fit it.
            full = step % self.cache_interval == 0 or step == self.guided_steps
            graphs.append(name if full else f"cached_{name}")
        return graphs

    @classmethod
    def of(
        cls,
        config: RuntimeConfig,
        steps: int | None = None,
        guidance_scale: float | None = None,
        guided_steps: int | None = None,
        cache_interval: int | None = None,
    ) -> Sampling:
        """The bundle's default sampling, with the values that are given in place of its own.

        Without `guided_steps` all steps are guided, or none where the guidance scale is 1.
        """
        steps = config.steps if steps is None else steps
        scale = config.guidance_scale if guidance_scale is None else guidance_scale
        guided = 0 if scale == 1 else steps if guided_steps is None else guided_steps
        return cls(steps, scale, guided, 1 if cache_interval is None else cache_interval)
