"""Instance noise and differentiable augmentation."""

from __future__ import annotations

import itertools
import math

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


# The sides at which rounding matters: 28 / 8 is 3.5, and a square of half of 26 has an odd side.
SIDES = (16, 26, 28)


@pytest.mark.parametrize("side", SIDES)
def test_translation_shifts_by_at_most_an_eighth_rounded_and_fills_with_grey(side: int) -> None:
    x, reach = images(n=400, side=side), math.floor(side / 8 + 0.5)
    assert reach == {16: 2, 26: 3, 28: 4}[side]
    found = set()
    for image, moved in zip(x, translation(x, draws()), strict=True):
        shifts = [s for s in itertools.product(range(-side, side + 1), repeat=2) if max(map(abs, s)) <= reach + 1]
        (shift,) = [s for s in shifts if torch.equal(moved, shifted(image, *s))]
        found.add(shift)
    whole = range(-reach, reach + 1)
    assert {down for down, _ in found} == {right for _, right in found} == set(whole)


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Return the image (C, S, S) moved pixel by pixel, with 0 where it came from outside of it."""
    moved, side = torch.zeros_like(image), image.shape[1]
    rows, columns = (slice(max(0, by), min(side, side + by)) for by in (down, right))
    from_rows, from_columns = (slice(max(0, -by), min(side, side - by)) for by in (down, right))
    moved[:, rows, columns] = image[:, from_rows, from_columns]
    return moved


@pytest.mark.parametrize("side", SIDES)
def test_cutout_removes_a_square_of_half_the_side_around_a_center_on_the_image(side: int) -> None:
    length = math.floor(side / 2 + 0.5)
    # A square of even side is centered between two pixels or at the border, one of odd side on a pixel.
    centers = range(side + 1) if length % 2 == 0 else range(side)
    expected = [
        {pixel for pixel in range(side) if -(length // 2) <= pixel - center < length - length // 2}
        for center in centers
    ]
    found = set()
    for image in cutout(torch.ones(2_000, 2, side, side), draws()):
        removed = (image == 0).all(0)
        rows, columns = ({*lines.nonzero().flatten().tolist()} for lines in (removed.any(1), removed.any(0)))
        assert int((image == 0).sum()) == 2 * len(rows) * len(columns)
        found |= {expected.index(rows), expected.index(columns)}
    assert found == set(centers)
    assert max(map(len, expected)) == length


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
