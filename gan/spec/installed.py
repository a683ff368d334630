"""Whether this installation has a built-in data set. Neither the images nor their library are loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

DEBIAN_FASHION_MNIST: Final = Path("/usr/share/datasets/fashion-mnist")
HOW_TO_GET_FASHION_MNIST: Final = (
    "Install Debian's package with `apt install dataset-fashion-mnist`, or the library that downloads it with "
    "`pip install 'gantry[hub]'`; or train on 'fashion-mnist-mini', which is part of Gantry."
)


def why_not_installed(name: str) -> str:
    """Return why a worker on this machine could not load the built-in data set `name`, and the cure; "" if it could.

    A set that the library would have to download counts as installed.
    """
    if name != "fashion-mnist" or DEBIAN_FASHION_MNIST.is_dir() or find_spec("datasets") is not None:
        return ""
    return f"'{name}' is not on this machine. {HOW_TO_GET_FASHION_MNIST}"
