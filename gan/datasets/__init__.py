"""The built-in data sets. `load` reads one into memory by its name; nothing is read at import time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gan.data import ImageDataset
from gan.datasets import fashion_mnist, fashion_mnist_mini
from gan.datasets.errors import DatasetUnavailableError

__all__ = ["DatasetUnavailableError", "load"]

_LOADERS: Final[dict[str, Callable[[], ImageDataset]]] = {
    "fashion-mnist-mini": fashion_mnist_mini.load,
    "fashion-mnist": fashion_mnist.load,
}


def load(name: str) -> ImageDataset:
    """Return the data set `name` as uint8 on the CPU, verified against the digest in `gan.spec.catalog`.

    Raises `ValueError` for an unknown name, and `DatasetUnavailableError` if its files are missing or damaged.
    """
    if name not in _LOADERS:
        raise ValueError(f"There is no data set {name[:200]!r}. Take one of: {', '.join(_LOADERS)}.")
    return _LOADERS[name]()
