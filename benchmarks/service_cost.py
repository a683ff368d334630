"""`make service-cost`: what it costs a job to be kept: lease, heartbeats, fenced writes, events, durable checkpoints.

The default job, in turn by a bare loop over `Trainer.run()` in a fresh process, which drops every event and saves
nothing, and through the whole service on this machine (API, relay, worker, its trainer, SQLite). Compared is the time
from the moment when training begins to the last checkpoint; the whole way from POST to `succeeded` stands beside it.
With `--clock cpu` it is CPU time, for a busy machine: the run's alone against the whole service's, all processes and
the way to the first step included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import GOAL_MISSED
from benchmarks.served import service
from gantry.client import Client

LIMIT: Final = 1.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the median ratio is below 1.02, else `GOAL_MISSED`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--dataset", default="fashion-mnist-mini")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: all processes' together; of a busy machine"
    )
    parser.add_argument("--bare", action="store_true", help="one bare run, its seconds on stdout")
    asked = parser.parse_args(arguments)
    body = {"dataset": asked.dataset, "total_steps": asked.steps}
    return _bare(body, asked) if asked.bare else _compare(body, asked)


def _compare(body: dict[str, Any], asked: argparse.Namespace) -> int:
    ratios, whole = [], []
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), asked.threads) as (client, _):
        spent = (lambda: _spent(Path(folder))) if asked.clock == "cpu" else None
        for number in range(asked.rounds):
            turns = {"alone": lambda: (_alone(sys.argv[1:]), 0.0), "kept": lambda: _kept(client, body, spent)}
            order = list(turns) if number % 2 == 0 else list(turns)[::-1]
            found = {name: turns[name]() for name in order}
            (alone, _), (kept, way) = found["alone"], found["kept"]
            ratios.append(kept / alone)
            whole.append(way)
            print(
                f"{asked.steps} steps: {kept:.1f} s in the service, {alone:.1f} s alone: {ratios[-1]:.4f}; "
                f"{way:.1f} s from POST to succeeded",
                flush=True,
            )
    print(f"median ratio {median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f}); {asked.threads} threads")
    return GOAL_MISSED * (median(ratios) >= LIMIT)


def _bare(body: dict[str, Any], asked: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415 - the comparing process does without

    from gan.datasets import load  # noqa: PLC0415
    from gan.quality.features import for_dataset  # noqa: PLC0415
    from gan.spec import resolve  # noqa: PLC0415
    from gan.train import Trainer  # noqa: PLC0415

    torch.set_num_threads(asked.threads)
    clock = time.process_time if asked.clock == "cpu" else time.perf_counter
    data = load(body["dataset"])
    trainer = Trainer(resolve(body), data, features=for_dataset(data))
    began = clock()
    for _ in trainer.run():
        pass
    print(json.dumps(clock() - began))
    return 0


def _alone(arguments: Sequence[str]) -> float:
    """Seconds of a bare run in a process of its own, whose threads spin as a trainer's do."""
    argv = [sys.executable, "-m", "benchmarks.service_cost", *arguments, "--bare"]
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def _kept(client: Client, body: dict[str, Any], spent: Callable[[], float] | None) -> tuple[float, float]:
    """Seconds of training, and of the whole way; or what is `spent` on that, in place of the first."""
    began, spent_before = time.perf_counter(), spent() if spent else 0.0
    job = client.submit(body)
    told = list(client.events(job["id"]))
    seconds = time.perf_counter() - began
    if (end := client.job(job["id"])["status"]) != "succeeded":
        raise SystemExit(f"The job {end}.")
    first = next(event for event in told if event["type"] == "job.progress")
    last = [event for event in told if event["type"] == "checkpoint.created"][-1]
    if spent is not None:
        return spent() - spent_before, seconds
    client.delete(job["id"])
    return (_moment(last) - _moment(first)).total_seconds(), seconds


def _spent(folder: Path) -> float:
    """CPU seconds of every process that was given this data folder, and of those that they have outlived."""
    mark, ticks = f"GANTRY_DATA_DIR={folder / 'data'}".encode(), 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                # Behind the name in parentheses: utime, stime, and the same of its children that have ended.
                ticks += sum(map(int, (process / "stat").read_bytes().rpartition(b")")[2].split()[11:15]))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or is not ours
    return ticks / os.sysconf("SC_CLK_TCK")


def _moment(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


if __name__ == "__main__":
    sys.exit(main())
