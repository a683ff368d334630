"""How a label enters."""

from __future__ import annotations

import torch

from gan.conditioning import JoinToImage, JoinToVector, join_to_image, join_to_vector


def test_a_vector_gets_the_labels_embedding_behind_it() -> None:
    join = JoinToVector(classes=3, dim=4)
    x, labels = torch.randn(5, 7), torch.tensor([0, 2, 1, 1, 0])
    joined = join(x, labels)
    assert joined.shape == (5, 7 + join.extra)
    assert torch.equal(joined[:, :7], x)
    assert torch.equal(joined[2, 7:], joined[3, 7:])
    assert not torch.equal(joined[0, 7:], joined[1, 7:])


def test_an_image_gets_the_labels_embedding_as_one_more_channel() -> None:
    join = JoinToImage(classes=3, size=6)
    x, labels = torch.randn(4, 2, 6, 6), torch.tensor([0, 2, 1, 1])
    joined = join(x, labels)
    assert joined.shape == (4, 2 + join.extra, 6, 6)
    assert torch.equal(joined[:, :2], x)
    assert torch.equal(joined[2, 2], joined[3, 2])
    assert not torch.equal(joined[0, 2], joined[1, 2])


def test_without_conditioning_the_input_is_left_alone() -> None:
    x = torch.randn(4, 2, 6, 6)
    for join in (join_to_vector("none", 0, 4), join_to_image("none", 0, 6)):
        assert join.extra == 0
        assert join(x, None) is x
