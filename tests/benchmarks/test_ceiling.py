"""How near a step is to what the machine can do, for a moment: its operations are counted, and its shares told."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest

from benchmarks import ceiling
from benchmarks.training import trainer_of


def test_a_steps_operations_are_all_counted_and_those_of_looks_are_not() -> None:
    trainer = trainer_of("W4", "fp32", "cpu")
    kernels, flops = ceiling.Steps(trainer, ceiling.Clock(trainer.device)).kernels()
    g, d = 100 * 256 + 256 * 512 + 512 * 784, 784 * 512 + 512 * 256 + 256 * 1
    first_of_g, first_of_d = 100 * 256, 784 * 512
    a_weight = (
        g  # G draws the fakes, once for both turns
        + 3 * d  # D judges reals, fakes, and the fakes again in G's turn
        + 2 * d + 2 * (d - first_of_d)  # D learns of reals and fakes; nobody asks for the images' gradient
        + d + g + (g - first_of_g)  # G learns through D, whose own weights' gradient nobody asks for
    )  # fmt: skip
    assert flops == pytest.approx(2 * 128 * a_weight, rel=1e-6)
    assert all(kernel.times >= 1 for kernel in kernels)


def test_the_shares_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # By the processor's clock: the machine may stand still for as long as a hundred measurements.
    monkeypatch.setattr(ceiling, "time", SimpleNamespace(perf_counter=time.process_time))
    assert ceiling.main(["--workloads", "W4", "--rounds", "1", "--seconds", "0.1", "--threads", "1"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("1 threads, cpu") and lines[0].startswith("W4 fp32: 1.31 GFLOP a step")
    for line in lines:
        own, alone, reached = (float(share) for share in re.findall(r"(\d+\.\d+) \(", line))
        # How large they are is the machine's business, which may have had other work; each is rounded to a hundredth.
        assert own > 0 and alone > 0 and own == pytest.approx(alone * reached, abs=0.01 * (1 + alone + reached))
