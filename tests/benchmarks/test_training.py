"""The comparison with the peers, for a moment: it is of the same work, and it prints a ratio for each."""

from __future__ import annotations

import pytest
import torch

from benchmarks import training
from benchmarks.peers import LOOPS, Peer, able
from benchmarks.turns import Spread, ratios
from benchmarks.workloads import WORKLOADS, job_of
from gan.architectures import networks_without_weights
from gan.datasets import load
from gan.spec import resolve


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_plain_networks_are_ours_in_size(name: str) -> None:
    work, data = WORKLOADS[name], load("fashion-mnist-mini")
    spec = resolve(job_of(name, "fp32"))
    ours, plain = networks_without_weights(spec, data.info), work.networks()
    for mine, its in zip(ours, plain, strict=True):
        counts = [sum(p.numel() for p in network.parameters()) for network in (mine, its)]
        # Biases before a norm, and G's of its last layer, are not everybody's.
        assert counts[0] == pytest.approx(counts[1], rel=0.002)
    assert spec.batch_size == work.batch_size
    assert spec.alternation.d_steps == max(1, work.critic_updates)


@pytest.mark.parametrize("loop", ["examples", "PyTorch-GAN"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_peers_step_moves_both_players(loop: str, name: str) -> None:
    if able(loop, name) is not None:
        assert WORKLOADS[name].critic_updates and loop == "examples"
        return
    peer = Peer(WORKLOADS[name], load("fashion-mnist-mini"), torch.device("cpu"))
    before = [[p.clone() for p in network.parameters()] for network in (peer.G, peer.D)]
    next(LOOPS[loop](peer))
    for network, old in zip((peer.G, peer.D), before, strict=True):
        assert any(not torch.equal(p, was) for p, was in zip(network.parameters(), old, strict=True))


def test_the_comparison_prints_a_ratio_for_each(capfd: pytest.CaptureFixture[str]) -> None:
    asked = [
        "--workloads",
        "W4",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--threads",
        "1",
        "--only",
        "examples,gantry auto",
        # The machine may stand still for as long as a hundred measurements.
        "--clock",
        "cpu",
    ]
    assert training.main(asked) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("W4") and lines[1].split()[:2] == ["examples", "1.00"]
    assert lines[2].split()[:2] == ["gantry", "auto"] and float(lines[2].split()[2]) > 0


def test_a_ratio_is_of_the_same_round() -> None:
    found = ratios({"a": [1.0, 10.0, 100.0], "b": [2.0, 30.0, 100.0]}, "a")
    assert found["b"] == Spread(2.0, 1.0, 3.0) and found["a"] == Spread(1.0, 1.0, 1.0)
