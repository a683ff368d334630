"""Instance noise and differentiable augmentation."""

from __future__ import annotations

import pytest
import torch

from gan.adversarial.augment import augment, color, cutout, translation
from gan.randomness import Draws
from gan.spec.fields import Augmentation

KINDS: tuple[Augmentation, ...] = ("color", "translation", "cutout")


def draws(seed: int = 0, rank: int = 0, ranks: int = 1) -> Draws:
    """Return the random numbers of one of `ranks` ranks."""
    return Draws(torch.Generator().manual_seed(seed), rank, ranks)


def images(n: int = 64, side: int = 16, channels: int = 3) -> torch.Tensor:
    """Return random images (n, channels, side, side) in [-1, 1]."""
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(9)) * 2 - 1


def test_without_augmentation_the_images_are_returned_and_nothing_is_drawn() -> None:
    source = draws()
    before = source.source.get_state()
    x = images()
    assert augment(x, (), 0.0, source) is x
    assert torch.equal(source.source.get_state(), before)


def test_noise_has_the_given_standard_deviation() -> None:
    x = images()
    added = augment(x, (), 0.3, draws()) - x
    assert added.std().item() == pytest.approx(0.3, rel=0.02)
    assert added.mean().item() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_an_augmentation_changes_the_images_and_is_differentiable(kind: Augmentation) -> None:
    x = images().requires_grad_()
    augmented = augment(x, (kind,), 0.0, draws())
    assert augmented.shape == x.shape
    assert not torch.equal(augmented, x)
    torch.autograd.backward(augmented.square().sum())
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()


def test_translation_shifts_by_at_most_an_eighth_and_fills_with_black() -> None:
    x = torch.full((200, 1, 16, 16), -1.0)
    x[:, :, 8, 8] = 1.0
    shifted = translation(x, draws())
    rows, columns = (shifted[:, 0] == 1.0).nonzero()[:, 1:].T
    assert (shifted == 1.0).sum() == 200
    for positions in (rows, columns):
        assert set(positions.tolist()) == {6, 7, 8, 9, 10}
    whole = translation(torch.ones(50, 1, 16, 16), draws())
    assert set(whole.flatten().tolist()) == {-1.0, 1.0}


def test_cutout_removes_a_square_of_at_most_half_the_side() -> None:
    squares = (cutout(torch.ones(200, 1, 16, 16), draws()) == 0).sum((1, 2, 3))
    assert squares.max() == 81  # 9 x 9: the center, and a quarter of the side in each direction
    assert squares.min() >= 25
    assert len(set(squares.tolist())) > 5


def test_color_is_a_linear_function_of_each_grey_image() -> None:
    x = images(n=8, channels=1)
    augmented = color(x, draws())
    for one, other in zip(x.flatten(1), augmented.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1].item() == pytest.approx(1.0, abs=1e-4)
    assert not torch.allclose(x, augmented, atol=0.05)


def test_two_ranks_together_augment_as_one_rank_does() -> None:
    x = images()
    whole = augment(x, KINDS, 0.1, draws())
    parts = [augment(x[32 * r : 32 * (r + 1)], KINDS, 0.1, draws(rank=r, ranks=2)) for r in range(2)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
