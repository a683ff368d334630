"""One move of each player, as in algorithm 1 of Goodfellow et al. 2014 (arXiv:1406.2661). Tensors in, tensors out.

Nothing here waits for the device: a step that is not finite is vetoed there, and seen when the metrics are read.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.adversarial.augment import seen_by_d
from gan.adversarial.distributed import ALONE, Ranks
from gan.adversarial.losses import Loss, loss_of
from gan.adversarial.networks import TrainedNetwork
from gan.adversarial.optimizers import descend
from gan.adversarial.penalties import gradient_penalty, zero_centred
from gan.architectures.discriminator import Discriminator, DiscriminatorOutput
from gan.frozen import frozen
from gan.layers.minibatch import MinibatchDiscrimination
from gan.layers.virtual_batchnorm import VirtualBatchNorm2d
from gan.randomness import Draws
from gan.spec.fields import TrainSpec

D_METRICS: Final = ("loss_d", "d_accuracy", "real_logit", "fake_logit", "penalty_d", "class_loss_d", "grad_norm_d")
G_METRICS: Final = ("loss_g", "grad_norm_g")

# Layers through which the images of a batch see each other.
_MIXERS: Final = (nn.modules.batchnorm._BatchNorm, VirtualBatchNorm2d, MinibatchDiscrimination)


@dataclass(frozen=True)
class ScheduledValues:
    """What schedules set for one step."""

    noise: float = 0.0
    """Deviation of the instance noise."""
    penalty_weights: tuple[float, ...] = ()
    """One for each of the spec's penalties."""


@dataclass(frozen=True, eq=False)
class AdversarialStep:
    """Both players on one device, and the rules of their spec. `draws` is training's noise."""

    g: TrainedNetwork
    d: TrainedNetwork
    spec: TrainSpec
    draws: Draws
    ranks: Ranks = ALONE
    bf16: bool = False
    loss: Loss = field(init=False)
    judges_alone: bool = field(init=False)
    """Whether what D says of an image rests on that image alone, and on no other of its batch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", loss_of(self.spec))
        object.__setattr__(self, "judges_alone", not any(isinstance(m, _MIXERS) for m in self.d.network.modules()))

    def d_step(self, real: Tensor, labels: Tensor | None, z: Tensor, scheduled: ScheduledValues) -> Tensor:
        """One update of D on reals (N, C, S, S) and as many fakes of the same labels. G is held still.

        Returns `D_METRICS`, (7,) on the device.
        """
        with frozen(self.g.network):
            fake = self._draw(z, labels)
        return self._move_d(real, fake, labels, scheduled)

    def g_step(
        self, z: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None = None
    ) -> Tensor:
        """One update of G through D, which is held still: the gradient passes D and moves G alone.

        `real` (N, C, S, S), of the same labels, where the spec's `g_sees_reals` says so. Returns `G_METRICS`, (2,) on
        the device.
        """
        with self.g.move() as said:
            fake = self._draw(z, labels)
            told, vetoed = self._move_g(fake, labels, scheduled, real)
            said.append(vetoed)
        return told

    def both_steps(self, real: Tensor, labels: Tensor | None, z: Tensor, scheduled: ScheduledValues) -> Tensor:
        """`d_step`, then `g_step` on the same fakes, which are drawn once: G does not move before its turn.

        So did the authors of DCGAN in their own code. For games whose G does not look at reals. Returns `D_METRICS`
        and `G_METRICS`, (9,) on the device.
        """
        assert not self.spec.g_sees_reals
        with self.g.move() as said:
            fake = self._draw(z, labels)
            of_d = self._move_d(real, fake.detach(), labels, scheduled)
            of_g, vetoed = self._move_g(fake, labels, scheduled, None)
            said.append(vetoed)
        return torch.cat([of_d, of_g])

    @torch.no_grad()
    def measure_d(self, real: Tensor, labels: Tensor | None, z: Tensor, scheduled: ScheduledValues) -> Tensor:
        """`D_METRICS` while it is G's turn alone: nobody moves, no gradient, no penalty."""
        with frozen(self.g.network), frozen(self.d.network):
            fake = self._draw(z, labels)
            of_real, of_fake = (
                self._judge(self._seen(images.float(), scheduled), labels, False) for images in (real, fake)
            )
        zero = of_real.logits.new_zeros(())
        told = torch.stack([*self._d_metrics(labels, of_real, of_fake, zero), zero])
        self.ranks.mean([told])
        return told

    @torch.no_grad()
    def measure_g(
        self, z: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None = None
    ) -> Tensor:
        """`G_METRICS` while it is D's turn alone: nobody moves, no gradient."""
        with frozen(self.g.network), frozen(self.d.network):
            fake = self._draw(z, labels)
            loss, _ = self._g_terms(fake, labels, scheduled, real)
        told = torch.stack([loss, loss.new_zeros(())])
        self.ranks.mean([told])
        return told

    def _draw(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Fakes (N, C, S, S), as G is now."""
        with self._precision():
            fakes: Tensor = self.g.network(z, labels)
        return fakes

    def _move_d(self, real: Tensor, fake: Tensor, labels: Tensor | None, scheduled: ScheduledValues) -> Tensor:
        """D's update on both; `fake` has no way back to G."""
        with self.d.move() as said:
            real, fake = (self._seen(images.float(), scheduled) for images in (real, fake))
            r1, r2 = (self._weight_of(kind, scheduled) > 0 for kind in ("r1", "r2"))
            of_real, of_fake = self._judge_both(real, fake, labels, r1, r2)
            penalty = self._penalty(real, fake, labels, of_real, of_fake, scheduled)
            metrics = self._d_metrics(labels, of_real, of_fake, penalty)
            loss, class_loss = metrics[0], metrics[-1]
            total = self._with_history(self.d, loss + penalty + self.spec.conditioning.class_weight * class_loss)
            norm, told, vetoed = descend(self.d.optimizer, total, metrics, self.ranks)
            said.append(vetoed)
        self._clip()
        return torch.cat([told, norm[None]])

    def _move_g(
        self, fake: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """G's update on `fake`, which knows its way back to G: `G_METRICS`, and whether it was vetoed."""
        with frozen(self.d.network):
            loss, class_loss = self._g_terms(fake, labels, scheduled, real)
            total = self._with_history(self.g, loss + self.spec.conditioning.class_weight * class_loss)
            norm, told, vetoed = descend(self.g.optimizer, total, [loss], self.ranks)
        return torch.cat([told, norm[None]]), vetoed

    def _d_metrics(
        self, labels: Tensor | None, of_real: DiscriminatorOutput, of_fake: DiscriminatorOutput, penalty: Tensor
    ) -> list[Tensor]:
        """`D_METRICS` but for the gradient's norm, in their order: D's loss the first, its class loss the last."""
        real_logits, fake_logits = of_real.logits, of_fake.logits
        loss, accuracy = self.loss.d(real_logits, fake_logits), self.loss.d_accuracy(real_logits, fake_logits)
        class_loss = self._class_loss(labels, of_real, of_fake)
        return [loss, accuracy, real_logits.mean(), fake_logits.mean(), penalty, class_loss]

    def _g_terms(
        self, fake: Tensor, labels: Tensor | None, scheduled: ScheduledValues, real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """G's loss, and what D's class head makes of the fakes."""
        of_fake = self._judge(self._seen(fake.float(), scheduled), labels, False)
        of_real = None
        if real is not None:
            with torch.no_grad():
                of_real = self._judge(self._seen(real, scheduled), labels, False)
        if self.spec.stabilizers.feature_matching:
            assert of_real is not None
            loss = feature_distance(of_real.features, of_fake.features)
        else:
            loss = self.loss.g(of_fake.logits, None if of_real is None else of_real.logits)
        return loss, self._class_loss(labels, of_fake)

    def _judge_both(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, r1: bool, r2: bool
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """D's judgement of reals and of fakes: their features in one pass, where each image is judged by itself.

        The head looks at each half by itself: a critic's bias has a gradient of exactly zero then, and stays.
        """
        if not self.judges_alone or r1 or r2:
            return self._judge(real, labels, r1), self._judge(fake, labels, r2)
        D, both = cast(Discriminator, self.d.network), None if labels is None else torch.cat([labels, labels])
        with self._precision():
            halves = D.features(torch.cat([real, fake]), both).chunk(2)
            of_real, of_fake = (D.head(features, labels) for features in halves)
        return _in_full(of_real), _in_full(of_fake)

    def _judge(self, images: Tensor, labels: Tensor | None, penalised: bool) -> DiscriminatorOutput:
        """D's judgement in fp32; in full precision throughout where its gradient in the images is penalised."""
        images.requires_grad_(penalised or images.requires_grad)
        with self._precision(enabled=not penalised):
            judged = cast(Discriminator, self.d.network).judge(images, labels)
        return _in_full(judged)

    def _penalty(
        self,
        real: Tensor,
        fake: Tensor,
        labels: Tensor | None,
        of_real: DiscriminatorOutput,
        of_fake: DiscriminatorOutput,
        scheduled: ScheduledValues,
    ) -> Tensor:
        """The weighted sum of the spec's penalties, a scalar; 0 without any."""
        total = of_real.logits.new_zeros(())
        if weight := self._weight_of("gradient_penalty", scheduled):
            mix = self.draws.uniform(len(real), 1, 1, 1)
            total = total + weight * gradient_penalty(
                lambda between: self._judge(between, labels, True).logits, real, fake, mix
            )
        if weight := self._weight_of("r1", scheduled):
            total = total + weight * zero_centred(of_real.logits, real)
        if weight := self._weight_of("r2", scheduled):
            total = total + weight * zero_centred(of_fake.logits, fake)
        return total

    def _weight_of(self, kind: str, scheduled: ScheduledValues) -> float:
        weights = zip(self.spec.penalties, scheduled.penalty_weights, strict=True)
        return next((weight for penalty, weight in weights if penalty.kind == kind), 0.0)

    def _class_loss(self, labels: Tensor | None, *judged: DiscriminatorOutput) -> Tensor:
        """-E log P(class | image), summed over reals and fakes (Odena et al. 2017, arXiv:1610.09585, equation 3)."""
        total = judged[0].logits.new_zeros(())
        for one in judged:
            if one.class_logits is not None:
                assert labels is not None
                total = total + F.cross_entropy(one.class_logits, labels)
        return total

    def _with_history(self, player: TrainedNetwork, loss: Tensor) -> Tensor:
        weight = self.spec.stabilizers.historical_averaging
        return loss if player.history is None else loss + weight * player.history.distance()

    def _seen(self, images: Tensor, scheduled: ScheduledValues) -> Tensor:
        return seen_by_d(images, self.spec.stabilizers.augmentation, scheduled.noise, self.draws)

    @torch.no_grad()
    def _clip(self) -> None:
        """Hold D's weights within [-c, c] (Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1, line 7)."""
        if bound := self.spec.stabilizers.weight_clip:
            for weight in self.d.network.parameters():
                weight.clamp_(-bound, bound)

    def _precision(self, enabled: bool = True) -> AbstractContextManager[object]:
        return torch.autocast(self.draws.device.type, dtype=torch.bfloat16, enabled=enabled and self.bf16)


def _in_full(judged: DiscriminatorOutput) -> DiscriminatorOutput:
    class_logits = None if judged.class_logits is None else judged.class_logits.float()
    return DiscriminatorOutput(judged.logits.float(), class_logits, judged.features.float())


def feature_distance(of_reals: Tensor, of_fakes: Tensor) -> Tensor:
    """|E f(x) - E f(G(z))|^2 of D's features (N, F): of their batch means, not of single images
    (Salimans et al. 2016, arXiv:1606.03498, equation of section 3.1).
    """
    return (of_reals.mean(0) - of_fakes.mean(0)).square().sum()
