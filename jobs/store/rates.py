"""Rates that the fleet has measured: how fast jobs train that cost the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from gan.spec import BUILTIN_DATASETS, TrainSpec
from jobs.models import Job, has_status
from jobs.status import Status

# Fields that do not change how long one image takes. Evaluations, previews and checkpoints are not in the rate.
_FREE: Final = frozenset(
    {
        *("spec_version", "name", "labels", "preset", "total_steps", "seed", "priority", "max_attempts"),
        *("max_runtime_seconds", "evaluation", "safeguards", "previews", "checkpoints"),
    }
)
# Newest jobs that are looked at. Neither query reads more rows, however many jobs there are.
_MOST_ENDED: Final = 200
_MOST_RUNNING: Final = 100


@dataclass(frozen=True)
class MeasuredRate:
    """How fast a job of the same cost has trained, and on which device."""

    images_per_second: float
    device: str | None


def newest_like(s: Session, spec: TrainSpec, tenant: str) -> MeasuredRate | None:
    """Return the newest rate of a job that costs as much as `spec` for each image; None if there is none.

    `s` sees the jobs of all tenants. Jobs of others count if the data set is a built-in one.
    """
    rates = select(Job.tenant, Job.spec, Job.images_per_second, Job.device)
    running = rates.where(has_status(Status.RUNNING)).limit(_MOST_RUNNING)
    ended = rates.where(Job.finished_at.is_not(None)).order_by(Job.finished_at.desc()).limit(_MOST_ENDED)
    wanted, is_shared = _cost(json.loads(spec.model_dump_json())), spec.dataset in BUILTIN_DATASETS
    for query in (running, ended):
        # The filters are here: in SQL they would make the database read on until enough rows pass them.
        for owner, found, images_per_second, device in s.execute(query):
            if images_per_second and (is_shared or owner == tenant) and _cost(found) == wanted:
                return MeasuredRate(images_per_second, device)
    return None


def _cost(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides how long one image takes. Of an optimizer it is the kind, not rate or schedule."""
    kinds = {network: optimizer.get("kind") for network, optimizer in spec["optimizers"].items()}
    return {name: value for name, value in spec.items() if name not in _FREE} | {"optimizers": kinds}
