"""The export to ONNX: onnxruntime draws the same images as torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from gan import checkpoint
from gan.architectures import build_networks
from gan.data import ImageDataset
from gan.export import OnnxUnavailableError, to_onnx
from gan.sample import TrainedGenerator
from gan.spec import TrainSpec
from gan.train import Trainer
from tests.gan.architectures.variants import VARIANTS, info

Quick = Callable[..., TrainSpec]


def generator(spec: TrainSpec, data: ImageDataset) -> TrainedGenerator:
    """Train `spec` and return its generator."""
    trainer = Trainer(spec, data)
    list(trainer.run())
    return TrainedGenerator.load(checkpoint.save_weights(trainer.weights(), spec, data.info, trainer.step))


@pytest.mark.parametrize("changes", [{}, {"preset": "goodfellow2014"}], ids=["conditional", "unconditional"])
def test_onnxruntime_draws_what_torch_draws(quick: Quick, shapes: ImageDataset, changes: dict[str, Any]) -> None:
    drawn = generator(quick(**changes), shapes)
    session = onnxruntime.InferenceSession(to_onnx(drawn), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        z, labels = torch.randn(count, 8), torch.arange(count) % 3 if drawn.spec.conditional else None
        feed = {"z": z.numpy()} | ({"class_ids": labels.numpy()} if labels is not None else {})
        (images,) = session.run(["images"], feed)
        with torch.no_grad():
            expected = drawn.network(z, labels)
        padding = (expected.shape[2] - 12) // 2, (expected.shape[3] - 14) // 2
        expected = expected[:, :, padding[0] : padding[0] + 12, padding[1] : padding[1] + 14].numpy()
        assert images.shape == (count, 1, 12, 14)
        assert np.allclose(images, expected, atol=1e-5)


# Together these have every kind of layer that a generator may have.
EXPORTED = ["dcgan-virtual", "dcgan-spectral", "mlp", "resnet-sagan", "r3gan"]


@pytest.mark.parametrize("variant", EXPORTED)
def test_every_kind_of_generator_is_exported(quick: Quick, variant: str) -> None:
    spec = quick(**VARIANTS[variant])
    G, _ = build_networks(spec, info(16, 2))
    z, labels = torch.randn(5, 8), torch.tensor([2, 0, 1, 1, 2]) if spec.conditional else None
    for tensor in G.parameters():
        tensor.data.add_(0.1 * torch.randn(tensor.shape))
    # A pass in train mode changes running statistics and singular values, as training does.
    G(z, labels)
    before = {name: tensor.clone() for name, tensor in G.state_dict().items()}
    session = onnxruntime.InferenceSession(
        to_onnx(TrainedGenerator(G.eval(), spec, info(16, 2), step=0)), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        expected = G(z, labels).numpy()
    for count in (1, 5):
        feed = {"z": z[:count].numpy()} | ({} if labels is None else {"class_ids": labels[:count].numpy()})
        (images,) = session.run(["images"], feed)
        assert np.allclose(images, expected[:count], atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in G.state_dict().items())


def test_the_error_names_the_libraries_to_install(
    quick: Quick, shapes: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = generator(quick(total_steps=1), shapes)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(OnnxUnavailableError, match=r"onnxscript.*gantry\[onnx\]"):
        to_onnx(drawn)
