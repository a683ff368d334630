"""The fast step beside a plain one: the same losses over a hundred steps, whatever the step saves itself.

The plain one is the textbook's: torch's default layout, every pass by itself, both networks with their gradients,
Adam as it comes. What both share is what is drawn: first weights, reals, latents.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.adversarial.distributed import ALONE
from gan.adversarial.state import METRICS, TrainingState
from gan.architectures import build_networks
from gan.data import ImageDataset, RealBatches
from gan.layers.leaky_relu import LeakyReLU
from gan.randomness import Draws, generator
from gan.spec import image_size
from gan.spec.fields import TrainSpec

Quick = Callable[..., TrainSpec]

STEPS: Final = 100
NO_LABELS: Final = {"kind": "none"}
CRITIC: Final[dict[str, Any]] = {
    "conditioning": NO_LABELS,
    "discriminator": {"normalization": "none"},
    "loss": {"kind": "wasserstein"},
    "penalties": [{"kind": "gradient_penalty", "weight": 10.0}],
    "alternation": {"d_steps": 5, "g_steps": 1},
    "optimizers": {p: {"learning_rate": 1e-4, "beta1": 0.0, "beta2": 0.9} for p in ("g", "d")},
}
MLP: Final = {"architecture": "mlp"}
GAMES: Final[dict[str, dict[str, Any]]] = {
    "dcgan": {"conditioning": NO_LABELS},
    "labels concatenated": {"conditioning": {"kind": "concat", "generator": "concat"}},
    "wgan-gp": CRITIC,
    "mlp": {"conditioning": NO_LABELS, "generator": MLP, "discriminator": MLP},
}


@pytest.mark.parametrize("adversarial", GAMES)
def test_the_losses_are_those_of_the_plain_step(adversarial: str, quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(**{"resources": {"precision": "fp32"}, "ema": {"enabled": False}, **GAMES[adversarial]})
    play, plain = TrainingState(spec, shapes, torch.device("cpu"), ALONE), PlainStep(spec, shapes)
    fast = np.array([play.advance().tolist() for _ in range(STEPS)])[:, [0, METRICS.index("loss_g")]]
    slow = np.array([plain.advance() for _ in range(STEPS)])
    assert np.abs(fast[-1] - fast[0]).max() > 0.01, "something was learnt"
    # Sums are added up in another order: the last bits differ, and what differs grows a little in every step.
    np.testing.assert_allclose(fast[:10], slow[:10], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fast, slow, rtol=5e-3, atol=5e-3)


class PlainStep:
    """A step as the papers write it."""

    def __init__(self, spec: TrainSpec, data: ImageDataset) -> None:
        self.spec, self.shown = spec, 0
        self.G, self.D = (_with_torchs_own_activations(network) for network in build_networks(spec, data.info))
        self.of_g, self.of_d = (
            torch.optim.Adam(network.parameters(), lr=o.learning_rate, betas=(o.beta1, o.beta2))
            for network, o in ((self.G, spec.optimizers.g), (self.D, spec.optimizers.d))
        )
        self.reals = RealBatches(data, image_size(spec, data.info), spec.seed)
        self.draws = Draws(generator(spec.seed, "training"))

    def advance(self) -> tuple[float, float]:
        """One step; the losses of D, their mean over its updates, and of G."""
        of_d = []
        for _ in range(self.spec.alternation.d_steps):
            real, labels = self.reals.at(self.shown, self.spec.batch_size)
            self.shown += self.spec.batch_size
            z = self._z()
            fake = self.G(z, labels).detach()
            of_d.append(self._descend_d(real, fake, labels))
        if self.spec.alternation.d_steps > 1:
            z = self._z()
        self.of_g.zero_grad()
        judged = self.D(self.G(z, labels), labels)
        loss = -judged.mean() if self._critic else F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
        loss.backward()
        self.of_g.step()
        return sum(of_d) / len(of_d), loss.item()

    def _descend_d(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> float:
        self.of_d.zero_grad()
        of_real, of_fake = self.D(real, labels), self.D(fake, labels)
        if self._critic:
            loss = of_fake.mean() - of_real.mean()
            total = loss + 10 * self._penalty(real, fake)
        else:
            total = loss = F.binary_cross_entropy_with_logits(
                of_real, torch.ones_like(of_real)
            ) + F.binary_cross_entropy_with_logits(of_fake, torch.zeros_like(of_fake))
        total.backward()
        self.of_d.step()
        return float(loss.detach())

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        mix = self.draws.uniform(len(real), 1, 1, 1)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.D(between, None).sum(), between, create_graph=True)
        penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return penalty

    @property
    def _critic(self) -> bool:
        return self.spec.loss.kind == "wasserstein"

    def _z(self) -> Tensor:
        g = self.spec.generator
        return self.draws.latents(g.z_distribution, self.spec.batch_size, g.z_dim)


def _with_torchs_own_activations(network: nn.Module) -> nn.Module:
    """Return a copy with torch's own LeakyReLU layers."""
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, LeakyReLU):
                setattr(module, name, nn.LeakyReLU(child.slope))
    return plain
