"""Helpers for tests of the record: a stored job, a spec of the first version, a tenant's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from gan.spec import resolve
from jobs.db import Database
from jobs.models import DEFAULT_TENANT, Job
from jobs.runtime.settings import Settings
from jobs.storage import Storage, open_storage
from jobs.storage.disk import DiskStorage
from jobs.store import datasets, jobs

# A spec as the first version of the service stored it.
VERSION_1: Final[dict[str, Any]] = {
    "spec_version": 1,
    "name": "of the first version",
    "labels": {},
    "dataset": "fashion-mnist-mini",
    "preset": "dcgan",
    "total_steps": 20000,
    "batch_size": 128,
    "seed": 0,
    "generator": {
        "architecture": "dcgan",
        "base_channels": 64,
        "hidden_units": 256,
        "z_dim": 100,
        "z_distribution": "normal",
    },
    "discriminator": {"architecture": "dcgan", "base_channels": 64, "hidden_units": 512},
    "conditioning": {"kind": "none", "embedding_dim": 32},
    "loss": {"kind": "non_saturating"},
    "optimizers": {
        "g": {"learning_rate": 0.0002, "beta1": 0.5, "beta2": 0.999},
        "d": {"learning_rate": 0.0002, "beta1": 0.5, "beta2": 0.999},
    },
    "alternation": {"d_steps": 1, "g_steps": 1},
    "ema": {"enabled": False, "half_life_images": 6000},
    "previews": {"every_steps": 100, "per_class": 8},
    "checkpoints": {"every_steps": 300, "keep_last": 3},
    "resources": {"gpus": 0, "precision": "fp32"},
    "priority": 0,
    "max_attempts": 3,
}


def files_of(settings: Settings) -> Storage:
    """Return the files of the default tenant."""
    return open_storage(settings).artifacts(DEFAULT_TENANT)


def disk_path(files: Storage, key: str) -> Path:
    """Return the path of a file or folder of the store, for tests that damage it or look beside it."""
    assert isinstance(files, DiskStorage)
    return files._path(key)


def submit(db: Database, *, tenant: str | None = None, **body: Any) -> Job:
    """Store a job, as POST /v1/jobs does, and return it."""
    with db.write(tenant) as s:
        row = datasets.get(s, body.get("dataset", "fashion-mnist-mini"))
        return jobs.create(s, resolve({"dataset": row.name, **body}), datasets.info(row))
