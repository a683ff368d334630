"""What the tests of learning share: a quick spec, a small data set, one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gan.catalog import DatasetClass, DatasetInfo
from gan.data import ImageDataset
from gan.spec import TrainSpec
from tests.gan.quick import quick_spec


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quick() -> Callable[..., TrainSpec]:
    """`quick_spec`, with the small sizes that keep a test quick."""
    return quick_spec


@pytest.fixture(scope="session")
def shapes() -> ImageDataset:
    """60 images of 12 x 14 in three classes, each class with a pattern of its own; drawn from a fixed seed."""
    source = torch.Generator().manual_seed(3)
    labels = torch.arange(3).repeat(20)
    images = torch.randint(0, 60, (60, 1, 12, 14), generator=source, dtype=torch.uint8)
    for class_id in range(3):
        images[labels == class_id, :, class_id * 4 : class_id * 4 + 3] = 220
    classes = tuple(DatasetClass(id=i, label=name, count=20) for i, name in enumerate(("top", "middle", "low")))
    info = DatasetInfo(name="shapes", num_images=60, channels=1, height=12, width=14, classes=classes)
    return ImageDataset(info=info, images=images, labels=labels)
