"""Trains one stage, from a checkpoint to a checkpoint."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from training.model.model import EmoModel
from training.stages.checkpoint import resume, save_checkpoint
from training.stages.data import ClipFolder
from training.stages.log import TrainingLog
from training.stages.losses import StageLoss, mean_loss
from training.stages.performance import checkpoint_gradients, fast_cpu_bfloat16, use_channels_last
from training.stages.recipe import Recipe
from training.stages.regions import RegionWeights
from training.stages.sample_pictures import diffusion_grid, reconstruction_grid
from training.stages.stage import REQUIRED_FIELDS, trained_parameters
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
    """

    data: Path
    out: Path
    held_out: Path | None = None
    seed: int = 0
    save_every: int = 250
    device: Literal["cpu", "cuda"] = "cpu"
    mixed_precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool = False


class Trainer:
    """A run of one stage.

    Args:
        model: model to start from; it is trained in place
        stage: one of `training.stages.stage.STAGES`
        recipe: settings of the stage
        options: where and on what it trains

    Attributes:
        step: number of finished steps
        clips: clips to train on
        loss: loss of the model in training
        held_out_loss: loss of the averaged model on held-out clips; None without such clips
        trained: parameters that train
        voice_heads: layers that read phonemes and mouths from the voice, for the audio stage

    Raises:
        FileNotFoundError: if a directory has no clips.
        ValueError: if the clips do not fit the model or the stage.
    """

    def __init__(self, model: EmoModel, stage: str, recipe: Recipe, options: TrainingOptions) -> None:
        self.stage, self.recipe, self.options = stage, recipe, options
        self.accelerator = Accelerator(cpu=options.device == "cpu", mixed_precision=options.mixed_precision)
        self.device = self.accelerator.device
        self.model = model.to(self.device)
        self.attention: Callable[[], AbstractContextManager[None]] = nullcontext
        if options.gradient_checkpointing:
            checkpoint_gradients(model)
        if self.device.type == "cpu" and options.mixed_precision == "bf16":
            self.attention = fast_cpu_bfloat16(model)
        self.clips = self._read_clips(options.data)
        if stage == "vae" and model.config.vae_shortcut:
            images, _ = self.clips.frames(np.random.default_rng(options.seed), FITTED_FRAMES)
            model.vae.fit_shortcut(images.to(self.device))
        self.voice_heads = VoiceHeads(model.config).to(self.device)
        names = set(trained_parameters(model, stage, recipe.hears))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)
        model.eval()  # there is no dropout anywhere; the losses drop conditions
        if stage != "speed":  # PyTorch's channels-last GroupNorm crashes on a CPU where its input needs no gradient
            use_channels_last(model)
        self.trained = [parameter for name, parameter in model.named_parameters() if name in names]
        if stage == "audio":
            self.trained += self.voice_heads.parameters()
        # The recipe gives whole learning rates, and the scheduler multiplies: the optimizer's own is 1.
        self.optimizer = torch.optim.AdamW(self.trained, lr=1.0, weight_decay=0.01, fused=True)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
        self.step = 0
        self.scheduler = self._learning_rates()
        self.loss = StageLoss(model, stage, recipe, self.clips, self.voice_heads)
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
            ValueError: if `state.pt` is of another run.
        """
        first = self.accelerator.is_main_process
        self.options.out.mkdir(parents=True, exist_ok=True)
        resume(self.options.out, self)
        log = TrainingLog(self.options.out, self.step) if first else None
        losses: list[float] = []
        since = time.monotonic()
        with tqdm(
            total=self.recipe.steps, initial=self.step, desc=self.stage, unit="step", disable=not first
        ) as progress:
            while self.step < self.recipe.steps:
                losses.append(self.train_step())
                progress.update()
                last = self.step == self.recipe.steps
                if log and (self.step % LOG_INTERVAL == 0 or last):
                    loss = sum(losses) / len(losses)
                    frames_per_second = self._frames(len(losses)) / (time.monotonic() - since)
                    log.write(self.step, loss, frames_per_second)
                    progress.set_postfix(loss=f"{loss:.4f}", frames_per_second=f"{frames_per_second:.0f}")
                    losses, since = [], time.monotonic()
                if log and (self.step % self.options.save_every == 0 or last):
                    self._save()
                    log.write_pictures(self.step, self.sample_grid())
                    if self.held_out_loss:
                        log.write_held_out(self.step, mean_loss(self.held_out_loss, HELD_OUT_BATCHES))

    def train_step(self) -> float:
        """Trains one step, and gives the mean loss of this process's batches."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(self.recipe.accumulate):
            # Samples and noise follow from (seed, batch, process) alone, so that a resumed run repeats them.
            batch = self.step * self.recipe.accumulate + part
            rng = np.random.Generator(np.random.Philox(key=[self.options.seed, batch * processes + process]))
            with self.attention():
                with self.accelerator.autocast():
                    loss = self.loss(rng) / self.recipe.accumulate
                loss.backward()  # which computes attention again under gradient checkpointing
            total += loss.item()
        if processes > 1:
            self._average_gradients()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return total

    @property
    def averaged(self) -> EmoModel:
        """The model with averaged weights, which the checkpoint holds."""
        model = self.average.module
        assert isinstance(model, EmoModel)
        return model

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; learning rates follow from the step."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "head": self.voice_heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the state of an earlier run, whose recipe may have had other steps and another learning rate."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.voice_heads.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.scheduler = self._learning_rates()

    @torch.no_grad()
    def sample_grid(self) -> np.ndarray | None:
        """What the averaged model makes of a few training samples: one RGB uint8 picture (h, w, 3).

        None in the audio stage, which makes no pictures.
        """
        rng, model = np.random.default_rng(0), self.averaged
        if self.stage == "audio":
            return None
        if self.stage in ("vae", "decoder"):
            return reconstruction_grid(model, self.clips.frames(rng, 8)[0].to(self.device))
        loss = StageLoss(model, self.stage, self.recipe, self.clips, self.voice_heads)
        if self.stage == "image":
            batch = self.clips.images(rng, 4, RegionWeights(), voiced=self.recipe.hears)
            conditions = loss.image_conditions(batch)
        else:
            batch = self.clips.videos(rng, 4, RegionWeights())
            conditions = loss.video_conditions(batch)
        return diffusion_grid(model, batch, conditions, temporal=self.stage != "image")

    def _read_clips(self, directory: Path) -> ClipFolder:
        return ClipFolder(
            directory,
            self.model.config,
            self.model.vae.eval() if self.stage not in ("vae", "decoder", "audio") else None,
            needs=REQUIRED_FIELDS.get(self.stage, ()),
            processes=(self.accelerator.process_index, self.accelerator.num_processes),
            pictures=self.stage != "audio",
        )

    def _learning_rates(self) -> LambdaLR:
        """The recipe's learning rates, from the current step on."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = 1.0
        return LambdaLR(self.optimizer, self.recipe.learning_rate_at, last_epoch=self.step - 1)

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

    def _save(self) -> None:
        """Saves a checkpoint; one that cannot be saved stops the training only at its end."""
        try:
            if self.stage == "vae":
                self.averaged.vae.autoencoder.register_to_config(scaling_factor=self._latent_scale(self.averaged))
            save_checkpoint(self.options.out, self.averaged, self)
        except OSError as error:
            reason = f"cannot save step {self.step} to {self.options.out}: {str(error).splitlines()[0]}"
            if self.step == self.recipe.steps:
                raise OSError(f"{reason}; make room and give the same command again") from None
            tqdm.write(f"training: {reason}; training goes on", file=sys.stderr)

    @torch.no_grad()
    def _latent_scale(self, model: EmoModel) -> float:
        """One over the standard deviation of unscaled latents."""
        images, _ = self.clips.frames(np.random.default_rng(0), FITTED_FRAMES)
        unscaled = model.vae.encode(images.to(self.device)) / model.vae.scaling_factor
        return float(1 / unscaled.std())
