"""Several ranks train one job: together they compute what one process computes with the whole batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gan.adversarial.distributed import ALONE, Ranks
from gan.adversarial.state import TrainingState, metrics_of
from gan.datasets import load
from gan.spec import TrainSpec
from tests.gan.quick import quick_spec

STEPS = 3
# No layer or loss here depends on the whole batch: there is no BatchNorm.
CHANGES: dict[str, dict[str, Any]] = {
    "relativistic": {
        "loss": {"kind": "relativistic"},
        "penalties": [{"kind": "r1", "weight": 1.0}, {"kind": "r2", "weight": 1.0}],
        "stabilizers": {"instance_noise": 0.1, "augmentation": ["translation", "cutout"]},
    },
    "wasserstein": {"loss": {"kind": "wasserstein"}, "penalties": [{"kind": "gradient_penalty", "weight": 10.0}]},
}
ONE_RANK = """
import sys, torch
import torch.distributed as dist
from gan.adversarial.distributed import Ranks
from tests.gan.adversarial.test_distributed import CHANGES, train
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
for name in CHANGES:
    metrics, weights = train(name, Ranks(rank, 2))
    torch.save((metrics, weights), f"{folder}/{name}.{rank}")
assert Ranks(rank, 2).broadcast(f"value of {rank}") == "value of 0"
dist.barrier()  # A rank that exits before the other has finished makes it abort at times.
dist.destroy_process_group()
"""


def spec_of(name: str) -> TrainSpec:
    """Return the spec of a row of `CHANGES`."""
    plain = {"normalization": "none"}
    return quick_spec(generator=plain, discriminator=plain, **CHANGES[name])


def train(name: str, ranks: Ranks) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Train for a few steps. Return the metrics (steps, metrics) and all weights by name."""
    state = TrainingState(spec_of(name), load("fashion-mnist-mini"), torch.device("cpu"), ranks)
    metrics = torch.stack([state.advance() for _ in range(STEPS)])
    learned = state.learned()
    return metrics, {f"{net}.{key}": value for net in ("G", "D", "G_ema") for key, value in learned[net].items()}


def test_two_ranks_equal_one_with_the_double_batch(tmp_path: Path) -> None:
    ranks = [subprocess.Popen([sys.executable, "-c", ONE_RANK, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(200) for process in ranks] == [0, 0]
    for name in CHANGES:
        metrics, weights = train(name, ALONE)
        halves = [torch.load(tmp_path / f"{name}.{rank}", weights_only=True) for rank in range(2)]
        # Both ranks have the same weights, bit for bit. One process sums in another order.
        assert all(torch.equal(tensor, halves[1][1][key]) for key, tensor in halves[0][1].items())
        assert all(torch.allclose(tensor, weights[key], atol=2e-5) for key, tensor in halves[0][1].items())
        # The accuracy of a critic depends on the means of its own batch.
        same = [i for i, metric in enumerate(metrics_of(spec_of(name))) if metric != "d_accuracy"]
        assert torch.allclose(halves[0][0][:, same], metrics[:, same], atol=1e-3)


def test_a_batch_that_cannot_be_divided_evenly_is_refused() -> None:
    assert [Ranks(rank, 3).part(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    with pytest.raises(ValueError, match="evenly"):
        Ranks(0, 4).part(6)


def test_with_one_rank_nothing_changes() -> None:
    tensors = [torch.ones(2), torch.zeros(1)]
    assert ALONE.mean(tensors) is tensors
    assert ALONE.broadcast("x") == "x"
