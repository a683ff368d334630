"""Data-parallel training of one job on several processes. Gradients are averaged once per update.

DistributedDataParallel is not used, because its hooks do not cover second derivatives (pytorch#47562, #63929).
Instead, one flat all-reduce per update averages gradients and metrics together, as in StyleGAN3 and R3GAN. Every rank
draws the random numbers of the whole batch from the same streams and takes its own part. So any number of ranks
computes what one rank computes, up to the order of sums. Exceptions are BatchNorm, minibatch discrimination and
feature matching: they see the part of one rank only.
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
    """The rank of this process and the number of ranks.

    More than one rank needs the default process group of `torch.distributed`.
    """

    rank: int = 0
    count: int = 1

    def part(self, batch: int) -> slice:
        """Return the slice of a batch of `batch` images that belongs to this rank.

        Raises `ValueError` where the ranks cannot get equal parts.
        """
        if batch % self.count:
            raise ValueError(
                f"A batch of {batch} cannot be divided evenly among {self.count} processes. "
                f"Set batch_size to a multiple of {self.count}."
            )
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Overwrite each tensor with its mean over all ranks, by one all-reduce. Return `tensors`."""
        if self.count > 1:
            flat = torch.cat([t.flatten() for t in tensors])
            dist.all_reduce(flat)
            flat /= self.count
            parts = torch.split(flat, [t.numel() for t in tensors])
            for tensor, mean in zip(tensors, parts, strict=True):
                tensor.copy_(mean.view_as(tensor))
        return tensors

    def broadcast(self, value: Any) -> Any:
        """Return the `value` of rank 0, on every rank."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


ALONE: Final = Ranks()
"""The only rank of a job that one process trains."""
