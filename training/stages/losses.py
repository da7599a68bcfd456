"""The loss of each stage (paper, section 3.3)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from training.model.backbone import has_motion
from training.model.conditions import Conditions
from training.model.model import EmoModel
from training.model.schedule import loss_weights, noise_scheduler, training_target
from training.model.warp import WARP_MAPS, WARP_POINTS, composed
from training.samples.clip_folder import ClipFolder, TrainingBatch, WindowChoice
from training.stages.movement import eyelid_error, landmark_error, movement_error, varied
from training.stages.recipe import Recipe
from training.stages.voice_heads import VoiceHeads

#: Weight of the squared error of the mouth against the cross entropy of the phonemes.
MOUTH_SHAPE_WEIGHT = 10.0


class StageLoss:
    """The loss of one stage, for a model and the clips that it learns from or is measured on.

    Args:
        model: whole model, on the device where the loss is computed
        stage: one of `training.stages.stage.STAGES`
        recipe: settings of the stage
        clips: clips to sample from, with latents for the image, video and speed stages
        voice_heads: layers that read phonemes and mouths from the voice, for the audio stage
    """

    def __init__(self, model: EmoModel, stage: str, recipe: Recipe, clips: ClipFolder, voice_heads: VoiceHeads) -> None:
        self.model, self.stage, self.recipe, self.clips = model, stage, recipe, clips
        self.voice_heads = voice_heads
        self.device = next(model.parameters()).device
        self.dtype = model.backbone.conv_in.weight.dtype
        self.scheduler = noise_scheduler(model.config)

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """Loss () of a random batch; all random choices, PyTorch's too, follow from `rng`."""
        own_clips = self.seed(rng)
        return self.compute(own_clips)

    def seed(self, rng: np.random.Generator) -> int:
        """Seeds PyTorch, from which the next batch follows, and chooses how many clips before it are generated."""
        torch.manual_seed(int(rng.integers(2**63)))
        generates = self.stage in ("video", "speed") and rng.random() < self.recipe.own_motion
        return int(rng.integers(1, self.recipe.own_clips + 1)) if generates else 0

    def compute(self, own_clips: int) -> Tensor:
        """Loss () of a random batch. On a GPU nothing waits for the result, so that a CUDA graph can capture it.

        Args:
            own_clips: number of clips before the batch's that the model generates itself, for their motion frames
        """
        if self.stage in ("vae", "decoder"):
            return self._vae_loss()
        if self.stage == "eyelids":
            return self._eyelid_loss()
        if self.stage == "audio":
            return self._audio_loss()
        return self._diffusion_loss(own_clips)

    def _vae_loss(self) -> Tensor:
        images, mouths = self.clips.frames(self.recipe.batch_size)
        vae = self.model.vae
        posterior = vae.posterior(images)
        decoded = vae.reconstruct(posterior.sample())
        weight = 1 + (self.recipe.mouth_weight - 1) * mouths
        error = (weight * (decoded - images).abs()).sum() / (weight.sum() * 3)
        edges = sum(
            (weight.narrow(d, 1, weight.shape[d] - 1) * (decoded - images).diff(dim=d).abs()).mean() for d in (2, 3)
        )
        return error + 0.5 * edges + 1e-6 * posterior.kl().mean()

    def _audio_loss(self) -> Tensor:
        waveform, classes, mouths = self.clips.voices(self.recipe.batch_size)
        encoder = self.model.audio_encoder
        hidden_states = encoder.hidden_states(waveform)
        logits = self.voice_heads.read_phonemes(hidden_states[-1])
        read = self.voice_heads.read_mouth(self.model.audio_projection(encoder.features(hidden_states)))
        wrong_phonemes = nn.functional.cross_entropy(logits.flatten(0, 1), classes.flatten())
        return wrong_phonemes + MOUTH_SHAPE_WEIGHT * (read - mouths).square().mean()

    def _eyelid_loss(self) -> Tensor:
        batch = self.clips.images(self.recipe.batch_size, self.recipe.weights)
        assert self.model.eyelids is not None
        if batch.reference_landmarks is None:
            raise ValueError("no clip has landmarks of the face, from which eyelids learn: take photo puppets")
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):  # places need more than bfloat16
            portraits = self.model.vae.decode(batch.reference_latents.to(self.dtype)).float()
            landmarks = batch.reference_landmarks / portraits.shape[-1]
            portraits, landmarks, shut = varied(portraits, landmarks)
        return eyelid_error(self.model.eyelids(portraits.to(self.dtype)).float(), landmarks, shut)

    def _diffusion_loss(self, own_clips: int) -> Tensor:
        recipe, model = self.recipe, self.model
        size = recipe.batch_size
        heard = torch.rand(size, device=self.device) >= recipe.audio_dropout
        if self.stage == "image":
            batch = self.clips.images(size, recipe.weights, still=recipe.still, voiced=recipe.hears)
            conditions = self.image_conditions(batch, heard)
        else:
            choice = WindowChoice(
                recipe.still,
                recipe.every_speed,
                recipe.first_clips,
                own_clips,
                recipe.other_mouths,
                recipe.closed_mouths,
            )
            batch = self.clips.videos(size, recipe.weights, choice)
            self.generate_motion(batch)
            motion_noise = recipe.motion_noise * torch.rand(size, device=self.device)
            conditions = self.video_conditions(batch, heard, motion_noise)
        latents = batch.latents
        timestep = self._timesteps(size)
        noise = torch.randn_like(latents)
        noisy = self.scheduler.add_noise(latents, noise, timestep)  # type: ignore[arg-type]
        raw = model.backbone(noisy.to(self.dtype), timestep, conditions, temporal=self.stage != "image")
        prediction = composed(self._without_doubts(raw, batch), conditions, model.vae)
        error = (prediction - training_target(self.scheduler, latents, noise, timestep)).square()
        weight = batch.loss_weight
        channels = model.vae.channel_weights() ** recipe.coarse
        error = error * (channels / channels.mean())[:, None, None]
        per_sample = (weight * error).flatten(1).sum(1) / (weight.flatten(1).sum(1) * latents.shape[2])
        loss = (loss_weights(self.scheduler, timestep) * per_sample).mean()
        return loss if conditions.portrait is None else loss + self._movement_loss(raw, batch, conditions)

    def _without_doubts(self, raw: Tensor, batch: TrainingBatch) -> Tensor:
        """A prediction whose difference from the frames does not say what is seen where landmarks say it.

        A picture's error is least where its doubts are blurred. So it would hide lips of which it is not sure.
        """
        if not self.model.config.portrait_warp or not self.recipe.landmark_weight or batch.landmarks is None:
            return raw
        known = batch.landmarks.isfinite().flatten(1).all(1)[:, None, None, None, None]
        prediction, seen = raw[:, :, : -(WARP_POINTS**2)], raw[:, :, -(WARP_POINTS**2) :]
        return torch.cat([prediction, torch.where(known, seen.detach(), seen)], 2)

    def _movement_loss(self, raw: Tensor, batch: TrainingBatch, conditions: Conditions) -> Tensor:
        """Loss () of what a Backbone with a warp predicts about the movement of the portrait."""
        recipe, maps, loss, portrait = self.recipe, raw[:, :, -WARP_MAPS:], raw.new_zeros(()), conditions.portrait
        assert portrait is not None
        weight, side = batch.loss_weight.flatten(0, 1), portrait.shape[-1]
        if recipe.movement_weight:
            with torch.no_grad():
                frames = self.model.vae.decode(batch.latents.to(self.dtype).flatten(0, 1))
            loss = recipe.movement_weight * movement_error(maps, portrait, frames, weight, conditions.lids)
        if recipe.landmark_weight and batch.landmarks is not None and batch.reference_landmarks is not None:
            places = batch.landmarks / side, batch.reference_landmarks / side
            loss = loss + recipe.landmark_weight * landmark_error(maps, *places, weight, conditions.lids)
        return loss

    def image_conditions(self, batch: TrainingBatch, heard: Tensor | None = None) -> Conditions:
        """Conditions of the image stage: the portrait, the face region, and the voice if the batch has one.

        Args:
            batch: batch of single frames
            heard: whether each sample hears its voice (b,); None means that all do
        """
        model, portrait, region = self.model, batch.reference_latents.to(self.dtype), batch.face_region.to(self.dtype)
        gestures = batch.gestures.to(self.dtype)
        no_motion = portrait.new_zeros(len(portrait), model.config.motion_frames, *portrait.shape[1:])
        faces = Conditions.merged(
            model.backbone.reference_conditions(model.reference_net(portrait)[0]),
            model.backbone.known_frame_conditions(portrait, no_motion),
            model.warp_conditions(portrait),
        )
        if batch.waveform is None or batch.position is None:
            return Conditions.merged(faces, model.place(region, gestures))
        heard_around = 2 * model.config.audio_margin + 1  # frames of features that one frame hears
        wanted = batch.position[:, None] + torch.arange(heard_around, device=self.device)
        features = self._features(batch.waveform, heard)
        features = features.gather(1, wanted[..., None].expand(-1, -1, features.shape[-1]))
        return Conditions.merged(faces, model.voice_and_place(features, None, region, gestures))

    @torch.no_grad()
    def _features(self, waveform: Tensor, heard: Tensor | None) -> Tensor:
        """A(f) (b, f + 2m, audio_features) of windows of sound (b, samples), zeros where they are not `heard` (b,)."""
        features: Tensor = self.model.audio_encoder(waveform)
        return features if heard is None else features * heard.to(features)[:, None, None]

    def video_conditions(
        self, batch: TrainingBatch, heard: Tensor | None = None, motion_noise: Tensor | None = None
    ) -> Conditions:
        """Conditions of the video and speed stages.

        Args:
            batch: batch with voices and motion frames
            heard: whether each sample hears its voice (b,); None means that all do
            motion_noise: standard deviation of the noise on the motion frames of each sample (b,); None means no noise
        """
        model = self.model
        assert batch.waveform is not None
        assert batch.motion_latents is not None
        features = self._features(batch.waveform, heard)
        motion = batch.motion_latents.to(self.dtype)
        if motion_noise is not None:
            deviation = motion_noise.to(motion)[:, None, None, None, None] * has_motion(motion)
            motion = motion + deviation * torch.randn_like(motion)
        head_speed = None
        if self.stage == "speed" or self.recipe.knows_speed:
            assert batch.head_speed is not None
            head_speed = batch.head_speed.to(self.dtype)
        region, gestures = batch.face_region.to(self.dtype), batch.gestures.to(self.dtype)
        return Conditions.merged(
            model.voice_and_place(features, head_speed, region, gestures),
            model.portrait_and_motion(batch.reference_latents.to(self.dtype), motion),
        )

    @torch.no_grad()
    def generate_motion(self, batch: TrainingBatch) -> None:
        """Replaces the motion frames by those of the clips before, if the batch has any, generated one after the other.

        First clips have no motion frames and keep none.
        """
        before, motion = batch.before, batch.motion_latents
        if before is None or motion is None:
            return
        self.generate_motion(before)
        conditions = self.video_conditions(before)
        latents = torch.randn_like(before.latents)
        self.scheduler.set_timesteps(1)
        first = int(self.scheduler.timesteps[0])
        timestep = torch.full((len(latents),), first, device=self.device)
        prediction = self.model.backbone(latents.to(self.dtype), timestep, conditions)
        prediction = composed(prediction, conditions, self.model.vae)
        generated = self.scheduler.step(prediction, first, latents).prev_sample  # type: ignore[union-attr]
        batch.motion_latents = torch.where(has_motion(motion), generated[:, -motion.shape[1] :].float(), motion)

    def _timesteps(self, size: int) -> Tensor:
        """Random timesteps (b,), a share of them from the noisiest 40 %, and a share the noisiest one."""
        steps = int(self.scheduler.config["num_train_timesteps"])
        high, pure, place = torch.rand(3, size, device=self.device)
        lowest = 0.6 * (high < self.recipe.high_noise)
        timesteps = (steps * (lowest + (1 - lowest) * place)).long().clamp(max=steps - 1)
        return timesteps.masked_fill(pure < self.recipe.pure_noise, steps - 1)


@torch.no_grad()
def mean_loss(loss: StageLoss, batches: int) -> float:
    """Mean loss on so many batches, which are the same each time."""
    generators = (np.random.Generator(np.random.Philox(key=[0, batch])) for batch in range(batches))
    return float(np.mean([loss(rng).item() for rng in generators]))
