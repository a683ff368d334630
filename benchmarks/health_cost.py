"""`make health-cost`: what the cheap checks (looks at the losses, probes of the images) take of a step's time.

Two trainers of the default job in one process, one with its safeguards, one that never looks, in turn: the ratio of
the times for the same steps, round by round. Evaluations are off in both: they have a schedule and a price of their
own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final

import torch

from benchmarks import GOAL_MISSED
from gan.datasets import load
from gan.events import Event, Tick
from gan.spec import resolve
from gan.train import Trainer

NEVER: Final = 1_000_000
LIMIT: Final = 1.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the median ratio is below 1.02, else `GOAL_MISSED`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--dataset", default="fashion-mnist-mini")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    never = {"every_steps": 100_000, "probe_every_steps": NEVER}
    looking, blind = _job(asked, {}), _job(asked, {"safeguards": never})
    every = looking.spec.safeguards.probe_every_steps
    runs = [(trainer, trainer.run()) for trainer in (looking, blind)]
    for trainer, run in runs:
        _until(trainer, run, 20)
    ratios = []
    for number in range(1, asked.rounds + 1):
        seconds = [_timed(trainer, run, 20 + number * every) for trainer, run in runs]
        ratios.append(seconds[0] / seconds[1])
        ms = [1000 * s for s in seconds]
        print(f"{every} steps: {ms[0]:.2f} ms a step, {ms[1]:.2f} without checks: {ratios[-1]:.4f}", flush=True)
    print(
        f"median ratio {median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f}); "
        f"verdict {looking.health.verdict}; {asked.threads} threads, torch {torch.__version__}"
    )
    return GOAL_MISSED * (median(ratios) >= LIMIT)


def _job(asked: argparse.Namespace, changes: dict[str, Any]) -> Trainer:
    body = {
        "dataset": asked.dataset,
        "total_steps": 20_000,
        "evaluation": {"enabled": False},
        "previews": {"every_steps": NEVER},
        "checkpoints": {"every_steps": NEVER},
    }
    data = load(asked.dataset)
    return Trainer(resolve({**body, **changes}), data)


def _timed(trainer: Trainer, run: Iterator[Event], step: int) -> float:
    """Seconds a step: ticks fall where the clock says, so the two may stop a few steps apart."""
    began, first = time.perf_counter(), trainer.step
    _until(trainer, run, step)
    return (time.perf_counter() - began) / (trainer.step - first)


def _until(trainer: Trainer, run: Iterator[Event], step: int) -> None:
    for event in run:
        if isinstance(event, Tick) and trainer.step >= step:
            return


if __name__ == "__main__":
    sys.exit(main())
