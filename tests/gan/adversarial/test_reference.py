"""The optimised step compared with a plain implementation: both have the same losses over a hundred steps.

The plain implementation is a textbook one: torch's default memory layout, a separate pass for reals and for fakes,
gradients in both networks, and Adam with its defaults. Both draw the same first weights, reals and latents.
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
from gan.adversarial.state import TrainingState, metrics_of
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
CASES: Final[dict[str, dict[str, Any]]] = {
    "dcgan": {"conditioning": NO_LABELS},
    "labels concatenated": {"conditioning": {"kind": "concat", "generator": "concat"}},
    "wgan-gp": CRITIC,
    "fresh fakes": {"conditioning": NO_LABELS, "alternation": {"fakes": "fresh"}},
    "mlp": {"conditioning": NO_LABELS, "generator": MLP, "discriminator": MLP},
}


@pytest.mark.parametrize("case", CASES)
def test_the_losses_are_those_of_the_plain_step(case: str, quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(**{"resources": {"precision": "fp32"}, "ema": {"enabled": False}, **CASES[case]})
    state, plain = TrainingState(spec, shapes, torch.device("cpu"), ALONE), PlainStep(spec, shapes)
    fast = np.array([state.advance().tolist() for _ in range(STEPS)])[:, [0, metrics_of(spec).index("loss_g")]]
    slow = np.array([plain.advance() for _ in range(STEPS)])
    assert np.abs(fast[-1] - fast[0]).max() > 0.01, "nothing was learned"
    # Sums have another order, so the last bits differ, and the difference grows a little in every step.
    np.testing.assert_allclose(fast[:10], slow[:10], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fast, slow, rtol=5e-3, atol=5e-3)


class PlainStep:
    """A training step as the papers describe it."""

    def __init__(self, spec: TrainSpec, data: ImageDataset) -> None:
        self.spec, self.shown = spec, 0
        self.G, self.D = (_with_activations_of_torch(network) for network in build_networks(spec, data.info))
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(network.parameters(), lr=o.learning_rate, betas=(o.beta1, o.beta2))
            for network, o in ((self.G, spec.optimizers.g), (self.D, spec.optimizers.d))
        )
        self.reals = RealBatches(data, image_size(spec, data.info), spec.seed)
        self.draws = Draws(generator(spec.seed, "training"))

    def advance(self) -> tuple[float, float]:
        """Do one step. Return D's loss, the mean over its updates, and G's loss."""
        d_losses = []
        for _ in range(self.spec.alternation.d_steps):
            real, labels = self.reals.at(self.shown, self.spec.batch_size)
            self.shown += self.spec.batch_size
            z = self._z()
            fake = self.G(z, labels).detach()
            d_losses.append(self._descend_d(real, fake, labels))
        if self.spec.alternation.d_steps > 1 or self.spec.alternation.fakes == "fresh":
            z = self._z()
        self.g_optimizer.zero_grad()
        logits = self.D(self.G(z, labels), labels)
        loss = -logits.mean() if self._critic else F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        loss.backward()
        self.g_optimizer.step()
        return sum(d_losses) / len(d_losses), loss.item()

    def _descend_d(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> float:
        self.d_optimizer.zero_grad()
        real_logits, fake_logits = self.D(real, labels), self.D(fake, labels)
        if self._critic:
            loss = fake_logits.mean() - real_logits.mean()
            total = loss + 10 * self._penalty(real, fake)
        else:
            total = loss = F.binary_cross_entropy_with_logits(
                real_logits, torch.ones_like(real_logits)
            ) + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        total.backward()
        self.d_optimizer.step()
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


def _with_activations_of_torch(network: nn.Module) -> nn.Module:
    """Return a copy with the LeakyReLU of torch."""
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, LeakyReLU):
                setattr(module, name, nn.LeakyReLU(child.slope))
    return plain
