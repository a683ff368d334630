"""The modules that join a class label to the input of a network."""

from __future__ import annotations

import pytest
import torch

from gan.conditioning import (
    JoinLabelToImage,
    JoinLabelToVector,
    Projection,
    join_to_image,
    join_to_vector,
    join_to_z,
)
from gan.spec.fields import ConditioningKind, ConditioningSpec


def test_the_embedding_of_the_label_is_appended_to_a_vector() -> None:
    join = JoinLabelToVector(classes=3, dim=4)
    x, labels = torch.randn(5, 7), torch.tensor([0, 2, 1, 1, 0])
    joined = join(x, labels)
    assert joined.shape == (5, 7 + join.extra)
    assert torch.equal(joined[:, :7], x)
    assert torch.equal(joined[2, 7:], joined[3, 7:])
    assert not torch.equal(joined[0, 7:], joined[1, 7:])


def test_the_embedding_of_the_label_is_an_additional_channel_of_an_image() -> None:
    join = JoinLabelToImage(classes=3, size=6)
    x, labels = torch.randn(4, 2, 6, 6), torch.tensor([0, 2, 1, 1])
    joined = join(x, labels)
    assert joined.shape == (4, 2 + join.extra, 6, 6)
    assert torch.equal(joined[:, :2], x)
    assert torch.equal(joined[2, 2], joined[3, 2])
    assert not torch.equal(joined[0, 2], joined[1, 2])


def test_without_conditioning_the_input_is_unchanged() -> None:
    x = torch.randn(4, 2, 6, 6)
    for join in (join_to_vector("none", 0, 4), join_to_image("none", 0, 6)):
        assert join.extra == 0
        assert join(x, None) is x


def test_a_projection_is_linear_in_the_features_and_differs_with_the_label() -> None:
    projection, labels = Projection(classes=3, features=6), torch.tensor([0, 2, 1])
    one, two = torch.randn(3, 6), torch.randn(3, 6)
    together = projection(2.0 * one - 3.0 * two, labels)
    assert torch.allclose(together, 2.0 * projection(one, labels) - 3.0 * projection(two, labels), atol=1e-5)
    by_label = torch.stack([projection(one, torch.full((3,), label)) for label in range(3)])
    assert len({tuple(row) for row in by_label.tolist()}) == 3
    assert torch.equal(by_label[labels, torch.arange(3)], projection(one, labels))


@pytest.mark.parametrize("kind", ["concat", "projection", "class_head"])
def test_g_gets_the_label_with_z_for_every_conditioning_of_d(kind: ConditioningKind) -> None:
    assert join_to_z(ConditioningSpec(kind=kind, embedding_dim=4), 3).extra == 4
    in_norms = ConditioningSpec(kind=kind, generator="conditional_batch_norm", embedding_dim=4)
    assert join_to_z(in_norms, 3).extra == 0


def test_without_conditioning_nothing_is_joined_to_z() -> None:
    assert join_to_z(ConditioningSpec(kind="none"), 0).extra == 0


@pytest.mark.parametrize("kind", ["projection", "class_head"])
def test_only_concat_joins_the_label_to_the_input_of_d(kind: ConditioningKind) -> None:
    assert join_to_image(kind, 3, 6).extra == join_to_vector(kind, 3, 4).extra == 0
