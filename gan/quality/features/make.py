"""Trains the feature network that ships with Gantry and writes `fashion_mnist.safetensors`.

Run `python -m gan.quality.features.make` where Fashion-MNIST is (five minutes on one core); then copy the digest that it
prints to `gan.quality.features.kept.SHIPPED_SHA256`. Another torch, or other threads, make another network that is as good.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gan.data import ImageDataset
from gan.datasets import load
from gan.quality.distances import moments
from gan.quality.features.kept import SHIPPED_FILE, SHIPPED_FOR, save, train


def make(path: Path = SHIPPED_FILE) -> str:
    """Train on Fashion-MNIST, look at each data set that the network is to serve, write. Returns its sha256."""
    sets: dict[str, ImageDataset] = {name: load(name) for name in SHIPPED_FOR.values()}
    whole = sets["fashion-mnist"]
    net = train(whole, whole.digest(), lambda share: print(f"\r{share:.0%}", end="", file=sys.stderr))
    save(path, net, {f"{name}.": moments(net.see(data.images).features) for name, data in sets.items()})
    print(f"\naccuracy {net.about.accuracy} on {net.about.measured_on} images", file=sys.stderr)
    return net.about.sha256


if __name__ == "__main__":
    print(make())
