"""A job to play with."""

from __future__ import annotations

from typing import Any

from gan.spec import resolve
from jobs.db import Database
from jobs.models import Job
from jobs.store import datasets, jobs


def submit(db: Database, **body: Any) -> Job:
    """Store a job, as POST /v1/jobs does."""
    with db.write() as s:
        row = datasets.get(s, body.get("dataset", "fashion-mnist-mini"))
        return jobs.create(s, resolve({"dataset": row.name, **body}), datasets.info(row))
