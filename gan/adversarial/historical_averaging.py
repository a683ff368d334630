"""Historical averaging: each player pays for leaving the mean of its own past (Salimans et al. 2016,
arXiv:1606.03498, section 3.3).
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
        """|theta - 1/t sum theta_i|^2, a scalar with a gradient."""
        return torch.stack([(w - m).square().sum() for w, m in zip(self._weights, self._mean, strict=True)]).sum()

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of now into the mean."""
        self._updates += 1
        torch._foreach_lerp_(self._mean, self._weights, 1.0 / self._updates)

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {"updates": self._updates, "mean": list(self._mean)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        self._updates = state["updates"]
        torch._foreach_copy_(self._mean, state["mean"])
