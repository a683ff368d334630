"""Minibatch discrimination (Salimans et al. 2016, arXiv:1606.03498, section 3.2).

D sees how similar the images of a batch are to each other.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

# The number of values that each kernel compares, the paper's C.
_KERNEL_DIM: Final = 5


class MinibatchDiscrimination(nn.Module):
    """Similarity to the other images of the batch: features (N, F) -> (N, kernels), each in [1, N].

    M_i = f(x_i) T, kernels x 5;  c_b(x_i, x_j) = exp(-|M_ib - M_jb|_1);  o(x_i)_b = sum over j of c_b(x_i, x_j).
    The sum includes j = i, so a batch of one image gives 1. It needs memory for kernels x N x N distances.
    """

    def __init__(self, features: int, kernels: int) -> None:
        super().__init__()
        self.t = nn.Linear(features, kernels * _KERNEL_DIM, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return o(x_i) for every row of features (N, F), (N, kernels) in [1, N]."""
        rows = self.t(features).unflatten(1, (-1, _KERNEL_DIM)).transpose(0, 1)  # (kernels, N, 5)
        distances = torch.cdist(rows, rows, p=1.0)
        return torch.exp(-distances).sum(dim=2).t()
