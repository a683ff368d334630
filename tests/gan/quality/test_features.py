"""The feature network: how it learns, how it is kept, and what it says of itself."""

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


def drawn(
    channels: int, height: int, width: int, classes: int, labelled: bool = True, count: int = 40
) -> ImageDataset:
    """Noise with a bright band, a place for each class."""
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


def not_again(share: float) -> None:
    """Fail if training reports progress."""
    raise AssertionError(f"It is being trained: {share:.0%}.")


@pytest.fixture(scope="module")
def of_shapes(shapes: ImageDataset) -> FeatureNet:
    return for_dataset(shapes)


def test_the_network_that_ships_tells_92_percent_of_fashion_mnist_and_serves_the_part_too() -> None:
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


def test_it_ships_with_the_moments_of_the_images_that_it_serves() -> None:
    mini = load("fashion-mnist-mini")
    net = for_dataset(mini)
    seen = net.outputs(mini.images[::10]).features.double()
    assert seen.shape == (500, WIDTHS[-1])
    assert (net.real.mean - seen.mean(0)).norm() < 0.05 * seen.mean(0).norm()
    assert net.real.covariance.trace() == pytest.approx(torch.cov(seen.T).trace().item(), rel=0.05)


@pytest.mark.parametrize("at", [200, 500_000, -10])
def test_a_shipped_file_that_is_damaged_is_refused_with_what_to_do(tmp_path: Path, at: int) -> None:
    content = bytearray(loader.SHIPPED_FILE.read_bytes())
    content[at] ^= 1
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(FeaturesUnreadableError, match=r"net\.safetensors"):
        loader.shipped("fashion-mnist", tmp_path / "net.safetensors")


def test_a_shipped_file_that_is_missing_or_another_is_refused(tmp_path: Path, of_shapes: FeatureNet) -> None:
    with pytest.raises(FeaturesUnreadableError, match="Install Gantry again"):
        loader.shipped("fashion-mnist", tmp_path / "net.safetensors")
    loader.save(tmp_path / "net.safetensors", of_shapes, {"fashion-mnist.": of_shapes.real})
    with pytest.raises(FeaturesUnreadableError, match="not the file that was released"):
        loader.shipped("fashion-mnist", tmp_path / "net.safetensors")


def test_it_learns_the_classes_and_is_measured_on_what_it_did_not_see(
    shapes: ImageDataset, of_shapes: FeatureNet
) -> None:
    about = of_shapes.about
    assert (about.task, about.outputs, about.measured_on, about.trained_on) == ("classes", 3, 6, "shapes")
    assert about.trained_on_sha256 == shapes.digest()
    assert about.accuracy == 1.0
    learned, measured = recipe.split(shapes)
    assert len(learned) + len(measured) == 60
    assert shapes.labels is not None
    assert of_shapes.predicts_classes
    right = of_shapes.outputs(shapes.images).logits.argmax(1) == shapes.labels
    assert right.double().mean() > 0.95


def test_held_out_images_are_what_it_is_measured_on(shapes: ImageDataset) -> None:
    labels = torch.tensor([0, 1, 2])
    held_out = HeldOut(torch.zeros(3, 1, 12, 14, dtype=torch.uint8), labels)
    learned, measured = recipe.split(replace(shapes, held_out=held_out))
    assert len(learned) == 60
    assert measured is held_out


def test_images_without_labels_teach_which_way_is_up() -> None:
    mini = load("fashion-mnist-mini")
    info = mini.info.model_copy(update={"classes": (), "sha256": None})
    net = for_dataset(ImageDataset(info, mini.images[::100], None))
    assert (net.about.task, net.about.outputs) == ("rotations", 4)
    assert not net.predicts_classes
    assert net.about.accuracy is not None
    # Of 20 turned images; chance is a quarter.
    assert net.about.accuracy > 0.6


def test_one_class_for_all_is_as_good_as_none() -> None:
    assert loader.task_of(drawn(1, 8, 8, 1)) == "rotations"
    assert loader.task_of(drawn(1, 8, 8, 2)) == "classes"


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(3, 8, 8), (4, 20, 9), (2, 8, 40)], ids=["rgb", "rgba, upright", "wide"]
)
def test_any_shape_and_any_channels(channels: int, height: int, width: int) -> None:
    data = drawn(channels, height, width, 2)
    net = for_dataset(data)
    assert net.about.accuracy == 1.0
    assert net.outputs(data.images).features.shape == (40, 128)
    assert torch.isfinite(net.real.covariance).all()


@pytest.mark.parametrize("side", [1, 8, 9, 12, 16, 28, 32, 48, 64, 100, 128])
def test_every_size_comes_to_a_few_pixels(side: int) -> None:
    last = side
    for stride in strides(side):
        last = -(-last // stride)
    assert last == side if side <= 8 else 4 < last <= 8


def test_tiny_images_are_their_own_features() -> None:
    data = drawn(1, 4, 2, 4)
    net = for_dataset(data)
    assert (net.about.task, net.about.accuracy) == ("nearest_mean", 1.0)
    seen = net.outputs(data.images)
    assert seen.features.dtype == torch.float64
    assert torch.equal(seen.features, data.images.flatten(1).double() / 127.5 - 1)
    assert data.labels is not None
    assert (seen.logits.argmax(1) == data.labels).all()
    unlabelled = for_dataset(drawn(1, 1, 2, 1, labelled=False))
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


def test_what_the_cache_holds_is_not_learned_again(
    tmp_path: Path, shapes: ImageDataset, of_shapes: FeatureNet
) -> None:
    told: list[float] = []
    before = torch.get_rng_state()
    first = for_dataset(shapes, tmp_path, told.append)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.real.covariance, of_shapes.real.covariance)
    assert told[-1] == 1.0
    assert told == sorted(told)
    again = for_dataset(shapes, tmp_path, not_again)
    assert again.about == first.about == of_shapes.about
    assert torch.equal(again.outputs(shapes.images).features, first.outputs(shapes.images).features)
    assert torch.allclose(again.real.covariance, first.real.covariance, rtol=1e-5, atol=1e-6)
    assert again.real.size == 60
    # Other images have another network.
    with pytest.raises(AssertionError):
        for_dataset(replace(shapes, images=shapes.images.flip(0)), tmp_path, not_again)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_file_in_the_cache_is_made_anew(
    tmp_path: Path, of_shapes: FeatureNet, shapes: ImageDataset
) -> None:
    loader.save(
        file := tmp_path / f"{shapes.digest()}-recipe-{recipe.VERSION}.safetensors", of_shapes, {"": of_shapes.real}
    )
    assert for_dataset(shapes, tmp_path, not_again).about == of_shapes.about
    whole = bytearray(file.read_bytes())
    whole[-9] ^= 1
    file.write_bytes(whole)
    told: list[float] = []
    assert for_dataset(shapes, tmp_path, told.append).about == of_shapes.about
    assert told
    assert for_dataset(shapes, tmp_path, not_again).about == of_shapes.about


@pytest.mark.parametrize(
    "content", [b"", b"no safetensors", b"\x08\0\0\0\0\0\0\0{}      "], ids=["empty", "other", "bare"]
)
def test_what_is_no_feature_network_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(FeaturesUnreadableError, match="net"):
        store.read(tmp_path / "net")


def test_what_progress_raises_ends_the_training_and_nothing_is_kept(tmp_path: Path, shapes: ImageDataset) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_dataset(shapes, tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_keep_the_same_network_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, torch; torch.set_num_threads(1); from tests.gan.quality.test_features import drawn; "
        "from gan.quality.features import for_dataset; "
        "print(for_dataset(drawn(1, 8, 8, 2), pathlib.Path(sys.argv[1])).about.sha256)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=200)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    assert for_dataset(drawn(1, 8, 8, 2), tmp_path, not_again).about.sha256 == said.pop().strip()


def test_figures_of_real_images_are_remembered_where_there_is_a_folder(tmp_path: Path, of_shapes: FeatureNet) -> None:
    keeping = replace(of_shapes, folder=tmp_path)
    assert keeping.cached_metrics("a", lambda: {"fcd": 0.1}) == {"fcd": 0.1}
    assert keeping.cached_metrics("a", lambda: {"fcd": 0.2}) == {"fcd": 0.1}
    assert of_shapes.cached_metrics("a", lambda: {"fcd": 0.2}) == {"fcd": 0.2}
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert keeping.cached_metrics("a", lambda: {"fcd": 0.3}) == {"fcd": 0.3}


def test_what_it_says_of_itself_is_plain(of_shapes: FeatureNet) -> None:
    assert json.loads(json.dumps(asdict(of_shapes.about))) == asdict(of_shapes.about)


def test_a_file_of_another_version_is_refused(tmp_path: Path, of_shapes: FeatureNet) -> None:
    loader.save(tmp_path / "net", of_shapes, {"": of_shapes.real})
    shutil.copy(tmp_path / "net", tmp_path / "copy")
    assert loader.load(tmp_path / "copy").about == of_shapes.about
    raw = (tmp_path / "net").read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9')
    (tmp_path / "net").write_bytes(raw)
    with pytest.raises(FeaturesUnreadableError, match="version"):
        loader.load(tmp_path / "net")
