"""Train the feature network that ships with Gantry and write `fashion_mnist.safetensors`.

Run `python -m gan.quality.features.make` on a machine with Fashion-MNIST; it takes five minutes on one core. Then
copy the printed digest to `gan.quality.features.loader.SHIPPED_SHA256`. Another version of torch or another number of
threads gives another network that is as good.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gan.data import ImageDataset
from gan.datasets import load
from gan.quality.distances import moments
from gan.quality.features.loader import SHIPPED_FILE, SHIPPED_FOR, save, train


def make(path: Path = SHIPPED_FILE) -> str:
    """Train on Fashion-MNIST, compute the moments of every data set that the network is for, and write the file.

    Returns the sha256 of the weights.
    """
    sets: dict[str, ImageDataset] = {name: load(name) for name in SHIPPED_FOR.values()}
    whole = sets["fashion-mnist"]
    net = train(whole, whole.digest(), lambda share: print(f"\r{share:.0%}", end="", file=sys.stderr))
    save(path, net, {f"{name}.": moments(net.outputs(data.images).features) for name, data in sets.items()})
    print(f"\naccuracy {net.about.accuracy} on {net.about.measured_on} images", file=sys.stderr)
    return net.about.sha256


if __name__ == "__main__":
    print(make())
