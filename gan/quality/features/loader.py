"""The feature network of a data set: shipped with Gantry, read from the cache, or trained now."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from gan.data import HeldOut, ImageDataset
from gan.quality.distances import Moments, moments
from gan.quality.features import recipe, store
from gan.quality.features.feature_net import FeatureNet, FeatureNetInfo, Task, network_outputs
from gan.quality.features.modules import empty
from gan.quality.features.store import FeaturesUnreadableError

# The network of Fashion-MNIST, and the data sets that it is for, by digest: the whole data set and a part of it.
SHIPPED_FILE: Final = Path(__file__).parent / "fashion_mnist.safetensors"
SHIPPED_SHA256: Final = "f26839106ad9befe6a7b7e21095548f64a071fd5ac2897fb969b38ad94dbf4c1"
SHIPPED_FOR: Final = {
    "1f243a60b4b748a44c48b9a6f6907be2a08bee3e4e226f0e86fbde8e147b745a": "fashion-mnist",
    "ac438b72878d39f78f59dddf7568da6320914d1488cec307e647409ae1f2b37a": "fashion-mnist-mini",
}


def for_dataset(
    data: ImageDataset, cache: Path | None = None, progress: recipe.Progress = recipe.no_progress
) -> FeatureNet:
    """Return the feature network of `data`, on the device of its images.

    It ships with Gantry, or is in the folder `cache`, or is trained now, which takes minutes, and is written there. A
    damaged file in the cache is replaced. `progress` is called with the share of the training that is done, 0..1; an
    exception that it raises ends the training, and nothing is written. Raises `FeaturesUnreadableError` if the file
    that ships with Gantry is missing or damaged.
    """
    sha256, device = data.sha256, data.images.device
    if recipe.is_tiny(data):
        return replace(train(data, sha256), folder=cache)
    if sha256 in SHIPPED_FOR:
        return replace(shipped(SHIPPED_FOR[sha256]), folder=cache).to(device)
    path = None if cache is None else cache / f"{sha256}-recipe-{recipe.VERSION}.safetensors"
    if path is not None and (cached := _cached(path)) is not None:
        return replace(cached, folder=cache).to(device)
    trained = train(data, sha256, progress)
    if path is not None:
        save(path, trained, {"": trained.real})
    return replace(trained, folder=cache)


def train(data: ImageDataset, sha256: str, progress: recipe.Progress = recipe.no_progress) -> FeatureNet:
    """Train a network by the recipe, measure its accuracy, and compute the moments of all training images.

    `sha256` is the digest of `data`.
    """
    task = task_of(data)
    labelled = task in ("classes", "nearest_mean")
    outputs = {"rotations": recipe.ROTATIONS, "none": 1}.get(task, len(data.info.classes))
    training, test = recipe.split(data if labelled else without_labels(data))
    network = recipe.fit(training, outputs, progress=progress)
    about = FeatureNetInfo(
        task=task,
        accuracy=None if task == "none" else recipe.accuracy(network, test),
        measured_on=0 if task == "none" else len(test),
        trained_on=data.info.name,
        trained_on_sha256=sha256,
        recipe=recipe.VERSION,
        channels=data.info.channels,
        side=max(data.info.height, data.info.width),
        outputs=outputs,
        sha256=store.digest(network.state_dict()),
    )
    return FeatureNet(network, about, moments(network_outputs(network, data.images).features))


def task_of(data: ImageDataset) -> Task:
    """Return the task of the network of `data`: to classify the classes, if there are labels of at least two."""
    labelled = data.labels is not None and len(data.info.classes) > 1
    if recipe.is_tiny(data):
        return "nearest_mean" if labelled else "none"
    return "classes" if labelled else "rotations"


def shipped(name: str, path: Path = SHIPPED_FILE) -> FeatureNet:
    """Return the network that ships with Gantry, with the moments of the data set `name`.

    Raises `FeaturesUnreadableError` if the file is missing, damaged or not the one that was released.
    """
    try:
        net = load(path, f"{name}.")
    except FileNotFoundError as error:
        raise FeaturesUnreadableError(f"{path.name} is missing. Install Gantry again.") from error
    if net.about.sha256 != SHIPPED_SHA256:
        raise FeaturesUnreadableError(f"{path.name} is not the file that was released. Install Gantry again.")
    return net


def save(path: Path, net: FeatureNet, real: dict[str, Moments]) -> None:
    """Write the network and the moments `real` of data sets, each under the prefix that is its key."""
    tensors = {f"net.{name}": tensor for name, tensor in net.network.state_dict().items()}
    counts = {}
    for prefix, data_moments in real.items():
        # float32 halves the file and changes a Fréchet distance by a millionth.
        tensors |= {
            f"{prefix}mean": data_moments.mean.float(),
            f"{prefix}covariance": data_moments.covariance.float(),
        }
        counts[prefix] = data_moments.size
    store.write(path, tensors, {"net": asdict(net.about), "counts": counts})


def load(path: Path, prefix: str = "") -> FeatureNet:
    """Read a file that `save` wrote, with the moments under `prefix`.

    Raises `FeaturesUnreadableError`, and `FileNotFoundError` if there is no file.
    """
    tensors, content = store.read(path)
    about = FeatureNetInfo(**content["net"])
    network = empty(about.channels, about.side, about.outputs, normalise=False)
    weights = {name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")}
    network.load_state_dict(weights)
    if store.digest(network.state_dict()) != about.sha256:
        raise FeaturesUnreadableError(f"The weights in {path.name} do not have the digest that the file states.")
    mean, covariance = tensors[f"{prefix}mean"].double(), tensors[f"{prefix}covariance"].double()
    real = Moments(mean, covariance, content["counts"][prefix])
    return FeatureNet(network.requires_grad_(False).eval(), about, real)


def without_labels(data: ImageDataset) -> ImageDataset:
    """Return the same images without labels."""
    held_out = None if data.held_out is None else HeldOut(data.held_out.images, None)
    return replace(data, labels=None, held_out=held_out)


def _cached(path: Path) -> FeatureNet | None:
    try:
        return load(path)
    except (FileNotFoundError, FeaturesUnreadableError):
        return None
