"""One feature network a data set: the one that ships, else the one in the cache, else one that is trained now."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from gan.data import HeldOut, ImageDataset
from gan.quality.distances import Moments, moments
from gan.quality.features import recipe, store
from gan.quality.features.net import FeatureNet, FeatureNetInfo, Task, see
from gan.quality.features.network import empty
from gan.quality.features.store import FeaturesUnreadableError

# The network of Fashion-MNIST, and the data sets that it serves, by digest: the whole set and a part of it.
SHIPPED_FILE: Final = Path(__file__).parent / "fashion_mnist.safetensors"
SHIPPED_SHA256: Final = "f26839106ad9befe6a7b7e21095548f64a071fd5ac2897fb969b38ad94dbf4c1"
SHIPPED_FOR: Final = {
    "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a": "fashion-mnist",
    "ac438b72878d39f78f59dddf7568da6320914d1488cec307e647409ae1f2b37a": "fashion-mnist-mini",
}


def for_dataset(
    data: ImageDataset, cache: Path | None = None, progress: recipe.Progress = recipe.untold
) -> FeatureNet:
    """The feature network of `data`, on the device of its images.

    Shipped, or from the folder `cache`, or trained now (minutes) and then kept there. A file of the cache that is
    damaged is made anew. `progress` is told the share that is done; what it raises ends the training, and nothing is
    kept. Raises `FeaturesUnreadableError` where the file that ships with Gantry is damaged.
    """
    sha256, device = data.sha256, data.images.device
    if recipe.tiny(data):
        return replace(train(data, sha256), folder=cache)
    if sha256 in SHIPPED_FOR:
        return replace(shipped(SHIPPED_FOR[sha256]), folder=cache).to(device)
    path = None if cache is None else cache / f"{sha256}-recipe-{recipe.VERSION}.safetensors"
    if path is not None and (known := _cached(path)) is not None:
        return replace(known, folder=cache).to(device)
    trained = train(data, sha256, progress)
    if path is not None:
        save(path, trained, {"": trained.real})
    return replace(trained, folder=cache)


def train(data: ImageDataset, sha256: str, progress: recipe.Progress = recipe.untold) -> FeatureNet:
    """Learn by the recipe, measure, and look at every training image once."""
    task = task_of(data)
    told = task in ("classes", "nearest_mean")
    outputs = {"rotations": recipe.ROTATIONS, "none": 1}.get(task, len(data.info.classes))
    learned, measured = recipe.parts(data if told else unlabelled(data))
    network = recipe.fit(learned, outputs, progress=progress)
    about = FeatureNetInfo(
        task=task,
        accuracy=None if task == "none" else recipe.accuracy(network, measured),
        measured_on=0 if task == "none" else len(measured),
        trained_on=data.info.name,
        trained_on_sha256=sha256,
        recipe=recipe.VERSION,
        channels=data.info.channels,
        side=max(data.info.height, data.info.width),
        outputs=outputs,
        sha256=store.digest(network.state_dict()),
    )
    return FeatureNet(network, about, moments(see(network, data.images).features))


def task_of(data: ImageDataset) -> Task:
    """What there is to tell: the classes, where there are labels of two or more."""
    labelled = data.labels is not None and len(data.info.classes) > 1
    if recipe.tiny(data):
        return "nearest_mean" if labelled else "none"
    return "classes" if labelled else "rotations"


def shipped(name: str, path: Path = SHIPPED_FILE) -> FeatureNet:
    """The network that is part of Gantry, with the moments of the data set `name`. Raises `FeaturesUnreadableError`."""
    try:
        known = load(path, f"{name}.")
    except FileNotFoundError as error:
        raise FeaturesUnreadableError(f"{path.name} is missing. Install Gantry again.") from error
    if known.about.sha256 != SHIPPED_SHA256:
        raise FeaturesUnreadableError(f"{path.name} is not the file that was released. Install Gantry again.")
    return known


def save(path: Path, net: FeatureNet, real: dict[str, Moments]) -> None:
    """Write the network, and the moments of one or more data sets by a prefix of their names."""
    tensors = {f"net.{name}": tensor for name, tensor in net.network.state_dict().items()}
    counts = {}
    for prefix, of_data in real.items():
        # In float32, which moves a Fréchet distance by a millionth, they are half as long.
        tensors |= {f"{prefix}mean": of_data.mean.float(), f"{prefix}covariance": of_data.covariance.float()}
        counts[prefix] = of_data.size
    store.write(path, tensors, {"net": asdict(net.about), "counts": counts})


def load(path: Path, prefix: str = "") -> FeatureNet:
    """What `save` wrote, with the moments under `prefix`. Raises `FeaturesUnreadableError`, FileNotFoundError."""
    tensors, content = store.read(path)
    about = FeatureNetInfo(**content["net"])
    network = empty(about.channels, about.side, about.outputs, normalise=False)
    weights = {name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")}
    network.load_state_dict(weights)
    if store.digest(network.state_dict()) != about.sha256:
        raise FeaturesUnreadableError(f"The weights in {path.name} are not the ones that it names.")
    mean, covariance = tensors[f"{prefix}mean"].double(), tensors[f"{prefix}covariance"].double()
    real = Moments(mean, covariance, content["counts"][prefix])
    return FeatureNet(network.requires_grad_(False).eval(), about, real)


def unlabelled(data: ImageDataset) -> ImageDataset:
    """The same images without labels."""
    held_out = None if data.held_out is None else HeldOut(data.held_out.images, None)
    return replace(data, labels=None, held_out=held_out)


def _cached(path: Path) -> FeatureNet | None:
    try:
        return load(path)
    except (FileNotFoundError, FeaturesUnreadableError):
        return None
