"""How weights move: one update down a loss, vetoed on the device where it is not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gan.adversarial.distributed import ALONE, Ranks
from gan.spec.fields import OptimizerSpec


def optimizer_of(network: nn.Module, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), fused: one kernel, which can be vetoed on the device; or RMSprop
    (Hinton 2012, lecture 6e of "Neural networks for machine learning"), which WGAN asks for.
    """
    if spec.kind == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), lr=spec.learning_rate, alpha=spec.beta2, foreach=True)
    betas = (spec.beta1, spec.beta2)
    return torch.optim.Adam(network.parameters(), lr=spec.learning_rate, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Of every weight."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def descend(
    optimizer: torch.optim.Optimizer, loss: Tensor, metrics: Sequence[Tensor] = (), ranks: Ranks = ALONE
) -> tuple[Tensor, Tensor, Tensor]:
    """One step down `loss`, vetoed where it or its gradient is not finite, on every rank alike.

    Returns the norm of the gradient, the mean over all ranks of `metrics` (K,), and whether it was vetoed, all on the
    device: nothing waits for them.
    """
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    told = torch.stack([loss.detach(), *(m.detach() for m in metrics)])
    told = ranks.mean([*gradients, told])[-1]
    norm = torch.nn.utils.get_total_norm(gradients)
    vetoed = ~torch.isfinite(norm + told[0])
    _step(optimizer, gradients, vetoed)
    return norm, told[1:], vetoed


def _step(optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor], vetoed: Tensor) -> None:
    if isinstance(optimizer, torch.optim.Adam):
        # What GradScaler sets, and fused Adam reads: where it is 1, neither weights nor moments nor counters move.
        optimizer.found_inf = vetoed.float()  # type: ignore[attr-defined]
    else:
        # RMSprop reads no such flag: with a gradient of 0 no weight moves, and its mean square only fades a little.
        for gradient in gradients:
            gradient.masked_fill_(vetoed, 0.0)
    optimizer.step()
