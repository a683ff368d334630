"""The state of a training run: networks, optimizers, data order and noise. It advances by whole steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from gan.adversarial.alternation import Updates, updates_of, updates_per_epoch
from gan.adversarial.distributed import Ranks
from gan.adversarial.ema import Ema
from gan.adversarial.networks import TrainedNetwork, trained_networks
from gan.adversarial.optimizers import set_learning_rate
from gan.adversarial.precision import precision_on
from gan.adversarial.schedules import linear_fade, schedule_factor
from gan.adversarial.step import D_METRICS, G_METRICS, AdversarialStep, ScheduledValues, d_metrics
from gan.architectures import build_networks, place_network
from gan.data import ImageDataset, RealBatches
from gan.randomness import Draws, generator
from gan.spec import TrainSpec, image_size

METRICS: Final = D_METRICS + G_METRICS
"""The metrics of a step, under any loss."""


def metrics_of(spec: TrainSpec) -> tuple[str, ...]:
    """Return the names of the metrics of a step under `spec`: those of `METRICS` that its loss has."""
    return d_metrics(spec) + G_METRICS


class TrainingState:
    """The state of training `spec` on `data`. It begins at step 0; `load` continues from a saved state.

    `step` is the number of steps done and `images_seen` the number of real images shown to D. `rate_scale` is a
    factor of both learning rates: 1 at first, halved at every roll back.
    """

    def __init__(self, spec: TrainSpec, data: ImageDataset, device: torch.device, ranks: Ranks) -> None:
        self.spec, self.device = spec, device
        self.step = self.images_seen = self._g_images_seen = 0
        self.rate_scale = 1.0
        self._rank_slice, size = ranks.part(spec.batch_size), image_size(spec, data.info)
        on_device = data.to(device)
        self.reals = RealBatches(on_device, size, spec.seed)
        # The reals of G's updates have an order of their own, so that the order of D's does not depend on the loss.
        self._g_reals = RealBatches(on_device, size, spec.seed, "epoch of g")
        self._updates_per_epoch = updates_per_epoch(len(data), spec.batch_size)
        self._source = generator(spec.seed, "training", device=device)
        G, D = build_networks(spec, data.info)
        for network in (G, D):
            place_network(network, device)
        self.g, self.d = trained_networks(G, D, spec)
        bf16 = precision_on(spec.resources.precision, device) == "bf16"
        draws = Draws(self._source, ranks.rank, ranks.count)
        self._adversarial_step = AdversarialStep(self.g, self.d, spec, draws, ranks, bf16)
        self.ema = Ema(G, spec.ema.half_life_images) if spec.ema.enabled else None

    @property
    def sampled(self) -> nn.Module:
        """The network that samples are drawn from: G_ema, or G if the average is off."""
        return self.g.network if self.ema is None else self.ema.network

    @property
    def finite(self) -> bool:
        """Whether every weight of G and D is finite. Reading it waits for the device."""
        weights = [w for trained in (self.g, self.d) for w in trained.network.parameters()]
        return bool(torch.isfinite(torch.nn.utils.get_total_norm(weights)))

    def advance(self) -> Tensor:
        """Do one step. Return its `metrics_of(spec)` on the device, each the mean over the updates of the step."""
        share = self.step / self.spec.total_steps
        scheduled = self._scheduled_values(share)
        self._set_learning_rates(share)
        updates = updates_of(self.spec.alternation, self.step + 1, self._updates_per_epoch)
        if self.spec.shares_fakes:
            metrics = self._update_both(scheduled)
        else:
            of_d = [self._update_d(scheduled) for _ in range(updates.d)] or [self._measure_d(scheduled)]
            of_g = [self._update_g(scheduled) for _ in range(updates.g)] or [self._measure_g(scheduled)]
            metrics = torch.cat([torch.stack(of_d).mean(0), torch.stack(of_g).mean(0)])
        self._update_ema(updates)
        self.step += 1
        return metrics

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue after this step; the tensors are not copied."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "shown_to_g": self._g_images_seen,
            "rate_scale": self.rate_scale,
            "rng": {"device": self.device.type, "state": self._source.get_state()},
            **self.learned(),
        }

    def learned(self) -> dict[str, Any]:
        """Return the part of the state that updates change: weights, optimizers, averages. Tensors are not copied."""
        return {
            "G": self.g.network.state_dict(),
            "D": self.d.network.state_dict(),
            "G_ema": None if self.ema is None else self.ema.network.state_dict(),
            "optimizer_g": self.g.optimizer.state_dict(),
            "optimizer_d": self.d.optimizer.state_dict(),
            "history_g": _history(self.g),
            "history_d": _history(self.d),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state`."""
        self.step, self.images_seen, self._g_images_seen = state["step"], state["images_seen"], state["shown_to_g"]
        self.rate_scale = state["rate_scale"]
        self.load_learned(state)
        if state["rng"]["device"] == self.device.type:
            self._source.set_state(state["rng"]["state"].cpu())
        else:
            # A generator of a CPU cannot continue the stream of a GPU: start a new stream, named by the step.
            self._source.manual_seed(generator(self.spec.seed, "training", self.step).initial_seed())

    def load_learned(self, learned: Mapping[str, Any]) -> None:
        """Restore the result of `learned`. The step and the data order stay as they are."""
        for trained, name in ((self.g, "g"), (self.d, "d")):
            trained.network.load_state_dict(learned[name.upper()])
            # torch keeps the tensors that an optimizer loads, and would update them in place.
            trained.optimizer.load_state_dict(copy.deepcopy(learned[f"optimizer_{name}"]))
            if trained.history is not None:
                trained.history.load_state_dict(learned[f"history_{name}"])
        if self.ema is not None:
            self.ema.network.load_state_dict(learned["G_ema"])

    def _update_both(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._d_batch()
        metrics = self._adversarial_step.both_steps(real, labels, self._latents(), scheduled)
        self.images_seen += self.spec.batch_size
        self._g_images_seen += self.spec.batch_size
        return metrics

    def _update_d(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._d_batch()
        metrics = self._adversarial_step.d_step(real, labels, self._latents(), scheduled)
        self.images_seen += self.spec.batch_size
        return metrics

    def _measure_d(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._d_batch()
        return self._adversarial_step.measure_d(real, labels, self._latents(), scheduled)

    def _update_g(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._g_batch()
        metrics = self._adversarial_step.g_step(self._latents(), labels, scheduled, real)
        self._g_images_seen += self.spec.batch_size
        return metrics

    def _measure_g(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._g_batch()
        return self._adversarial_step.measure_g(self._latents(), labels, scheduled, real)

    def _d_batch(self) -> tuple[Tensor, Tensor | None]:
        """Return the reals and labels of D's next update."""
        return self._of_this_rank(self.reals.at(self.images_seen, self.spec.batch_size))

    def _g_batch(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the reals and labels of G's next update; labels alone if the loss of G does not need reals."""
        if self.spec.g_sees_reals:
            return self._of_this_rank(self._g_reals.at(self._g_images_seen, self.spec.batch_size))
        labels = self.reals.random_labels(self.spec.batch_size, self._source) if self.spec.conditional else None
        return None, None if labels is None else labels[self._rank_slice]

    def _of_this_rank(self, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """Return this rank's part of a batch; without labels if the spec is unconditional."""
        images, labels = batch
        if labels is None or not self.spec.conditional:
            return images[self._rank_slice], None
        return images[self._rank_slice], labels[self._rank_slice]

    def _latents(self) -> Tensor:
        g, count = self.spec.generator, self._rank_slice.stop - self._rank_slice.start
        return self._adversarial_step.draws.latents(g.z_distribution, count, g.z_dim)

    def _set_learning_rates(self, share: float) -> None:
        """Set both learning rates for the share of the run that is done, 0..1."""
        for trained, spec in ((self.g, self.spec.optimizers.g), (self.d, self.spec.optimizers.d)):
            rate = spec.learning_rate * schedule_factor(spec.schedule, spec.final_factor, share)
            set_learning_rate(trained.optimizer, rate * self.rate_scale)

    def _scheduled_values(self, share: float) -> ScheduledValues:
        stabilizers = self.spec.stabilizers
        noise = linear_fade(stabilizers.instance_noise, stabilizers.instance_noise_until, share)
        weights = (p.weight * schedule_factor(p.schedule, p.final_factor, share) for p in self.spec.penalties)
        return ScheduledValues(noise, tuple(weights))

    def _update_ema(self, updates: Updates) -> None:
        """Update G_ema if G was updated.

        Each update of G counts for its share of the real images that D was shown; with unit "odd_even", for a batch.
        """
        if self.ema is None or not updates.g:
            return
        alternation, batch = self.spec.alternation, self.spec.batch_size
        per_update = batch if alternation.unit == "odd_even" else batch * alternation.d_steps / alternation.g_steps
        self.ema.update(self.g.network, self.images_seen, round(per_update * updates.g))


def _history(trained: TrainedNetwork) -> dict[str, Any] | None:
    return None if trained.history is None else trained.history.state_dict()
