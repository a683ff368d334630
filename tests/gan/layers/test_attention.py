"""Self-attention: equations 1 to 3, computed for one position at a time, with and without pooling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan.layers.attention import SelfAttention
from gan.layers.seeded_init import fill, he_normal

EITHER = pytest.mark.parametrize("pooled", [False, True])


def attention(channels: int, gamma: float, pooled: bool = False) -> SelfAttention:
    """Return a layer with fixed weights and the given gamma."""
    layer = SelfAttention(channels, pooled)
    fill(layer, torch.Generator().manual_seed(0), he_normal)
    layer.gamma.data.fill_(gamma)
    return layer


def at_position(layer: SelfAttention, x: Tensor, row: int, column: int) -> Tensor:
    """Return y at one position of one image x (C, H, W), (C,)."""
    f, g, h, v = (conv.weight.flatten(1) for conv in (layer.f, layer.g, layer.h, layer.v))
    size = 2 if layer.pooled else 1
    # The positions over which i runs: single pixels, or squares of four.
    corners = [(i, j) for i in range(0, x.shape[1] - size + 1, size) for j in range(0, x.shape[2] - size + 1, size)]
    squares = [x[:, i : i + size, j : j + size].flatten(1) for i, j in corners]  # each (C, size^2)
    keys, values = ([(weight @ square).max(dim=1).values for square in squares] for weight in (f, h))
    scores = torch.stack([key @ (g @ x[:, row, column]) for key in keys])
    beta = scores.exp() / scores.exp().sum()
    o = v @ (torch.stack(values).T @ beta)
    y: Tensor = layer.gamma * o + x[:, row, column]
    return y


@EITHER
def test_it_is_the_identity_at_first(pooled: bool) -> None:
    layer = SelfAttention(16, pooled)
    fill(layer, torch.Generator().manual_seed(0), he_normal)
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(x), x)
    torch.autograd.backward(layer(x).sum())
    assert layer.gamma.grad is not None
    assert layer.gamma.grad != 0


@EITHER
@pytest.mark.parametrize("side", [(4, 6), (3, 5)])
def test_it_is_the_sum_over_all_positions_of_the_paper(side: tuple[int, int], pooled: bool) -> None:
    layer = attention(16, gamma=0.7, pooled=pooled)
    x = torch.randn(2, 16, *side)
    y = layer(x)
    assert y.shape == x.shape
    for image in range(2):
        for row, column in ((0, 0), (1, 2), (2, 4)):
            assert torch.allclose(y[image, :, row, column], at_position(layer, x[image], row, column), atol=1e-5)


def test_the_layer_of_the_paper_and_that_of_the_authors_code_have_their_own_channels() -> None:
    paper, code = SelfAttention(64), SelfAttention(64, pooled=True)
    assert [conv.out_channels for conv in (paper.f, paper.g, paper.h, paper.v)] == [8, 8, 8, 64]
    assert [conv.out_channels for conv in (code.f, code.g, code.h, code.v)] == [8, 8, 32, 64]
    assert {name for name, _ in code.named_parameters() if name.endswith("bias")} == set()


def test_every_position_depends_on_every_other_of_the_same_image() -> None:
    # With pooling, only the position of each maximum counts.
    layer = attention(16, gamma=1.0)
    x = torch.randn(2, 16, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, :, 0, 0].sum(), x)
    assert (gradient[0].abs().sum(0) > 0).all()
    assert gradient[1].abs().sum() == 0


@EITHER
def test_few_channels_are_reduced_to_one(pooled: bool) -> None:
    assert attention(4, gamma=1.0, pooled=pooled)(torch.randn(1, 4, 2, 2)).shape == (1, 4, 2, 2)
