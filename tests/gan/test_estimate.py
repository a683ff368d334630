"""Estimates, compared with the measured values."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gan import checkpoint
from gan.architectures import build_networks
from gan.data import ImageDataset
from gan.estimate import _saved_bytes, estimate
from gan.spec import TrainSpec, preset_spec
from gan.spec.catalog import BUILTIN_DATASETS
from gan.spec.presets import PRESETS
from gan.train import Trainer
from tests.gan.architectures.variants import VARIANTS, both

Quick = Callable[..., TrainSpec]
MINI = BUILTIN_DATASETS["fashion-mnist-mini"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_numbers_of_parameters_are_exact(name: str) -> None:
    expected = estimate(preset_spec(name), MINI)
    counts = [sum(p.numel() for p in n.parameters()) for n in build_networks(preset_spec(name), MINI)]
    assert [expected.generator_parameters, expected.discriminator_parameters] == counts


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": {"enabled": False}},
        {"generator": {"base_channels": 32}},
        {"optimizers": {"d": {"kind": "rmsprop"}}, "stabilizers": {"historical_averaging": 0.1}},
        {"preset": "sagan", "total_steps": 1, "generator": {"base_channels": 16}},
    ],
)
def test_a_checkpoint_has_about_the_estimated_size(
    quick: Quick, shapes: ImageDataset, changes: dict[str, Any]
) -> None:
    trainer = Trainer(quick(**changes), shapes)
    list(trainer.run())
    file = io.BytesIO()
    checkpoint.save(file, trainer.state())
    expected = estimate(trainer.spec, shapes.info).checkpoint_bytes
    assert 0.9 * len(file.getvalue()) < expected < 1.1 * len(file.getvalue()) + 65536


def test_each_activation_is_counted_once() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(inplace=True), torch.nn.Linear(20, 1))
    saved = _saved_bytes(network, torch.zeros(4, 10))
    assert saved == 4 * (4 * 10 + 4 * 20 + 4 * 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_network_is_estimated_without_being_allocated(quick: Quick, variant: str) -> None:
    few, many = (estimate(quick(batch_size=n, **VARIANTS[variant]), MINI).memory_bytes for n in (32, 64))
    assert few < many


def test_a_penalty_needs_memory_for_its_second_derivative(quick: Quick) -> None:
    def memory(*kinds: str) -> int:
        penalties = [{"kind": kind, "weight": 1.0} for kind in kinds]
        return estimate(quick(batch_size=64, penalties=penalties, **both("r3gan")), MINI).memory_bytes

    assert memory() < memory("r1") < memory("r1", "r2") < memory("r1", "r2", "gradient_penalty")
    assert memory("r1") == memory("r2")


def test_more_of_anything_costs_more(quick: Quick) -> None:
    base = estimate(quick(), MINI)
    assert estimate(quick(batch_size=12), MINI).memory_bytes > base.memory_bytes
    assert estimate(quick(generator={"base_channels": 8}), MINI).checkpoint_bytes > base.checkpoint_bytes
    assert estimate(quick(total_steps=400), MINI).disk_bytes > base.disk_bytes
    assert estimate(quick(), BUILTIN_DATASETS["fashion-mnist"]).memory_bytes > base.memory_bytes


def test_the_largest_spec_is_estimated_without_being_allocated(quick: Quick) -> None:
    wide = {"base_channels": 256}
    large = MINI.model_copy(update={"height": 128, "width": 128, "channels": 4})
    huge = estimate(quick(generator=wide, discriminator=wide, batch_size=4096), large)
    assert huge.memory_bytes > 50 * 2**30
