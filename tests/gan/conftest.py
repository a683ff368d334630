"""Fixtures of the tests of learning: a quick spec, a small data set, one thread, and a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gan.data import ImageDataset
from gan.spec import TrainSpec
from tests.gan.quick import quick_spec, three_shapes


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Run all tests with one thread of torch, so that sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Seed the global generator, so that a test does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture
def quick() -> Callable[..., TrainSpec]:
    """Return the function `quick_spec`."""
    return quick_spec


@pytest.fixture(scope="session")
def shapes() -> ImageDataset:
    """Return `three_shapes()`."""
    return three_shapes()
