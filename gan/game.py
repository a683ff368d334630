"""One move of each player, as in algorithm 1 of Goodfellow et al. 2014 (arXiv:1406.2661). Tensors in, tensors out.

Nothing here waits for the device: a step that is not finite is vetoed there, and seen when the metrics are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from gan.losses import Loss
from gan.spec import AdamSpec

D_METRICS: Final = ("loss_d", "d_accuracy", "real_logit", "fake_logit", "grad_norm_d")
G_METRICS: Final = ("loss_g", "grad_norm_g")


@dataclass(frozen=True, eq=False)
class Game:
    """Both players, in train mode on one device, their optimizers, and the loss that they play for."""

    G: nn.Module
    D: nn.Module
    optimizer_g: torch.optim.Adam
    optimizer_d: torch.optim.Adam
    loss: Loss
    bf16: bool

    def d_step(self, real: Tensor, labels: Tensor | None, z: Tensor) -> Tensor:
        """One update of D on reals (N, C, S, S) and as many fakes of the same labels. G is held still.

        Returns `D_METRICS`, (5,) on the device.
        """
        with held_still(self.G), self._precision(real):
            fake = self.G(z, labels)
        with self._precision(real):
            real_logits = self.D(real, labels)
            fake_logits = self.D(fake, labels)
        real_logits, fake_logits = real_logits.float(), fake_logits.float()
        loss = self.loss.d(real_logits, fake_logits)
        norm = descend(self.optimizer_d, loss)
        with torch.no_grad():
            accuracy = self.loss.d_accuracy(real_logits, fake_logits)
            return torch.stack([loss, accuracy, real_logits.mean(), fake_logits.mean(), norm])

    def g_step(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """One update of G through D, which is held still: the gradient passes D and moves G alone.

        Returns `G_METRICS`, (2,) on the device.
        """
        with held_still(self.D):
            with self._precision(z):
                fake_logits = self.D(self.G(z, labels), labels)
            loss = self.loss.g(fake_logits.float())
            norm = descend(self.optimizer_g, loss)
        return torch.stack([loss.detach(), norm])

    def _precision(self, like: Tensor) -> AbstractContextManager[object]:
        return torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=self.bf16)


def adam(network: nn.Module, spec: AdamSpec) -> torch.optim.Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), fused: one kernel, which can be vetoed on the device."""
    betas = (spec.beta1, spec.beta2)
    return torch.optim.Adam(network.parameters(), lr=spec.learning_rate, betas=betas, fused=True)


def descend(optimizer: torch.optim.Adam, loss: Tensor) -> Tensor:
    """One step down `loss`, vetoed where it or its gradient is not finite. Returns the gradient's norm."""
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    # What GradScaler sets, and fused Adam reads: where it is 1, neither weights nor moments nor counters move.
    optimizer.found_inf = (~torch.isfinite(norm + loss.detach())).float()  # type: ignore[attr-defined]
    optimizer.step()
    return norm


@contextmanager
def held_still(network: nn.Module) -> Iterator[None]:
    """Inside, `network` computes as it does in training, but no parameter and no BatchNorm buffer of it moves.

    A BatchNorm in train mode that does not track its statistics normalises by the batch and leaves its buffers alone.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    network.requires_grad_(False)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        network.requires_grad_(True)
