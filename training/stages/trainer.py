"""Trains one stage, from a checkpoint to a checkpoint."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.models.resnet import ResnetBlock2D
from safetensors import SafetensorError
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from training.clips.phonemes import PHONEME_CLASSES
from training.model.attention import SpatialBlock
from training.model.model import EmoModel
from training.model.temporal import TemporalBlock
from training.stages.data import ClipFolder, Weights
from training.stages.log import TrainingLog
from training.stages.losses import StageLoss
from training.stages.recipe import Recipe
from training.stages.sample_pictures import diffusion_grid, reconstruction_grid

#: Fields that a stage's clips must have; footage without them is left out.
NEEDS = {"audio": ("waveform", "phoneme_class"), "video": ("waveform",), "speed": ("waveform", "head_speed")}


#: Of the loss on held-out clips.
HELD_OUT_BATCHES = 16


def trained_parameters(model: EmoModel, stage: str) -> list[str]:
    """Names of the parameters that a stage trains (paper, section 3.3)."""

    def trains(name: str) -> bool:
        part = name.split(".", 1)[0]
        temporal, speed = "motion_modules" in name, "_speed" in name
        audio = any(layer in name for layer in ("_audio.", "audio_embedding."))
        if stage in ("vae", "audio"):
            return part == {"vae": "vae", "audio": "audio_encoder"}[stage]
        if stage == "decoder":
            return name.startswith(
                ("vae.autoencoder.decoder.", "vae.autoencoder.post_quant_conv.", "vae.shortcut_decoder.")
            )
        if stage == "image":
            return part in ("backbone", "reference_net", "face_locator") and not (temporal or audio)
        if stage == "video":
            return part in ("backbone", "reference_net", "face_locator", "audio_projection") and not speed
        return part == "speed_encoder" or (part == "backbone" and temporal)

    return [name for name, _ in model.named_parameters() if trains(name)]


def checkpoint_activations(model: EmoModel) -> None:
    """Let the blocks of both UNets keep only their inputs for the backward pass, which computes the rest again."""
    for network in (model.backbone, model.reference_net):
        for block in network.modules():
            if isinstance(block, ResnetBlock2D | SpatialBlock | TemporalBlock):
                block.forward = partial(  # type: ignore[method-assign]
                    checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
                )


def normalise_in_float32(model: EmoModel) -> None:
    """Let group norms compute in float32 whatever they are given: in bfloat16 a CPU takes three times as long."""
    for layer in model.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


class Trainer:
    """One stage of training, from a checkpoint to a checkpoint; ``state.pt`` in ``out`` resumes it exactly.

    ``out`` also gets ``log.jsonl`` (step, loss, frames per second) and TensorBoard's files. The loss on the clips
    in ``held_out``, which do not train, is logged whenever the run is saved. On ``cuda``, each process takes a GPU.
    """

    def __init__(
        self,
        model: EmoModel,
        stage: str,
        recipe: Recipe,
        data: Path,
        out: Path,
        seed: int,
        device: str = "cpu",
        mixed_precision: str = "no",
        held_out: Path | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        self.stage, self.recipe, self.out, self.seed = stage, recipe, out, seed
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed_precision)
        self.device = self.accelerator.device
        self.model = model.to(self.device)
        if gradient_checkpointing:
            checkpoint_activations(model)
        self.attention: Callable[[], AbstractContextManager[None]] = nullcontext
        if self.device.type == "cpu" and mixed_precision == "bf16":
            # The backward pass of PyTorch's fused attention is nine times as slow in bfloat16 as in float32 there.
            self.attention = partial(sdpa_kernel, SDPBackend.MATH)
            normalise_in_float32(model)
        encoded = stage not in ("vae", "decoder", "audio")
        vae = model.vae.eval() if encoded else None
        processes = (self.accelerator.process_index, self.accelerator.num_processes)
        clips = (model.config, vae, NEEDS.get(stage, ()), processes, stage != "audio")
        self.clips = ClipFolder(data, *clips)
        if stage == "vae" and model.config.vae_shortcut:
            images, _ = self.clips.frames(np.random.default_rng(seed), 256)
            model.vae.fit_shortcut(images.to(self.device))
        #: Reads phonemes from the last block of the audio encoder; only its stage needs it.
        self.phoneme_head = nn.Linear(model.config.wav2vec2["hidden_size"], len(PHONEME_CLASSES)).to(self.device)
        names = set(trained_parameters(model, stage))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)
        model.eval()  # there is no dropout anywhere; conditions are dropped here
        if stage != "speed":  # PyTorch's channels-last GroupNorm crashes on a CPU where its input needs no gradient
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trained = [parameter for name, parameter in model.named_parameters() if name in names]
        if stage == "audio":
            self.trained += self.phoneme_head.parameters()
        self.optimizer = torch.optim.AdamW(self.trained, lr=recipe.learning_rate, weight_decay=0.01, fused=True)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
        self.step = 0
        self.loss = StageLoss(model, stage, recipe, self.clips, self.phoneme_head)
        self.held_out_loss = None
        if held_out:
            others = ClipFolder(held_out, *clips)
            self.held_out_loss = StageLoss(self.averaged, stage, recipe, others, self.phoneme_head)

    def run(self, save_every: int) -> None:
        """Train until the recipe's last step; save now and then, and at the end. The first process saves and logs.

        Raises ``OSError`` if the end cannot be saved; before the end, training goes on without.
        """
        first = self.accelerator.is_main_process
        self.out.mkdir(parents=True, exist_ok=True)
        if (self.out / "state.pt").exists():
            self._resume()
        log = TrainingLog(self.out, self.step) if first else None
        losses: list[float] = []
        since = time.monotonic()
        with tqdm(
            total=self.recipe.steps, initial=self.step, desc=self.stage, unit="step", disable=not first
        ) as progress:
            while self.step < self.recipe.steps:
                losses.append(self._train_step())
                progress.update()
                last = self.step == self.recipe.steps
                if log and (self.step % 20 == 0 or last):
                    loss = sum(losses) / len(losses)
                    frames_per_second = self._frames(len(losses)) / (time.monotonic() - since)
                    log.write(self.step, loss, frames_per_second)
                    progress.set_postfix(loss=f"{loss:.4f}", frames_per_second=f"{frames_per_second:.0f}")
                    losses, since = [], time.monotonic()
                if log and (self.step % save_every == 0 or last):
                    self._try_to_save()
                    log.pictures(self.step, self.sample_grid())
                    if self.held_out_loss:
                        log.write_held_out(self.step, self.mean_held_out_loss(self.held_out_loss))

    def _frames(self, steps: int) -> int:
        """Frames of video, or of the sound that goes with them, that so many steps learn from."""
        config, recipe = self.model.config, self.recipe
        frames = {"video": config.clip_frames, "speed": config.clip_frames, "audio": config.audio_window_frames}
        batches = steps * recipe.accumulate * self.accelerator.num_processes
        return batches * recipe.batch_size * frames.get(self.stage, 1)

    def _train_step(self) -> float:
        warmup = min(1.0, (self.step + 1) / 100)
        decay = 0.55 + 0.45 * math.cos(math.pi * self.step / self.recipe.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * warmup * decay
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(self.recipe.accumulate):
            # A batch's data and noise follow from (seed, batch, process) alone: a resumed run is an uninterrupted one.
            batch = self.step * self.recipe.accumulate + part
            rng = np.random.Generator(np.random.Philox(key=[self.seed, batch * processes + process]))
            with self.accelerator.autocast(), self.attention():
                loss = self.loss(rng) / self.recipe.accumulate
            loss.backward()
            total += loss.item()
        if processes > 1:
            gradients = [p.grad for p in self.trained if p.grad is not None]
            mean = self.accelerator.reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]), "mean")
            for gradient, values in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(values.view(gradient.shape))
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return total

    @property
    def averaged(self) -> EmoModel:
        """The model with averaged weights: what a checkpoint holds."""
        model = self.average.module
        assert isinstance(model, EmoModel)
        return model

    @torch.no_grad()
    def mean_held_out_loss(self, loss: StageLoss) -> float:
        """Of the averaged model, on batches that are the same each time."""
        batches = (np.random.Generator(np.random.Philox(key=[0, batch])) for batch in range(HELD_OUT_BATCHES))
        return float(np.mean([loss(rng).item() for rng in batches]))

    @torch.no_grad()
    def sample_grid(self) -> np.ndarray | None:
        """What the averaged model makes of a few training samples, as one RGB uint8 picture; None for a voice."""
        rng, model = np.random.default_rng(0), self.averaged
        if self.stage == "audio":
            return None
        if self.stage in ("vae", "decoder"):
            return reconstruction_grid(model, self.clips.frames(rng, 8)[0].to(self.device))
        loss = StageLoss(model, self.stage, self.recipe, self.clips, self.phoneme_head)
        if self.stage == "image":
            batch = self.clips.images(rng, 4, Weights())
            conditions = loss.image_conditions(batch)
        else:
            batch = self.clips.videos(rng, 4, Weights())
            conditions = loss.video_conditions(batch)
        return diffusion_grid(model, batch, conditions, temporal=self.stage != "image")

    def _try_to_save(self) -> None:
        """Save; a full disk stops training only at its end. What was saved before stays until the new is whole."""
        partial = self.out / "partial"
        try:
            self._save(partial)
        except (OSError, RuntimeError, SafetensorError) as error:  # as Python, PyTorch and safetensors call a full disk
            reason = f"cannot save step {self.step} to {self.out}: {str(error).splitlines()[0]}"
            if self.step == self.recipe.steps:
                raise OSError(f"{reason}; make room and give the same command again") from None
            tqdm.write(f"training: {reason}; training goes on", file=sys.stderr)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _save(self, partial: Path) -> None:
        if self.stage == "vae":
            self.averaged.vae.autoencoder.register_to_config(scaling_factor=self._latent_scale(self.averaged))
        self.averaged.save(partial)
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "head": self.phoneme_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, partial / "state.pt")
        for path in sorted(path for path in partial.rglob("*") if path.is_file()):
            kept = self.out / path.relative_to(partial)
            kept.parent.mkdir(exist_ok=True)
            path.replace(kept)

    def _resume(self) -> None:
        path = self.out / "state.pt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.phoneme_head.load_state_dict(state["head"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except Exception as error:  # a pickle can break in any way
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} is no state of this run: {reason}; delete it, or choose another --out") from None

    @torch.no_grad()
    def _latent_scale(self, model: EmoModel) -> float:
        """One over the standard deviation of unscaled latents."""
        images, _ = self.clips.frames(np.random.default_rng(0), 256)
        unscaled = model.vae.encode(images.to(self.device)) / model.vae.scaling_factor
        return float(1 / unscaled.std())
