"""A record that has seen a lot: many jobs, a long curve. Written at once, as no service would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from gan.spec import resolve
from jobs import clock, leases
from jobs.db import Database
from jobs.ids import new_id
from jobs.models import Checkpoint, Job
from jobs.store import datasets, jobs, metrics
from jobs.store.upsert import upsert

DATASET: Final = "fashion-mnist-mini"
LABEL: Final = "team:vision"
"""On one of a hundred jobs."""
_AT_ONCE: Final = 1000
_TICKS_AT_ONCE: Final = 200


def running(db: Database, count: int, ttl: float) -> list[str]:
    """Create running jobs with some progress. Returns their ids."""
    return [_claimed(db, ttl) for _ in range(count)]


def _claimed(db: Database, ttl: float) -> str:
    with db.write() as s:
        info = datasets.info(datasets.get(s, DATASET))
        job_id = jobs.create(s, resolve({"dataset": DATASET, "priority": 10}), info).id
        claimed = leases.claim(s, "wrk_bench", "cpu", 0, ttl)
        assert claimed is not None and claimed.id == job_id
        seen = {"step": 100, "images_seen": 6400, "images_per_second": 1000.0}
        leases.fence(s, job_id, 1, ttl, **seen, latest_metrics={"loss_d": 0.6, "loss_g": 1.3})
    return job_id


def ended(db: Database, count: int) -> None:
    """Jobs that have ended, most of them well, each with three checkpoints."""
    for start in range(0, count, _AT_ONCE):
        with db.write() as s:
            rows = list(_ended(range(start, min(start + _AT_ONCE, count)), clock.read(s)))
            upsert(s, Job, rows)
            upsert(s, Checkpoint, [row for job in rows for row in _checkpoints(job)])


def _ended(numbers: Sequence[int], moment: float) -> Iterator[dict[str, Any]]:
    spec = resolve({"dataset": DATASET})
    for number in numbers:
        yield {
            "id": new_id("job"),
            "name": f"job {number}",
            "labels": {"team": "vision"} if number % 100 == 0 else {"team": "other"},
            "spec": spec.model_dump(mode="json"),
            "dataset": spec.dataset,
            "preset": spec.preset,
            "gpus": 0,
            "priority": 0,
            "max_attempts": 3,
            "status": "failed" if number % 20 == 0 else "succeeded",
            "attempt": 1,
            "total_steps": spec.total_steps,
            "step": spec.total_steps,
            "latest_metrics": {"loss_d": 0.6, "loss_g": 1.3},
            "created_at": moment,
            "started_at": moment,
            "finished_at": moment,
        }


def _checkpoints(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in (1, 2, 3):
        yield {
            "id": new_id("ckpt"),
            "job_id": job["id"],
            "attempt": 1,
            "step": number * 100,
            "metrics": {},
            "state": "ready",
            "is_best": number == 2,
            "key": f"{job['id']}/{number}",
            "bytes": 1,
            "sha256": "0" * 64,
            "weights_key": f"{job['id']}/{number}w",
            "weights_bytes": 1,
            "weights_sha256": "0" * 64,
            "created_at": job["created_at"],
        }


def curves(db: Database, job_id: str, names: Sequence[str], steps: int, tick: int) -> None:
    """Curves of a job that is running, as its trainer would have written them, `tick` steps a second."""
    rng = np.random.default_rng(0)
    for start in range(1, steps + 1, tick * _TICKS_AT_ONCE):
        with db.write() as s:
            for first in range(start, min(start + tick * _TICKS_AT_ONCE, steps + 1), tick):
                count = min(tick, steps - first + 1)
                values = rng.normal(size=(count, len(names))).astype(np.float32)
                metrics.append(s, job_id, 1, first, names, values)
