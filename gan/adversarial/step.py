"""The updates of D and of G, as in algorithm 1 of Goodfellow et al. 2014 (arXiv:1406.2661). Tensors in, tensors out.

No function here waits for the device. An update whose loss or gradient is not finite is skipped there, and the CPU
learns of it when it reads the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.adversarial.augment import augment
from gan.adversarial.distributed import ALONE, Ranks
from gan.adversarial.losses import Loss, loss_of
from gan.adversarial.networks import TrainedNetwork
from gan.adversarial.optimizers import descend
from gan.adversarial.penalties import gradient_penalty, zero_centered_penalty
from gan.architectures.discriminator import Discriminator, DiscriminatorOutput
from gan.frozen import frozen
from gan.layers.minibatch import MinibatchDiscrimination
from gan.layers.virtual_batchnorm import VirtualBatchNorm2d
from gan.randomness import Draws
from gan.spec.fields import CROSS_ENTROPY, PenaltyKind, TrainSpec

SCORES: Final = ("real_score", "fake_score")
"""The means of D(x) and of D(G(z)), 0..1. Only a D that minimises a cross entropy has them."""
D_METRICS: Final = (
    "loss_d", "d_accuracy", "real_logit", "fake_logit", *SCORES, "penalty_d", "class_loss_d", "grad_norm_d"
)  # fmt: skip
G_METRICS: Final = ("loss_g", "grad_norm_g")


def d_metrics(spec: TrainSpec) -> tuple[str, ...]:
    """Return the names of the metrics of an update of D under `spec`: `D_METRICS`, without scores if it has none."""
    return tuple(name for name in D_METRICS if has_scores(spec) or name not in SCORES)


def has_scores(spec: TrainSpec) -> bool:
    """Return whether the sigmoid of D's logit is a probability under `spec`, so that there are `SCORES`."""
    return spec.loss.kind in CROSS_ENTROPY


# Layers whose output for one image depends on the other images of the batch.
_BATCH_LAYERS: Final = (nn.modules.batchnorm._BatchNorm, VirtualBatchNorm2d, MinibatchDiscrimination)


@dataclass(frozen=True)
class ScheduledValues:
    """The values that schedules set for one step."""

    noise: float = 0.0
    """Standard deviation of the instance noise."""
    penalty_weights: tuple[float, ...] = ()
    """The weight of each penalty of the spec."""


class ShownBatch(NamedTuple):
    """A batch that D sees in its own update."""

    images: Tensor
    """(N, C, S, S) in [-1, 1]; they require a gradient if R1 or R2 penalises it."""
    augmented: Tensor
    """What D gets, a differentiable function of `images`."""


@dataclass(frozen=True, eq=False)
class AdversarialStep:
    """The updates of D and G on one device, as a spec asks for them. `draws` is the source of training's noise."""

    g: TrainedNetwork
    d: TrainedNetwork
    spec: TrainSpec
    draws: Draws
    ranks: Ranks = ALONE
    bf16: bool = False
    loss: Loss = field(init=False)
    d_is_per_image: bool = field(init=False)
    """Whether D's output for an image depends on that image alone, and on no other image of the batch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", loss_of(self.spec))
        per_image = not any(isinstance(m, _BATCH_LAYERS) for m in self.d.network.modules())
        object.__setattr__(self, "d_is_per_image", per_image)

    def d_step(self, real: Tensor, labels: Tensor | None, z: Tensor, scheduled: ScheduledValues) -> Tensor:
        """Update D once, on reals (N, C, S, S) and on N fakes of the same labels. G is frozen.

        Returns the `d_metrics` of the spec, (9,) or (7,) on the device.
        """
        # Draw N fakes G(z).
        with frozen(self.g.network):
            fake = self._generate(z, labels)
        # Update D by its gradient on the reals x and on the fakes.
        return self._update_d(real, fake, labels, scheduled)

    def g_step(
        self, z: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None = None
    ) -> Tensor:
        """Update G once. The gradient flows through D, which is frozen.

        `real` (N, C, S, S), with the same labels, is needed if the spec's `g_sees_reals` is true. Returns
        `G_METRICS`, (2,) on the device.
        """
        buffers = self.g.copy_buffers()
        # Draw N fakes G(z), with a gradient in G.
        fake = self._generate(z, labels)
        # Update G by its gradient through D(G(z)).
        return self._update_g(fake, buffers, labels, scheduled, real)

    def both_steps(self, real: Tensor, labels: Tensor | None, z: Tensor, scheduled: ScheduledValues) -> Tensor:
        """Update D, then G, on the same fakes. They are drawn once, because G does not change before its own update.

        The authors of DCGAN do the same in their code. The loss of G must not need reals. Returns the `d_metrics` of
        the spec and `G_METRICS`, (11,) or (9,) on the device.
        """
        assert not self.spec.g_sees_reals
        buffers = self.g.copy_buffers()
        # Draw N fakes G(z), with a gradient in G.
        fake = self._generate(z, labels)
        # Update D, without a gradient in G.
        d_metrics = self._update_d(real, fake.detach(), labels, scheduled)
        # Update G through the new D.
        g_metrics = self._update_g(fake, buffers, labels, scheduled, None)
        return torch.cat([d_metrics, g_metrics])

    @torch.no_grad()
    def measure_d(self, real: Tensor, labels: Tensor | None, z: Tensor, scheduled: ScheduledValues) -> Tensor:
        """Return `d_metrics` for a step without an update of D. Nothing changes; penalty and gradient norm are 0."""
        with frozen(self.g.network), frozen(self.d.network):
            fake = self._generate(z, labels)
            real_output, fake_output = (
                self._d_output(self._augment(images.float(), scheduled), labels, False) for images in (real, fake)
            )
        zero = real_output.logits.new_zeros(())
        metrics = torch.stack([*self._d_metrics(labels, real_output, fake_output, zero), zero])
        self.ranks.mean([metrics])
        return metrics

    @torch.no_grad()
    def measure_g(
        self, z: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None = None
    ) -> Tensor:
        """Return `G_METRICS` for a step without an update of G. Nothing changes; the gradient norm is 0."""
        with frozen(self.g.network), frozen(self.d.network):
            fake = self._generate(z, labels)
            loss, _ = self._g_losses(fake, labels, scheduled, real)
        metrics = torch.stack([loss, loss.new_zeros(())])
        self.ranks.mean([metrics])
        return metrics

    def _update_d(self, real: Tensor, fake: Tensor, labels: Tensor | None, scheduled: ScheduledValues) -> Tensor:
        """Update D on `real` and `fake`, both (N, C, S, S); `fake` has no gradient in G. Return `d_metrics`."""
        buffers = self.d.copy_buffers()
        # D sees augmented images.
        reals, fakes = self._shown(real, "r1", scheduled), self._shown(fake, "r2", scheduled)
        # D(x) and D(G(z)).
        real_output, fake_output = self._d_outputs(reals, fakes, labels)
        # D's loss, the penalties on D's gradient, and the class loss.
        penalty = self._penalty(reals, fakes, labels, real_output, fake_output, scheduled)
        metrics = self._d_metrics(labels, real_output, fake_output, penalty)
        loss, class_loss = metrics[0], metrics[-1]
        total = loss + penalty + self.spec.conditioning.class_weight * class_loss
        # One optimizer step down the gradient of the total in D's weights.
        descent = descend(self.d.optimizer, self._with_history(self.d, total), metrics, self.ranks)
        self.d.finish_update(buffers, descent.skipped)
        self._clip_weights()
        return torch.cat([descent.metrics, descent.grad_norm[None]])

    def _update_g(
        self,
        fake: Tensor,
        buffers: Sequence[Tensor],
        labels: Tensor | None,
        scheduled: ScheduledValues,
        real: Tensor | None,
    ) -> Tensor:
        """Update G on `fake` (N, C, S, S), which has a gradient in G. Return `G_METRICS`.

        `buffers` are copies of G's buffers from before `fake` was drawn.
        """
        with frozen(self.d.network):
            # G's loss on D(G(z)), and the class loss of the fakes.
            loss, class_loss = self._g_losses(fake, labels, scheduled, real)
            total = loss + self.spec.conditioning.class_weight * class_loss
            # One optimizer step down the gradient of the total in G's weights.
            descent = descend(self.g.optimizer, self._with_history(self.g, total), [loss], self.ranks)
        metrics = torch.cat([descent.metrics, descent.grad_norm[None]])
        self.g.finish_update(buffers, descent.skipped)
        return metrics

    def _generate(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return G(z), (N, C, S, S) in [-1, 1]."""
        with self._autocast():
            fakes: Tensor = self.g.network(z, labels)
        return fakes

    def _d_metrics(
        self,
        labels: Tensor | None,
        real_output: DiscriminatorOutput,
        fake_output: DiscriminatorOutput,
        penalty: Tensor,
    ) -> list[Tensor]:
        """Return the scalars of `d_metrics` without the gradient norm: D's loss is the first, class loss the last."""
        real_logits, fake_logits = real_output.logits, fake_output.logits
        loss, accuracy = self.loss.d(real_logits, fake_logits), self.loss.d_accuracy(real_logits, fake_logits)
        class_loss = self._class_loss(labels, real_output, fake_output)
        scores = [logits.sigmoid().mean() for logits in (real_logits, fake_logits)] if has_scores(self.spec) else []
        return [loss, accuracy, real_logits.mean(), fake_logits.mean(), *scores, penalty, class_loss]

    def _g_losses(
        self, fake: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return G's loss and the class loss of the fakes, both scalars."""
        fake_output = self._d_output(self._augment(fake.float(), scheduled), labels, False)
        real_output = None
        if real is not None:
            with torch.no_grad():
                real_output = self._d_output(self._augment(real, scheduled), labels, False)
        if self.spec.stabilizers.feature_matching:
            assert real_output is not None
            loss = feature_distance(real_output.features, fake_output.features)
        else:
            loss = self.loss.g(fake_output.logits, None if real_output is None else real_output.logits)
        return loss, self._class_loss(labels, fake_output)

    def _shown(self, images: Tensor, penalty: PenaltyKind, scheduled: ScheduledValues) -> ShownBatch:
        """Return `images` as D sees them, ready for the kind of penalty that is taken on them."""
        images = images.detach().float().requires_grad_(self._penalty_weight(penalty, scheduled) > 0)
        return ShownBatch(images, self._augment(images, scheduled))

    def _d_outputs(
        self, reals: ShownBatch, fakes: ShownBatch, labels: Tensor | None
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """Return D's outputs for reals and for fakes.

        If D's output depends on each image alone, one pass computes the features of both. The head still runs on each
        half by itself: the gradient of a critic's bias is then exactly zero, and the bias stays as it is.
        """
        r1, r2 = reals.images.requires_grad, fakes.images.requires_grad
        if not self.d_is_per_image or r1 or r2:
            return self._d_output(reals.augmented, labels, r1), self._d_output(fakes.augmented, labels, r2)
        D, both = cast(Discriminator, self.d.network), None if labels is None else torch.cat([labels, labels])
        with self._autocast():
            halves = D.features(torch.cat([reals.augmented, fakes.augmented]), both).chunk(2)
            real_output, fake_output = (D.head(features, labels) for features in halves)
        return _in_fp32(real_output), _in_fp32(fake_output)

    def _d_output(self, images: Tensor, labels: Tensor | None, penalised: bool) -> DiscriminatorOutput:
        """Return D's output in fp32. If its gradient in the images is penalised, all of D computes in fp32."""
        with self._autocast(enabled=not penalised):
            output = cast(Discriminator, self.d.network).outputs(images, labels)
        return _in_fp32(output)

    def _penalty(
        self,
        reals: ShownBatch,
        fakes: ShownBatch,
        labels: Tensor | None,
        real_output: DiscriminatorOutput,
        fake_output: DiscriminatorOutput,
        scheduled: ScheduledValues,
    ) -> Tensor:
        """Return the weighted sum of the spec's penalties, a scalar; 0 without penalties.

        R1 and R2 are taken through the augmentation, on the gradient in the images before it. The points of the
        gradient penalty lie between augmented reals and augmented fakes, because no augmentation is common to a pair.
        """
        total = real_output.logits.new_zeros(())
        if weight := self._penalty_weight("gradient_penalty", scheduled):
            mix = self.draws.uniform(len(reals.images), 1, 1, 1)
            total = total + weight * gradient_penalty(
                lambda between: self._d_output(between, labels, True).logits, reals.augmented, fakes.augmented, mix
            )
        if weight := self._penalty_weight("r1", scheduled):
            total = total + weight * zero_centered_penalty(real_output.logits, reals.images)
        if weight := self._penalty_weight("r2", scheduled):
            total = total + weight * zero_centered_penalty(fake_output.logits, fakes.images)
        return total

    def _penalty_weight(self, kind: PenaltyKind, scheduled: ScheduledValues) -> float:
        """Return the weight of a kind of penalty in this step; 0 if the spec does not have it."""
        weights = zip(self.spec.penalties, scheduled.penalty_weights, strict=True)
        return next((weight for penalty, weight in weights if penalty.kind == kind), 0.0)

    def _class_loss(self, labels: Tensor | None, *outputs: DiscriminatorOutput) -> Tensor:
        """Return -E log P(class | image), summed over `outputs`, a scalar; 0 without a class head.

        Odena et al. 2017, arXiv:1610.09585, equation 3.
        """
        total = outputs[0].logits.new_zeros(())
        for output in outputs:
            if output.class_logits is not None:
                assert labels is not None
                total = total + F.cross_entropy(output.class_logits, labels)
        return total

    def _with_history(self, trained: TrainedNetwork, loss: Tensor) -> Tensor:
        """Return `loss` plus the weighted distance to the mean of past weights, if the spec asks for it."""
        weight = self.spec.stabilizers.historical_averaging
        return loss if trained.history is None else loss + weight * trained.history.distance()

    def _augment(self, images: Tensor, scheduled: ScheduledValues) -> Tensor:
        return augment(images, self.spec.stabilizers.augmentation, scheduled.noise, self.draws)

    @torch.no_grad()
    def _clip_weights(self) -> None:
        """Clip D's weights to [-c, c] (Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1, line 7)."""
        if bound := self.spec.stabilizers.weight_clip:
            for weight in self.d.network.parameters():
                weight.clamp_(-bound, bound)

    def _autocast(self, enabled: bool = True) -> AbstractContextManager[object]:
        return torch.autocast(self.draws.device.type, dtype=torch.bfloat16, enabled=enabled and self.bf16)


def _in_fp32(output: DiscriminatorOutput) -> DiscriminatorOutput:
    class_logits = None if output.class_logits is None else output.class_logits.float()
    return DiscriminatorOutput(output.logits.float(), class_logits, output.features.float())


def feature_distance(real_features: Tensor, fake_features: Tensor) -> Tensor:
    """Return |E f(x) - E f(G(z))|^2 between the batch means of D's features (N, F), a scalar.

    Feature matching: Salimans et al. 2016, arXiv:1606.03498, section 3.1.
    """
    return (real_features.mean(0) - fake_features.mean(0)).square().sum()
