"""How a class label enters G and D.

`concat` (Mirza and Osindero 2014, arXiv:1411.1784, figure 1): both networks are given y as one more input. G sees
[z, e(y)]; D sees the image with e(y) as one more channel, so that it judges the match and not only the realism.
`projection` (Miyato and Koyama 2018, arXiv:1802.05637): the match is an inner product in D's last layer.
`conditional_batch_norm` of G is in `gan.layers.conditional_batchnorm`; the class head of D, which is given no label
and names one, in `gan.architectures.discriminator`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.spec.fields import ConditioningKind, ConditioningSpec


class LabelJoin(nn.Module):
    """(x, labels) -> x with what the label says joined to it; `extra` is how many features or channels that adds."""

    extra: int


class IgnoreLabel(LabelJoin):
    """The input as it is, whatever the labels."""

    extra = 0

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return x


class JoinLabelToVector(LabelJoin):
    """(N, F) and labels (N,) -> (N, F + dim): the label's embedding behind the features."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.extra = dim
        self.embedding = nn.Embedding(classes, dim)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return torch.cat([x, self.embedding(labels).to(x.dtype)], dim=1)


class JoinLabelToImage(LabelJoin):
    """(N, C, S, S) and labels (N,) -> (N, C + 1, S, S): the label's embedding as one more channel."""

    extra = 1

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(classes, size * size)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        plane = self.embedding(labels).view(-1, 1, self.size, self.size)
        return torch.cat([x, plane.to(x.dtype)], dim=1)


class Projection(nn.Module):
    """features (N, F) and labels (N,) -> (N,): <e(y), phi(x)>, the label's part of the logit (equation 3).

    e is the weight (K, F) of a linear layer, of which only each label's own row is computed.
    """

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, classes, bias=False)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return (F.embedding(labels, self.embedding.weight) * features).sum(dim=1)


def join_to_vector(kind: ConditioningKind, classes: int, dim: int) -> LabelJoin:
    """How a label of `classes` enters a network that takes vectors."""
    return JoinLabelToVector(classes, dim) if kind == "concat" else IgnoreLabel()


def join_to_image(kind: ConditioningKind, classes: int, size: int) -> LabelJoin:
    """How a label of `classes` enters a network that takes images of `size` x `size`."""
    return JoinLabelToImage(classes, size) if kind == "concat" else IgnoreLabel()


def join_to_z(spec: ConditioningSpec, classes: int) -> LabelJoin:
    """How a label of `classes` is joined to G's z: not where G knows no classes, or has them in its BatchNorm."""
    joined = spec.kind != "none" and spec.generator == "concat"
    return join_to_vector("concat" if joined else "none", classes, spec.embedding_dim)
