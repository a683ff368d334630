"""What the tests of learning share: a quick spec, a small data set, one thread, the same chance in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gan.data import ImageDataset
from gan.spec import TrainSpec
from tests.gan.quick import quick_spec, three_shapes


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _same_chance() -> None:
    """Seed torch, so that a test without a seed of its own does not depend on earlier tests."""
    torch.manual_seed(0)


@pytest.fixture
def quick() -> Callable[..., TrainSpec]:
    """`quick_spec`, with the small sizes that keep a test quick."""
    return quick_spec


@pytest.fixture(scope="session")
def shapes() -> ImageDataset:
    """`three_shapes`."""
    return three_shapes()
