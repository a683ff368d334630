"""The game under way: both players, their data and their noise. It advances by whole steps and knows no clock."""

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
from gan.adversarial.schedules import factor, faded
from gan.adversarial.step import D_METRICS, G_METRICS, AdversarialStep, ScheduledValues
from gan.architectures import build_networks, place
from gan.data import ImageDataset, RealBatches
from gan.randomness import Draws, generator
from gan.spec import TrainSpec, image_size

METRICS: Final = D_METRICS + G_METRICS


class TrainingState:
    """`spec`'s game on `data`, from its beginning; `load` takes it on from where another stood.

    `step` counts steps done, `images_seen` real images shown to D, `rate_scale` is 1, halved with every roll back.
    """

    def __init__(self, spec: TrainSpec, data: ImageDataset, device: torch.device, ranks: Ranks) -> None:
        self.spec, self.device = spec, device
        self.step = self.images_seen = self._shown_to_g = 0
        self.rate_scale = 1.0
        self._part, size = ranks.part(spec.batch_size), image_size(spec, data.info)
        on_device = data.to(device)
        self.reals = RealBatches(on_device, size, spec.seed)
        # G's phase has a stream of its own, so that D's order is the same whatever the loss.
        self._reals_of_g = RealBatches(on_device, size, spec.seed, "epoch of g")
        self._epoch = updates_per_epoch(len(data), spec.batch_size)
        self._source = generator(spec.seed, "training", device=device)
        G, D = build_networks(spec, data.info)
        for network in (G, D):
            place(network, device)
        g, d = trained_networks(G, D, spec)
        bf16 = precision_on(spec.resources.precision, device) == "bf16"
        self.adversarial = AdversarialStep(g, d, spec, Draws(self._source, ranks.rank, ranks.count), ranks, bf16)
        self.ema = Ema(G, spec.ema.half_life_images) if spec.ema.enabled else None

    @property
    def sampled(self) -> nn.Module:
        """The network that samples are drawn from: G_ema, or G where the average is off."""
        return self.adversarial.g.network if self.ema is None else self.ema.network

    @property
    def finite(self) -> bool:
        """Whether every weight of both players is a number. Waits for the device."""
        weights = [w for player in (self.adversarial.g, self.adversarial.d) for w in player.network.parameters()]
        return bool(torch.isfinite(torch.nn.utils.get_total_norm(weights)))

    def advance(self) -> Tensor:
        """One step; its `METRICS` (9,), on the device. An update's figure is the mean over the step's updates."""
        share = self.step / self.spec.total_steps
        scheduled = self._scheduled(share)
        for player, spec in (
            (self.adversarial.g, self.spec.optimizers.g),
            (self.adversarial.d, self.spec.optimizers.d),
        ):
            rate = spec.learning_rate * factor(spec.schedule, spec.final_factor, share)
            set_learning_rate(player.optimizer, rate * self.rate_scale)
        turn_ = updates_of(self.spec.alternation, self.step + 1, self._epoch)
        if self.spec.shares_fakes:
            metrics = self._both_updates(scheduled)
        else:
            of_d = [self._d_update(scheduled) for _ in range(turn_.d)] or [self._d_measured(scheduled)]
            of_g = [self._g_update(scheduled) for _ in range(turn_.g)] or [self._g_measured(scheduled)]
            metrics = torch.cat([torch.stack(of_d).mean(0), torch.stack(of_g).mean(0)])
        self._average(turn_)
        self.step += 1
        return metrics

    def state(self) -> dict[str, Any]:
        """All that is needed to go on, between two steps; tensors are the living ones."""
        return {
            "step": self.step,
            "images_seen": self.images_seen,
            "shown_to_g": self._shown_to_g,
            "rate_scale": self.rate_scale,
            "rng": {"device": self.device.type, "state": self._source.get_state()},
            **self.learned(),
        }

    def learned(self) -> dict[str, Any]:
        """What training has moved, and nothing of where it stands; tensors are the living ones."""
        adversarial = self.adversarial
        return {
            "G": adversarial.g.network.state_dict(),
            "D": adversarial.d.network.state_dict(),
            "G_ema": None if self.ema is None else self.ema.network.state_dict(),
            "optimizer_g": adversarial.g.optimizer.state_dict(),
            "optimizer_d": adversarial.d.optimizer.state_dict(),
            "history_g": _history(adversarial.g),
            "history_d": _history(adversarial.d),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.step, self.images_seen, self._shown_to_g = state["step"], state["images_seen"], state["shown_to_g"]
        self.rate_scale = state["rate_scale"]
        self.put_back(state)
        if state["rng"]["device"] == self.device.type:
            self._source.set_state(state["rng"]["state"].cpu())
        else:
            # A CPU's generator cannot go on where a GPU's stopped: a new stream, named by the step.
            self._source.manual_seed(generator(self.spec.seed, "training", self.step).initial_seed())

    def put_back(self, learned: Mapping[str, Any]) -> None:
        """What `learned` gave, at the step where this stands."""
        for player, name in ((self.adversarial.g, "g"), (self.adversarial.d, "d")):
            player.network.load_state_dict(learned[name.upper()])
            # torch takes an optimizer's tensors over as they are, and would go on writing into them.
            player.optimizer.load_state_dict(copy.deepcopy(learned[f"optimizer_{name}"]))
            if player.history is not None:
                player.history.load_state_dict(learned[f"history_{name}"])
        if self.ema is not None:
            self.ema.network.load_state_dict(learned["G_ema"])

    def _both_updates(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._mine(self.reals.at(self.images_seen, self.spec.batch_size))
        metrics = self.adversarial.both_steps(real, labels, self._latents(), scheduled)
        self.images_seen += self.spec.batch_size
        self._shown_to_g += self.spec.batch_size
        return metrics

    def _d_update(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._mine(self.reals.at(self.images_seen, self.spec.batch_size))
        metrics = self.adversarial.d_step(real, labels, self._latents(), scheduled)
        self.images_seen += self.spec.batch_size
        return metrics

    def _d_measured(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._mine(self.reals.at(self.images_seen, self.spec.batch_size))
        return self.adversarial.measure_d(real, labels, self._latents(), scheduled)

    def _g_update(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._of_g()
        metrics = self.adversarial.g_step(self._latents(), labels, scheduled, real)
        self._shown_to_g += self.spec.batch_size
        return metrics

    def _g_measured(self, scheduled: ScheduledValues) -> Tensor:
        real, labels = self._of_g()
        return self.adversarial.measure_g(self._latents(), labels, scheduled, real)

    def _of_g(self) -> tuple[Tensor | None, Tensor | None]:
        """What G's phase starts from: fresh reals with labels where the loss looks at reals, else labels alone."""
        if self.spec.g_sees_reals:
            return self._mine(self._reals_of_g.at(self._shown_to_g, self.spec.batch_size))
        labels = self.reals.random_labels(self.spec.batch_size, self._source) if self.spec.conditional else None
        return None, None if labels is None else labels[self._part]

    def _mine(self, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """This rank's part of a batch; without labels where the game knows none."""
        images, labels = batch
        return images[self._part], None if labels is None or not self.spec.conditional else labels[self._part]

    def _latents(self) -> Tensor:
        g, mine = self.spec.generator, self._part.stop - self._part.start
        return self.adversarial.draws.latents(g.z_distribution, mine, g.z_dim)

    def _scheduled(self, share: float) -> ScheduledValues:
        noise = faded(self.spec.stabilizers.instance_noise, self.spec.stabilizers.instance_noise_until, share)
        weights = (p.weight * factor(p.schedule, p.final_factor, share) for p in self.spec.penalties)
        return ScheduledValues(noise, tuple(weights))

    def _average(self, turn_: Updates) -> None:
        """Move G_ema when G has moved; of an epoch of D and one of G, each update of G stands for a batch."""
        if self.ema is None or not turn_.g:
            return
        a, batch = self.spec.alternation, self.spec.batch_size
        of_one = batch if a.unit == "odd_even" else batch * a.d_steps / a.g_steps
        self.ema.update(self.adversarial.g.network, self.images_seen, round(of_one * turn_.g))


def _history(player: TrainedNetwork) -> dict[str, Any] | None:
    return None if player.history is None else player.history.state_dict()
