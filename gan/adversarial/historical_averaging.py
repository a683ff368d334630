"""Historical averaging (Salimans et al. 2016, arXiv:1606.03498, section 3.3).

The loss of each network gets a term that grows with the distance between its weights and the mean of its past
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class HistoricalAveraging:
    """The mean of a network's weights over all its updates so far."""

    def __init__(self, network: nn.Module) -> None:
        self._weights: list[Tensor] = list(network.parameters())
        self._mean = [w.detach().clone() for w in self._weights]
        self._updates = 0

    def distance(self) -> Tensor:
        """Return |theta - 1/t sum_i theta_i|^2, a scalar with a gradient in theta."""
        return torch.stack([(w - m).square().sum() for w, m in zip(self._weights, self._mean, strict=True)]).sum()

    @torch.no_grad()
    def update(self) -> None:
        """Include the current weights in the mean."""
        self._updates += 1
        torch._foreach_lerp_(self._mean, self._weights, 1.0 / self._updates)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates and the mean; the tensors are not copied."""
        return {"updates": self._updates, "mean": list(self._mean)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self._updates = state["updates"]
        torch._foreach_copy_(self._mean, state["mean"])
