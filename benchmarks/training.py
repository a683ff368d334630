"""`python -m benchmarks.training`: our step beside the peers', on the workloads of the design, as ratios.

Every contestant trains the same networks of the same size with the same batch and the same updates, in a process of
its own, one at a time, in turn. Ours is the `Trainer` with all that belongs to its steps: figures, veto, looks and
probes. The ratio is of real images shown to D a second.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from benchmarks.turns import Spread, answer, in_turn, ratios

if TYPE_CHECKING:
    from gan.train import Trainer

OURS: Final[dict[str, Literal["fp32", "auto"]]] = {"gantry fp32": "fp32", "gantry auto": "auto"}
CLOCKS: Final = {"wall": time.perf_counter, "cpu": time.process_time}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every workload's table."""
    parser = parser_of("benchmarks.training", __doc__, seconds=3.0)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: of a busy machine, with 1 thread")
    parser.add_argument("--only", help="contestants, separated by commas")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.contestant:
        answer(_measure(asked.workloads, asked.contestant, asked))
        return 0
    for name in asked.workloads.split(","):
        compare(name, asked)
    return 0


def parser_of(module: str, about: str | None, seconds: float) -> argparse.ArgumentParser:
    """Return the parser of all benchmarks of workloads: which workloads, on which device, for how long."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--workloads", default="W1,W2,W3,W4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=seconds, help="of a turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu")
    return parser


def compare(workload: str, asked: argparse.Namespace) -> tuple[dict[str, Spread], dict[str, float]]:
    """Each contestant's ratio to the first, and its images a second; printed too."""
    from benchmarks.peers import LOOPS, able  # noqa: PLC0415 - a contestant of ours does without
    from benchmarks.workloads import WORKLOADS  # noqa: PLC0415

    print(f"{workload}: {WORKLOADS[workload].title}; {asked.threads} threads, {asked.device}", flush=True)
    names = []
    for name in [*LOOPS, *OURS]:
        if asked.only is not None and name not in asked.only.split(","):
            continue
        why_not = able(name, workload) if name in LOOPS else None
        if why_not is None:
            names.append(name)
        else:
            print(f"  {name:15} -  ({why_not})")
    how = ["--threads", str(asked.threads), "--device", asked.device, "--clock", asked.clock]
    command = ["benchmarks.training", "--workloads", workload, *how]
    rates = in_turn({n: [*command, "--contestant", n] for n in names}, asked.rounds, asked.seconds, asked.threads)
    found = ratios(rates, names[0])
    for name, spread in found.items():
        print(f"  {name:15} {spread}  {median(rates[name]):8.0f} images/s", flush=True)
    return found, {name: median(own) for name, own in rates.items()}


def _measure(workload: str, name: str, asked: argparse.Namespace) -> Callable[[float], float]:
    import torch  # noqa: PLC0415 - the comparing process does without

    torch.set_num_threads(asked.threads)
    clock = CLOCKS[asked.clock]
    if name in OURS:
        return _ours(workload, OURS[name], asked.device, clock)
    return _theirs(workload, name, asked.device, clock)


def _theirs(workload: str, name: str, device: str, clock: Callable[[], float]) -> Callable[[float], float]:
    import torch  # noqa: PLC0415

    from benchmarks.peers import LOOPS, Peer  # noqa: PLC0415
    from benchmarks.workloads import WORKLOADS  # noqa: PLC0415
    from gan.datasets import load  # noqa: PLC0415

    work = WORKLOADS[workload]
    steps = LOOPS[name](Peer(work, load("fashion-mnist-mini"), torch.device(device)))

    def measure(seconds: float) -> float:
        until, began, count = time.perf_counter() + seconds, clock(), 0
        while time.perf_counter() < until:
            next(steps)
            count += 1
        if device != "cpu":
            torch.cuda.synchronize()
        return count * work.images_a_step / (clock() - began)

    return measure


def trainer_of(workload: str, precision: str, device: str) -> Trainer:
    """Ours, before its first step."""
    from benchmarks.workloads import job_of  # noqa: PLC0415
    from gan.datasets import load  # noqa: PLC0415
    from gan.spec import resolve  # noqa: PLC0415
    from gan.train import Trainer  # noqa: PLC0415

    return Trainer(resolve(job_of(workload, precision)), load("fashion-mnist-mini"), device, tick_seconds=0.5)


def _ours(workload: str, precision: str, device: str, clock: Callable[[], float]) -> Callable[[float], float]:
    from gan.events import Tick  # noqa: PLC0415

    trainer = trainer_of(workload, precision, device)
    run = trainer.run()

    def measure(seconds: float) -> float:
        until, began, seen = time.perf_counter() + seconds, clock(), trainer.images_seen
        for event in run:
            if isinstance(event, Tick) and time.perf_counter() >= until:
                break
        return (trainer.images_seen - seen) / (clock() - began)

    return measure


if __name__ == "__main__":
    sys.exit(main())
