"""`python -m benchmarks.start`: how long a job that is submitted to an idle service waits for its first step.

Through the whole service on this machine (API, relay, worker, fork server, SQLite), a small job without evaluation:
from POST to the claim; from the claim to the moment when training begins, and until its one step is done and saved.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import GOAL_MISSED
from benchmarks.served import service
from benchmarks.turns import Spread
from gantry.client import Client

GOAL: Final = 1.0
_BODY: Final = {"dataset": "fashion-mnist-mini", "total_steps": 1, "evaluation": {"enabled": False}}
# A service that has just started imports torch, in its sampler and its fork server.
_SETTLING_SECONDS: Final = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when the median from claim to begin is below a second, else `GOAL_MISSED`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), asked.threads) as (client, _):
        time.sleep(_SETTLING_SECONDS)
        rows = [_one(client) for _ in range(asked.rounds)]
    titles = ("POST to claim", "claim to the beginning of training", "claim to the first step done and saved")
    for title, seconds in zip(titles, zip(*rows, strict=True), strict=True):
        print(f"{title:40} {Spread.of(seconds)} s")
    return GOAL_MISSED * (Spread.of([row[1] for row in rows]).median >= GOAL)


def _one(client: Client) -> tuple[float, float, float]:
    job = client.submit(_BODY)
    told = list(client.events(job["id"]))
    (queued, *_), (claimed, *_) = (_of(told, status=word) for word in ("queued", "running"))
    began, done = (next(e for e in told if e["type"] == kind) for kind in ("job.progress", "checkpoint.created"))
    client.delete(job["id"])
    at = _moment(claimed)
    return at - _moment(queued), _moment(began) - at, _moment(done) - at


def _of(told: Sequence[dict[str, Any]], **data: object) -> list[dict[str, Any]]:
    return [event for event in told if data.items() <= event["data"].items()]


def _moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


if __name__ == "__main__":
    sys.exit(main())
