"""Several processes that train one job, each on its part of every batch: gradients are averaged once a phase.

No DistributedDataParallel, whose hooks do not cover a second derivative (pytorch#47562, #63929): one flat all-reduce
a phase over gradients and metrics together, as StyleGAN3 and R3GAN do. Every rank draws the whole batch from the same
streams and takes its part, so that any number of ranks computes what one rank does, up to the order of sums; only
BatchNorm, minibatch discrimination and feature matching look at a rank's own part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Which process of how many this is; more than one only inside `torch.distributed`'s default group."""

    rank: int = 0
    count: int = 1

    def part(self, batch: int) -> slice:
        """This rank's part of a batch. Raises `ValueError` where it cannot be cut evenly."""
        if batch % self.count:
            raise ValueError(f"A batch of {batch} cannot be cut evenly for {self.count} processes.")
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """The same tensors, each overwritten with its mean over all ranks, by one all-reduce."""
        if self.count > 1:
            flat = torch.cat([t.flatten() for t in tensors])
            dist.all_reduce(flat)
            flat /= self.count
            parts = torch.split(flat, [t.numel() for t in tensors])
            for tensor, mean in zip(tensors, parts, strict=True):
                tensor.copy_(mean.view_as(tensor))
        return tensors

    def agree(self, said: Any) -> Any:
        """What rank 0 said."""
        if self.count == 1:
            return said
        box = [said]
        dist.broadcast_object_list(box, src=0)
        return box[0]


ALONE: Final = Ranks()
