"""Optimizers, and one update that is skipped on the device if the loss or its gradient is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan.adversarial.distributed import ALONE, Ranks
from gan.spec.fields import OptimizerSpec


def optimizer_of(network: nn.Module, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """Return the optimizer of `network` that `spec` describes.

    Adam (Kingma and Ba 2015, arXiv:1412.6980) is the fused version, one kernel whose step the device can skip.
    RMSprop (Hinton 2012, lecture 6e of "Neural networks for machine learning") is the optimizer of the WGAN paper.
    """
    if spec.kind == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), lr=spec.learning_rate, alpha=spec.beta2, foreach=True)
    betas = (spec.beta1, spec.beta2)
    return torch.optim.Adam(network.parameters(), lr=spec.learning_rate, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Descent(NamedTuple):
    """The result of one gradient step. All tensors are on the device."""

    grad_norm: Tensor
    """The norm of the gradient over all weights, a scalar."""
    metrics: Tensor
    """(K,): the metrics, each the mean over all ranks."""
    skipped: Tensor
    """A boolean scalar: whether the step was skipped."""


def descend(
    optimizer: torch.optim.Optimizer, loss: Tensor, metrics: Sequence[Tensor] = (), ranks: Ranks = ALONE
) -> Descent:
    """Take one gradient step down `loss`, a scalar. Skip it on all ranks if loss or gradient is not finite.

    `metrics` are K scalars to average over all ranks in the same all-reduce. The CPU does not wait for the device.
    """
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    scalars = torch.stack([loss.detach(), *(m.detach() for m in metrics)])
    means = ranks.mean([*gradients, scalars])[-1]
    norm = torch.nn.utils.get_total_norm(gradients)
    skipped = ~torch.isfinite(norm + means[0])
    _step(optimizer, gradients, skipped)
    return Descent(norm, means[1:], skipped)


def _step(optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor], skipped: Tensor) -> None:
    if isinstance(optimizer, torch.optim.Adam):
        # GradScaler sets this attribute, and fused Adam reads it: where it is 1, the weights, the moments and the
        # step counters stay as they are.
        optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]
    else:
        # RMSprop has no such flag. With a gradient of 0 no weight changes, and its mean square decays a little.
        for gradient in gradients:
            gradient.masked_fill_(skipped, 0.0)
    optimizer.step()
