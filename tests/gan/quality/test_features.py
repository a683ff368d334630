"""Feature networks: their training, their files, and their metadata."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from gan.data import HeldOut, ImageDataset
from gan.datasets import load
from gan.quality.features import (
    FeatureNet,
    FeaturesUnreadableError,
    for_dataset,
    loader,
    recipe,
    store,
)
from gan.quality.features.modules import WIDTHS, empty, fuse_batch_norm, initialise, strides
from gan.randomness import generator
from gan.spec.catalog import DatasetClass, DatasetInfo

ROOT = Path(__file__).parents[3]


def band_images(
    channels: int, height: int, width: int, classes: int, labelled: bool = True, count: int = 40
) -> ImageDataset:
    """Return noise with a bright row whose position depends on the class."""
    source = torch.Generator().manual_seed(5)
    labels = torch.arange(count) % max(1, classes)
    images = torch.randint(0, 90, (count, channels, height, width), generator=source, dtype=torch.uint8)
    for class_id in range(classes):
        images[labels == class_id, :, class_id * height // classes] = 240
    named = tuple(DatasetClass(id=i, label=f"band {i}", count=count // classes) for i in range(classes))
    info = DatasetInfo(
        name="bands",
        num_images=count,
        channels=channels,
        height=height,
        width=width,
        classes=named if labelled else (),
    )
    return ImageDataset(info, images, labels if labelled else None)


def no_training(share: float) -> None:
    """Fail: a progress callback for a network that must not be trained again."""
    raise AssertionError(f"A network is trained: {share:.0%} done.")


@pytest.fixture(scope="module")
def net_of_shapes(shapes: ImageDataset) -> FeatureNet:
    """Return the feature network of `shapes`."""
    return for_dataset(shapes)


def test_the_shipped_network_classifies_92_percent_of_fashion_mnist() -> None:
    mini = load("fashion-mnist-mini")
    net = for_dataset(mini)
    assert net.about.accuracy is not None
    assert net.about.accuracy >= 0.92
    assert (net.about.trained_on, net.about.measured_on) == ("fashion-mnist", 10_000)
    assert net.about.sha256 == loader.SHIPPED_SHA256 == store.digest(net.network.state_dict())
    assert net.real.size == 5_000
    assert mini.held_out is not None
    assert recipe.accuracy(net.network, mini.held_out) == pytest.approx(net.about.accuracy, abs=0.03)
    assert loader.shipped("fashion-mnist").real.size == 60_000
    assert loader.SHIPPED_FILE.stat().st_size < 1_200_000


def test_the_shipped_file_has_the_moments_of_its_data_sets() -> None:
    mini = load("fashion-mnist-mini")
    net = for_dataset(mini)
    outputs = net.outputs(mini.images[::10]).features.double()
    assert outputs.shape == (500, WIDTHS[-1])
    assert (net.real.mean - outputs.mean(0)).norm() < 0.05 * outputs.mean(0).norm()
    assert net.real.covariance.trace() == pytest.approx(torch.cov(outputs.T).trace().item(), rel=0.05)


@pytest.mark.parametrize("at", [200, 500_000, -10])
def test_a_damaged_shipped_file_is_refused(tmp_path: Path, at: int) -> None:
    content = bytearray(loader.SHIPPED_FILE.read_bytes())
    content[at] ^= 1
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(FeaturesUnreadableError, match=r"net\.safetensors"):
        loader.shipped("fashion-mnist", tmp_path / "net.safetensors")


def test_a_missing_or_different_shipped_file_is_refused(tmp_path: Path, net_of_shapes: FeatureNet) -> None:
    with pytest.raises(FeaturesUnreadableError, match="Install Gantry again"):
        loader.shipped("fashion-mnist", tmp_path / "net.safetensors")
    loader.save(tmp_path / "net.safetensors", net_of_shapes, {"fashion-mnist.": net_of_shapes.real})
    with pytest.raises(FeaturesUnreadableError, match="not the file that was released"):
        loader.shipped("fashion-mnist", tmp_path / "net.safetensors")


def test_a_network_learns_the_classes_and_is_measured_on_other_images(
    shapes: ImageDataset, net_of_shapes: FeatureNet
) -> None:
    about = net_of_shapes.about
    assert (about.task, about.outputs, about.measured_on, about.trained_on) == ("classes", 3, 6, "shapes")
    assert about.trained_on_sha256 == shapes.digest()
    assert about.accuracy == 1.0
    training, test = recipe.split(shapes)
    assert len(training) + len(test) == 60
    assert shapes.labels is not None
    assert net_of_shapes.predicts_classes
    right = net_of_shapes.outputs(shapes.images).logits.argmax(1) == shapes.labels
    assert right.double().mean() > 0.95


def test_accuracy_is_measured_on_held_out_images(shapes: ImageDataset) -> None:
    labels = torch.tensor([0, 1, 2])
    held_out = HeldOut(torch.zeros(3, 1, 12, 14, dtype=torch.uint8), labels)
    training, test = recipe.split(replace(shapes, held_out=held_out))
    assert len(training) == 60
    assert test is held_out


def test_without_labels_the_task_is_rotations() -> None:
    mini = load("fashion-mnist-mini")
    info = mini.info.model_copy(update={"classes": (), "sha256": None})
    net = for_dataset(ImageDataset(info, mini.images[::100], None))
    assert (net.about.task, net.about.outputs) == ("rotations", 4)
    assert not net.predicts_classes
    assert net.about.accuracy is not None
    # For 20 rotated images; chance level is a quarter.
    assert net.about.accuracy > 0.6


def test_a_single_class_counts_as_no_labels() -> None:
    assert loader.task_of(band_images(1, 8, 8, 1)) == "rotations"
    assert loader.task_of(band_images(1, 8, 8, 2)) == "classes"


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(3, 8, 8), (4, 20, 9), (2, 8, 40)], ids=["rgb", "rgba, upright", "wide"]
)
def test_images_of_any_shape_and_number_of_channels(channels: int, height: int, width: int) -> None:
    data = band_images(channels, height, width, 2)
    net = for_dataset(data)
    assert net.about.accuracy == 1.0
    assert net.outputs(data.images).features.shape == (40, 128)
    assert torch.isfinite(net.real.covariance).all()


@pytest.mark.parametrize("side", [1, 8, 9, 12, 16, 28, 32, 48, 64, 100, 128])
def test_the_last_map_of_every_size_has_a_few_pixels(side: int) -> None:
    last = side
    for stride in strides(side):
        last = -(-last // stride)
    assert last == side if side <= 8 else 4 < last <= 8


def test_tiny_images_are_their_own_features() -> None:
    data = band_images(1, 4, 2, 4)
    net = for_dataset(data)
    assert (net.about.task, net.about.accuracy) == ("nearest_mean", 1.0)
    outputs = net.outputs(data.images)
    assert outputs.features.dtype == torch.float64
    assert torch.equal(outputs.features, data.images.flatten(1).double() / 127.5 - 1)
    assert data.labels is not None
    assert (outputs.logits.argmax(1) == data.labels).all()
    unlabelled = for_dataset(band_images(1, 1, 2, 1, labelled=False))
    assert (unlabelled.about.task, unlabelled.about.accuracy, unlabelled.predicts_classes) == ("none", None, False)


def test_batchnorm_is_folded_into_the_convolutions() -> None:
    network = empty(3, 20, 5, normalise=True)
    initialise(network, generator(1, "test"))
    images = torch.randn(16, 3, 20, 20, generator=generator(2, "test"))
    network.train()
    for _ in range(5):
        network(images)
    network.eval()
    plain = fuse_batch_norm(network, 3, 20)
    with torch.no_grad():
        assert torch.allclose(plain(images).logits, network(images).logits, atol=1e-4)
    assert sum(p.numel() for p in plain.buffers()) == 0


def test_a_cached_network_is_not_trained_again(
    tmp_path: Path, shapes: ImageDataset, net_of_shapes: FeatureNet
) -> None:
    shares: list[float] = []
    before = torch.get_rng_state()
    first = for_dataset(shapes, tmp_path, shares.append)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.real.covariance, net_of_shapes.real.covariance)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    again = for_dataset(shapes, tmp_path, no_training)
    assert again.about == first.about == net_of_shapes.about
    assert torch.equal(again.outputs(shapes.images).features, first.outputs(shapes.images).features)
    assert torch.allclose(again.real.covariance, first.real.covariance, rtol=1e-5, atol=1e-6)
    assert again.real.size == 60
    # Other images have another network.
    with pytest.raises(AssertionError):
        for_dataset(replace(shapes, images=shapes.images.flip(0)), tmp_path, no_training)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_file_in_the_cache_is_replaced(
    tmp_path: Path, net_of_shapes: FeatureNet, shapes: ImageDataset
) -> None:
    loader.save(
        file := tmp_path / f"{shapes.digest()}-recipe-{recipe.VERSION}.safetensors",
        net_of_shapes,
        {"": net_of_shapes.real},
    )
    assert for_dataset(shapes, tmp_path, no_training).about == net_of_shapes.about
    whole = bytearray(file.read_bytes())
    whole[-9] ^= 1
    file.write_bytes(whole)
    shares: list[float] = []
    assert for_dataset(shapes, tmp_path, shares.append).about == net_of_shapes.about
    assert shares
    assert for_dataset(shapes, tmp_path, no_training).about == net_of_shapes.about


@pytest.mark.parametrize(
    "content", [b"", b"no safetensors", b"\x08\0\0\0\0\0\0\0{}      "], ids=["empty", "other", "bare"]
)
def test_a_file_that_is_not_a_feature_network_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(FeaturesUnreadableError, match="net"):
        store.read(tmp_path / "net")


def test_an_exception_in_progress_ends_the_training_and_nothing_is_written(
    tmp_path: Path, shapes: ImageDataset
) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_dataset(shapes, tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_can_cache_the_same_network_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, torch; torch.set_num_threads(1); "
        "from tests.gan.quality.test_features import band_images; "
        "from gan.quality.features import for_dataset; "
        "print(for_dataset(band_images(1, 8, 8, 2), pathlib.Path(sys.argv[1])).about.sha256)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate(timeout=200)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(digests) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    assert for_dataset(band_images(1, 8, 8, 2), tmp_path, no_training).about.sha256 == digests.pop().strip()


def test_metrics_of_real_images_are_cached_if_there_is_a_folder(tmp_path: Path, net_of_shapes: FeatureNet) -> None:
    caching = replace(net_of_shapes, folder=tmp_path)
    assert caching.cached_metrics("a", lambda: {"fcd": 0.1}) == {"fcd": 0.1}
    assert caching.cached_metrics("a", lambda: {"fcd": 0.2}) == {"fcd": 0.1}
    assert net_of_shapes.cached_metrics("a", lambda: {"fcd": 0.2}) == {"fcd": 0.2}
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert caching.cached_metrics("a", lambda: {"fcd": 0.3}) == {"fcd": 0.3}


def test_the_metadata_can_be_written_to_json(net_of_shapes: FeatureNet) -> None:
    assert json.loads(json.dumps(asdict(net_of_shapes.about))) == asdict(net_of_shapes.about)


def test_a_file_of_another_version_is_refused(tmp_path: Path, net_of_shapes: FeatureNet) -> None:
    loader.save(tmp_path / "net", net_of_shapes, {"": net_of_shapes.real})
    shutil.copy(tmp_path / "net", tmp_path / "copy")
    assert loader.load(tmp_path / "copy").about == net_of_shapes.about
    raw = (tmp_path / "net").read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9')
    (tmp_path / "net").write_bytes(raw)
    with pytest.raises(FeaturesUnreadableError, match="version"):
        loader.load(tmp_path / "net")
