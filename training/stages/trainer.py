"""Trains one stage, from a checkpoint to a checkpoint."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from training.model.model import EmoModel
from training.samples.clip_folder import ClipFolder
from training.samples.regions import RegionWeights
from training.stages.checkpoint import check_no_state, resume, save_checkpoint
from training.stages.log import TrainingLog
from training.stages.losses import StageLoss, mean_loss
from training.stages.performance import (
    CapturedSteps,
    RoundedModel,
    checkpoint_gradients,
    fast_cpu_bfloat16,
    short_attention_by_products,
    store_channels_last,
)
from training.stages.recipe import Recipe
from training.stages.sample_pictures import diffusion_grid, eyelid_grid, reconstruction_grid
from training.stages.stage import LATENT_STAGES, required_fields, trained_parameters
from training.stages.voice_heads import VoiceHeads

#: Steps between two lines of the log.
LOG_INTERVAL = 20

#: Number of batches that the loss on held-out clips is the mean of.
HELD_OUT_BATCHES = 16

#: Number of frames that the VAE's first weights and the scale of its latents are fitted to.
FITTED_FRAMES = 256


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Where and on what a stage trains. What it learns follows from its recipe, the data and the seed alone.

    Attributes:
        data: directory of the clips to train on
        out: directory of the checkpoint; a run resumes from what is there
        held_out: directory of clips that do not train, whose loss is logged; None logs none
        seed: seed of samples and noise
        save_every: number of steps between two checkpoints
        device: where to compute; on `cuda`, each process takes a GPU
        mixed_precision: `bf16` computes in bfloat16 where that is safe; weights stay in float32
        gradient_checkpointing: whether the backward pass computes activations again, which saves memory
        cuda_graph: whether a GPU replays steps that were captured once, so that it never waits for Python
        minutes: time that the stage trains instead of the recipe's steps; learning rates then follow the clock, and
            the run cannot be resumed
        views: number of views of each clip that train
    """

    data: Path
    out: Path
    held_out: Path | None = None
    seed: int = 0
    save_every: int = 250
    device: Literal["cpu", "cuda"] = "cpu"
    mixed_precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool = False
    cuda_graph: bool = False
    minutes: float | None = None
    views: int = 1


class Trainer:
    """A run of one stage.

    Args:
        model: model to start from; it is trained in place
        stage: one of `training.stages.stage.STAGES`
        recipe: settings of the stage
        options: where and on what it trains
        clips: clips to train on, if they are in memory already; None reads them

    Attributes:
        averaged: the model with averaged weights, which the checkpoint holds
        step: number of finished steps
        clips: clips to train on
        loss: loss of the model in training
        held_out_loss: loss of the averaged model on held-out clips; None without such clips
        trained: parameters that train
        voice_heads: layers that read phonemes and mouths from the voice, for the audio stage

    Raises:
        FileNotFoundError: if a directory has no clips.
        ValueError: if the clips do not fit the model or the stage, or a CUDA graph cannot hold a step.
    """

    def __init__(
        self, model: EmoModel, stage: str, recipe: Recipe, options: TrainingOptions, clips: ClipFolder | None = None
    ) -> None:
        if stage == "eyelids" and model.eyelids is None:
            raise ValueError(f"{model.config.name} has no eyelids to train: set `eyelids` in its config")
        self.stage, self.recipe, self.options = stage, recipe, options
        self.accelerator = Accelerator(cpu=options.device == "cpu", mixed_precision=options.mixed_precision)
        self.device = self.accelerator.device
        if options.cuda_graph and (self.accelerator.num_processes > 1 or recipe.accumulate > 1):
            raise ValueError("a CUDA graph holds a step of one batch in one process: train without --cuda-graph")
        self.model = model.to(self.device)
        self.attention: Callable[[], AbstractContextManager[None]] = nullcontext
        if options.gradient_checkpointing:
            checkpoint_gradients(model)
        if self.device.type == "cpu" and options.mixed_precision == "bf16":
            self.attention = fast_cpu_bfloat16(model)
        if self.device.type == "cuda":
            self.attention = short_attention_by_products
        self.clips = clips or self._read_clips(options.data, options.views)
        if stage == "vae" and model.config.vae_shortcut:
            torch.manual_seed(options.seed)
            model.vae.fit_shortcut(self.clips.frames(FITTED_FRAMES)[0])
        self.voice_heads = VoiceHeads(model.config).to(self.device)
        names = set(trained_parameters(model, stage, recipe.hears, recipe.knows_speed))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)
        model.eval()  # there is no dropout anywhere; the losses drop conditions
        # PyTorch's channels-last GroupNorm crashes on a CPU where its input needs no gradient.
        store_channels_last(model, stage != "speed" or self.device.type != "cpu")
        self.trained = [parameter for name, parameter in model.named_parameters() if name in names]
        if stage == "audio":
            self.trained += self.voice_heads.parameters()
        # The recipe gives whole learning rates, and the scheduler multiplies: the optimizer's own is 1.
        rate = torch.ones((), device=self.device) if options.cuda_graph else 1.0  # a graph reads it from memory
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=rate, weight_decay=0.01, fused=True, capturable=options.cuda_graph
        )
        self.averaged = copy.deepcopy(model)
        pairs = zip(self.averaged.parameters(), model.parameters(), strict=True)
        self._averages = tuple(zip(*((average, own) for average, own in pairs if own.requires_grad), strict=True))
        # Not AveragedModel: before each update it asks the GPU how many there were.
        self._move_average = get_ema_multi_avg_fn(recipe.ema)
        self.step = 0
        self._started = time.monotonic()
        self.scheduler = self._learning_rates()
        self._rounded = None
        if self.device.type == "cuda" and options.mixed_precision == "bf16" and stage in LATENT_STAGES:
            self._rounded = RoundedModel(model)
        self.loss = StageLoss(
            self._rounded.copy if self._rounded else model, stage, recipe, self.clips, self.voice_heads
        )
        self._captured = CapturedSteps(lambda own_clips: self._learn([self._loss(own_clips)]))
        self.held_out_loss = None
        if options.held_out:
            others = self._read_clips(options.held_out)
            self.held_out_loss = StageLoss(self.averaged, stage, recipe, others, self.voice_heads)

    def run(self) -> None:
        """Trains until the recipe's last step. The first process logs, and saves now and then and at the end.

        `out` gets a checkpoint, `state.pt` from which the run resumes exactly, `log.jsonl` (step, loss, frames per
        second) and TensorBoard's files. Training goes on where a checkpoint before the end cannot be saved.

        Raises:
            OSError: if the last checkpoint cannot be saved.
            ValueError: if `state.pt` is of another run, or of a run by steps where this one follows the clock.
        """
        first = self.accelerator.is_main_process
        self.options.out.mkdir(parents=True, exist_ok=True)
        if self.options.minutes:
            check_no_state(self.options.out)
        else:
            resume(self.options.out, self)
        log = TrainingLog(self.options.out, self.step) if first else None
        total, count = torch.zeros((), device=self.device), 0
        self._started = since = time.monotonic()
        with tqdm(
            total=None if self.options.minutes else self.recipe.steps,
            initial=self.step,
            desc=self.stage,
            unit="step",
            disable=not first,
        ) as progress:
            last = self.progress >= 1  # the clock is read once a step: what is the last one is saved
            while not last:
                total += self.train_step()
                count += 1
                progress.update()
                last = self.progress >= 1
                if log and (self.step % LOG_INTERVAL == 0 or last):
                    loss = total.item() / count
                    frames_per_second = self._frames(count) / (time.monotonic() - since)
                    log.write(self.step, loss, frames_per_second)
                    progress.set_postfix(loss=f"{loss:.4f}", frames_per_second=f"{frames_per_second:.0f}")
                    count, since = 0, time.monotonic()
                    total.zero_()
                if log and (self.step % self.options.save_every == 0 or last):
                    self._save(last)
                    log.write_pictures(self.step, self.sample_grid())
                    if self.held_out_loss:
                        log.write_held_out(self.step, mean_loss(self.held_out_loss, HELD_OUT_BATCHES))

    @property
    def progress(self) -> float:
        """Share of the training that is done: of the steps, or of the time."""
        if self.options.minutes:
            return (time.monotonic() - self._started) / (60 * self.options.minutes)
        return self.step / self.recipe.steps

    def train_step(self) -> Tensor:
        """Trains one step, and gives the mean loss () of this process's batches. It does not wait for a GPU."""
        with self.attention():
            if self.options.cuda_graph:
                total = self._captured(self.loss.seed(self._rng(self.step)))
            else:
                total = self._learn(self._losses())
        self.step += 1
        self.scheduler.step()
        return total

    def _losses(self) -> Iterator[Tensor]:
        """The loss of each batch of a step, computed when it is asked for."""
        for part in range(self.recipe.accumulate):
            yield self._loss(self.loss.seed(self._rng(self.step * self.recipe.accumulate + part)))

    def _rng(self, batch: int) -> np.random.Generator:
        """Source of all of a batch's random choices: they follow from (seed, batch, process) alone."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        return np.random.Generator(np.random.Philox(key=[self.options.seed, batch * processes + process]))

    def _loss(self, own_clips: int) -> Tensor:
        # A CUDA graph must convert weights anew at each replay; a rounded model needs no conversion at all.
        handler = AutocastKwargs(enabled=self._rounded is None, cache_enabled=not self.options.cuda_graph)
        with self.accelerator.autocast(handler):
            return self.loss.compute(own_clips)

    def _learn(self, losses: Iterable[Tensor]) -> Tensor:
        """Descends along the mean gradient of the losses. Returns their mean."""
        self.optimizer.zero_grad(set_to_none=True)
        if self._rounded:
            self._rounded.copy.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for loss in losses:
            part = loss / self.recipe.accumulate
            part.backward()  # which computes attention again under gradient checkpointing
            total += part.detach()
        if self._rounded:
            self._rounded.return_gradients()
        if self.accelerator.num_processes > 1:
            self._average_gradients()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        if self._rounded:
            self._rounded.round()
        with torch.no_grad():
            self._move_average(*self._averages, 0)
        return total

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; learning rates follow from the step."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.averaged.state_dict(),
            "head": self.voice_heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the state of an earlier run, whose recipe may have had other steps and another learning rate."""
        self.model.load_state_dict(state["model"])
        if self._rounded:
            self._rounded.round()
        self.averaged.load_state_dict(state["average"])
        self.voice_heads.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.scheduler = self._learning_rates()

    @torch.no_grad()
    def sample_grid(self) -> np.ndarray | None:
        """What the averaged model makes of a few training samples: one RGB uint8 picture (h, w, 3).

        None in the audio stage, which makes no pictures.
        """
        model = self.averaged
        if self.stage == "audio":
            return None
        torch.manual_seed(0)
        if self.stage in ("vae", "decoder"):
            return reconstruction_grid(model, self.clips.frames(8)[0])
        if self.stage == "eyelids":
            return eyelid_grid(model, self.clips.images(4, RegionWeights()).reference_latents.to(self.device))
        loss = StageLoss(model, self.stage, self.recipe, self.clips, self.voice_heads)
        if self.stage == "image":
            batch = self.clips.images(4, RegionWeights(), voiced=self.recipe.hears)
            conditions = loss.image_conditions(batch)
        else:
            batch = self.clips.videos(4, RegionWeights())
            conditions = loss.video_conditions(batch)
        return diffusion_grid(model, batch, conditions, temporal=self.stage != "image")

    def _read_clips(self, directory: Path, views: int = 1) -> ClipFolder:
        return ClipFolder(
            directory,
            self.model.config,
            self.model.vae.eval() if self.stage not in ("vae", "decoder", "audio") else None,
            needs=required_fields(self.stage, self.model.config, self.recipe.knows_speed),
            processes=(self.accelerator.process_index, self.accelerator.num_processes),
            pictures=self.stage != "audio",
            shortest=self.recipe.shortest_clip(self.stage, self.model.config),
            device=self.device,
            views=views,
        )

    def _learning_rates(self) -> LambdaLR:
        """The recipe's learning rates, from the current step on."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = 1.0
        return LambdaLR(
            self.optimizer, lambda step: self.recipe.learning_rate_at(step, self.progress), last_epoch=self.step - 1
        )

    def _average_gradients(self) -> None:
        """Gives every process the mean of all processes' gradients."""
        gradients = [p.grad for p in self.trained if p.grad is not None]
        mean = self.accelerator.reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]), "mean")
        for gradient, values in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view(gradient.shape))

    def _frames(self, steps: int) -> int:
        """Number of frames of video, or of the sound that goes with them, that so many steps learn from."""
        config, recipe = self.model.config, self.recipe
        frames = {"video": config.clip_frames, "speed": config.clip_frames, "audio": config.audio_window_frames}
        batches = steps * recipe.accumulate * self.accelerator.num_processes
        return batches * recipe.batch_size * frames.get(self.stage, 1)

    def _save(self, last: bool) -> None:
        """Saves a checkpoint; one that cannot be saved stops the training only at its end."""
        try:
            if self.stage == "vae":
                self.averaged.vae.autoencoder.register_to_config(scaling_factor=self._latent_scale(self.averaged))
            save_checkpoint(self.options.out, self.averaged, None if self.options.minutes else self)
        except OSError as error:
            reason = f"cannot save step {self.step} to {self.options.out}: {str(error).splitlines()[0]}"
            if last:
                raise OSError(f"{reason}; make room and give the same command again") from None
            tqdm.write(f"training: {reason}; training goes on", file=sys.stderr)

    @torch.no_grad()
    def _latent_scale(self, model: EmoModel) -> float:
        """One over the standard deviation of unscaled latents."""
        torch.manual_seed(0)
        unscaled = model.vae.encode(self.clips.frames(FITTED_FRAMES)[0]) / model.vae.scaling_factor
        return float(1 / unscaled.std())
