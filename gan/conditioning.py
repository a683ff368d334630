"""Conditioning of G and D on a class label y, through its embedding e(y).

`concat` (Mirza and Osindero 2014, arXiv:1411.1784, figure 1): y is an additional input of both networks. G gets
[z, e(y)]; D gets the image with e(y) as an additional channel, so that it rates the match as well as the realism.
`projection` (Miyato and Koyama 2018, arXiv:1802.05637): the match is an inner product in D's last layer.
`conditional_batch_norm` of G is in `gan.layers.conditional_batchnorm`. The class head of D, which gets no label and
predicts one, is in `gan.architectures.discriminator`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.spec.fields import ConditioningKind, ConditioningSpec


class LabelJoin(nn.Module):
    """A module that joins the embedding of a label to its input: (x, labels) -> x with `extra` more features."""

    extra: int
    """The number of features or channels that it adds."""


class IgnoreLabel(LabelJoin):
    """The identity: it ignores the labels."""

    extra = 0

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return x itself."""
        return x


class JoinLabelToVector(LabelJoin):
    """The concatenation of features and e(y): (N, F) and labels (N,) -> (N, F + dim)."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.extra = dim
        self.embedding = nn.Embedding(classes, dim)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return [x, e(y)], (N, F + dim), for x (N, F); `labels` must not be None."""
        assert labels is not None
        return torch.cat([x, self.embedding(labels).to(x.dtype)], dim=1)


class JoinLabelToImage(LabelJoin):
    """The concatenation of an image and e(y) as a channel: (N, C, S, S) and labels (N,) -> (N, C + 1, S, S)."""

    extra = 1

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(classes, size * size)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return x (N, C, S, S) with e(y) as its last channel, (N, C + 1, S, S); `labels` must not be None."""
        assert labels is not None
        plane = self.embedding(labels).view(-1, 1, self.size, self.size)
        return torch.cat([x, plane.to(x.dtype)], dim=1)


class Projection(nn.Module):
    """The label's part of D's logit, <e(y), phi(x)>: features phi(x) (N, F) and labels y (N,) -> (N,).

    Miyato and Koyama 2018, arXiv:1802.05637, equation 3. e is the weight (K, F) of a linear layer, of which only the
    rows of these labels are used.
    """

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, classes, bias=False)

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Return <e(y), phi(x)>, (N,); `labels` must not be None."""
        assert labels is not None
        return (F.embedding(labels, self.embedding.weight) * features).sum(dim=1)


def join_to_vector(kind: ConditioningKind, classes: int, dim: int) -> LabelJoin:
    """Return the module that joins one of `classes` labels to a vector.

    It is the identity unless `kind` is concat.
    """
    return JoinLabelToVector(classes, dim) if kind == "concat" else IgnoreLabel()


def join_to_image(kind: ConditioningKind, classes: int, size: int) -> LabelJoin:
    """Return the module that joins one of `classes` labels to an image of `size` x `size` pixels.

    It is the identity unless `kind` is concat.
    """
    return JoinLabelToImage(classes, size) if kind == "concat" else IgnoreLabel()


def join_to_z(spec: ConditioningSpec, classes: int) -> LabelJoin:
    """Return the module that joins one of `classes` labels to G's z.

    It is the identity for an unconditional G, and for one that gets the label in its BatchNorm layers.
    """
    joined = spec.kind != "none" and spec.generator == "concat"
    return join_to_vector("concat" if joined else "none", classes, spec.embedding_dim)
