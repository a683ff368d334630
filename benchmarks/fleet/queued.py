"""A database with a long queue: as many jobs and tenants as are wanted, and a fleet that is busy with other jobs.

The rows are copies of a job that was submitted, made by PostgreSQL itself, because a million submissions take hours.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql

from benchmarks.filled import DATASET
from gan.spec import resolve
from jobs.db import Database
from jobs.models import DEFAULT_TENANT
from jobs.store import datasets, jobs

WORKERS: Final = 1000
BUSY: Final = 900
"""How many of the workers run a job."""
PAGE: Final = 50
"""The first tenant has at least so many jobs."""
_OLD_SECONDS: Final = 3600
"""How long ago the newest of the jobs was submitted."""
_TENANTS: Final = """
insert into tenants (id, created_at) select 't' || lpad(n::text, 5, '0'), 0 from generate_series(0, %s - 1) as n
"""
_WORKERS: Final = """
insert into workers (id, host, devices, gpus, draining, started_at, heartbeat_at)
select 'wrk_' || lpad(n::text, 4, '0'), 'host' || n / 8, '[{"name": "cpu"}]', 0, false, moment, moment
from generate_series(1, %s) as n, extract(epoch from clock_timestamp()) as moment
"""
_COPIES: Final = """
insert into jobs ({columns}, id, tenant, priority, created_at, published_at)
select {columns}, 'job_' || lpad(n::text, 26, '0'),
    't' || lpad((case when n > %s then 0 else n %% %s end)::text, 5, '0'), (n %% 100 = 0)::int,
    created_at - %s - (%s - n) * 1e-3, created_at - %s - (%s - n) * 1e-3
from jobs, generate_series(1, %s) as n where id = %s
"""
_MADE: Final = ("id", "tenant", "priority", "created_at", "published_at")
_RUN: Final = """
update jobs set status = 'running', attempt = 1, lease_owner = 'wrk_' || right(id, 4), claimed_at = created_at,
    started_at = created_at, heartbeat_at = created_at, lease_until = created_at + 1e6, device = 'cpu'
where id <= 'job_' || lpad(%s::text, 26, '0')
"""
_ATTEMPTS: Final = """
insert into attempts (job_id, attempt, worker_id, device, started_at)
select id, attempt, lease_owner, device, started_at from jobs where status = 'running'
"""


def fill(db: Database, url: str, count: int, tenants: int) -> None:
    """Fill the migrated, empty PostgreSQL database at `url` (as libpq reads it), which `db` has open.

    It gets `count` queued jobs, one in a hundred of them more urgent; `tenants` tenants with equally many of them,
    but for the newest 50, which are the first tenant's; and 1,000 workers, of which 900 run a job each.
    """
    with db.write() as s:
        source = jobs.create(s, resolve({"dataset": DATASET}), datasets.info(datasets.get(s, DATASET))).id
    total = count + BUSY
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TENANTS, [tenants])
        connection.execute("insert into tenant_turns (tenant) select id from tenants on conflict do nothing")
        connection.execute(_WORKERS, [WORKERS])
        copies = sql.SQL(_COPIES).format(columns=sql.SQL(", ").join(map(sql.Identifier, _columns(connection))))
        connection.execute(copies, [total - PAGE, tenants, _OLD_SECONDS, total, _OLD_SECONDS, total, total, source])
        connection.execute(_RUN, [BUSY])
        connection.execute(_ATTEMPTS)
        connection.execute("delete from jobs where id = %s", [source])
        connection.execute("delete from tenants where id = %s", [DEFAULT_TENANT])
        # PostgreSQL does both by itself, some time later.
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")


def _columns(connection: psycopg.Connection[tuple[str]]) -> list[str]:
    """Return the columns of a job that are copied as they are."""
    found = connection.execute("select column_name from information_schema.columns where table_name = 'jobs'")
    return [name for (name,) in found if name not in _MADE]
