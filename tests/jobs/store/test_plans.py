"""Tests of the query plans: every query uses an index. The plans are those of the statements that are really sent."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, Final

import numpy as np
import pytest
from sqlalchemy import Engine, event, text

from gan.spec import BUILTIN_DATASETS, from_record
from jobs import leases
from jobs.db import Database, Session
from jobs.keys import Scope
from jobs.models import DEFAULT_TENANT
from jobs.status import Status
from jobs.storage import StoredFile
from jobs.store import (
    attempts,
    checkpoints,
    datasets,
    evaluations,
    events,
    files,
    health,
    jobs,
    metrics,
    outbox,
    positions,
    previews,
    queue,
    rates,
    retries,
    upsert,
    workers,
)
from jobs.store.callers import acts, api_keys, deliveries, idempotency, tenants, webhooks
from jobs.store.queue_limit import QueueLimit
from tests.jobs.helpers import submit

MODULES: Final = (
    *(attempts, checkpoints, datasets, evaluations, events, files, health, idempotency, jobs, leases, metrics),
    *(acts, api_keys, deliveries, outbox, positions, previews, queue, rates, retries, tenants, upsert),
    *(webhooks, workers),
)
BIG: Final = (
    *("jobs", "attempts", "job_events", "metric_blocks", "checkpoints", "evaluations", "previews", "outbox"),
    *("idempotency_keys", "webhook_deliveries", "acts"),
)
"""Tables that grow with the jobs. Workers, data sets and webhooks are few."""
WHOLE: Final = {
    "SELECT jobs.status, count(*)": "GET /metrics counts all jobs, in an index",
    "SELECT jobs.id \nFROM jobs": "once an hour, for files that no job owns",
}
"""Queries that may read a whole table: how they begin, and why."""
FEW: Final = "ix_jobs_running"
"""An index that may be read as a whole: workers are few, and so are the jobs that they run."""
FILE: Final = StoredFile("job_x/f", 3, "0" * 64)
REASON: Final = {"code": "drained", "message": ""}

Statement = tuple[str, Any]


@contextmanager
def sent(db: Database) -> Iterator[list[Statement]]:
    """Yield the statements that are sent, with their parameters."""
    found: list[Statement] = []

    def record(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        found.append((statement, parameters[0] if many else parameters))

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", record)


@contextmanager
def called() -> Iterator[set[Any]]:
    """Yield the code objects of all functions that are called."""
    found: set[Any] = set()

    def record(frame: FrameType, kind: str, _: Any) -> None:
        if kind == "call":
            found.add(frame.f_code)

    sys.setprofile(record)
    try:
        yield found
    finally:
        sys.setprofile(None)


def _public(module: ModuleType) -> dict[str, Any]:
    """Return the public functions of a module that take a session."""
    members = inspect.getmembers(module, inspect.isfunction)
    own = {name: f for name, f in members if f.__module__ == module.__name__ and not name.startswith("_")}
    return {f"{module.__name__}.{name}": f for name, f in own.items() if "s" in inspect.signature(f).parameters}


def _use_everything(db: Database) -> None:
    """Call every function of the record at least once."""
    ids = [submit(db, labels={"team": "vision"}).id for _ in range(6)]

    def do(act: Callable[[Session], object]) -> Any:
        with db.write() as s:
            return act(s)

    do(_use_webhooks)
    do(_use_acts)
    do(lambda s: workers.register(s, "w", "host", []))
    do(lambda s: workers.heartbeat(s, "w"))
    for _ in range(4):
        do(lambda s: leases.claim(s, "w", "cpu", 0, 60))
    first, second, third, fourth, fifth, sixth = ids
    do(lambda s: workers.set_current_job(s, "w", first))
    do(lambda s: _train(s, first))
    do(lambda s: leases.release(s, first, 1, crash=False, reason=REASON))
    do(lambda s: jobs.request_cancel(s, second))
    do(lambda s: jobs.request_checkpoint(s, third))
    do(lambda s: jobs.request_pause(s, third))
    do(lambda s: leases.finish(s, second, 1, Status.CANCELLED))
    error = {"code": "diverged", "message": "", "retryable": False, "step": 1, "hint": ""}
    do(lambda s: leases.finish(s, fourth, 1, Status.FAILED, error))
    do(lambda s: jobs.request_pause(s, fifth))
    do(lambda s: jobs.resume(s, fifth))
    do(lambda s: s.execute(text("update jobs set lease_until = 1 where id = :id"), {"id": third}) and leases.reap(s))
    do(lambda s: outbox.mark_sent(s, outbox.fetch_due(s, 100)))
    do(lambda s: outbox.republish(s, -1, 5))
    for _ in range(2):
        do(lambda s: idempotency.reserve(s, "me", "key", "print"))
    do(lambda s: idempotency.store_response(s, "me", "key", 201, {}, b""))
    do(lambda s: idempotency.is_known(s, "me", "key"))
    do(lambda s: idempotency.delete_old(s))
    source = do(lambda s: retries.find_source(s, second))
    copied = retries.CopiedFiles(checkpoints=source.checkpoints[:1])
    do(lambda s: retries.create(s, second, "job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C", copied))
    do(_upload)
    do(_use_keys)
    _read_everything(db, first, sixth)
    do(
        lambda s: (
            workers.page(s, limit=5) and (jobs.count_by_status(s), jobs.all_ids(s), files.recently_ended(s, None, 0))
        )
    )
    do(lambda s: jobs.delete(s, second))
    do(lambda s: workers.request_drain(s, "w"))
    do(lambda s: workers.remove(s, "w"))


def _use_acts(s: Session) -> None:
    """Call the functions of the audit log."""
    acts.set_actor(s, "key_a", "request")
    assert acts.actor(s) == "key_a"
    acts.record(s, "job.cancel", "job_a")
    acts.record(s, "job.cancel", "job_b")
    assert acts.last_actor(s, "job_a", "job.cancel") == "key_a"
    for filters in ({}, {"subject": "job_a"}, {"actor": "key_a"}, {"tenant": "default"}):
        acts.page(s, limit=1, cursor=acts.page(s, limit=1).next_cursor, **filters)


def _use_webhooks(s: Session) -> None:
    """Call the functions of webhooks and deliveries."""
    hook = webhooks.create(s, "https://hooks.example/", ["job.status"]).id
    tests = [deliveries.enqueue_test(s, hook) for _ in range(2)]
    webhooks.get(s, hook), webhooks.page(s, limit=5), webhooks.change(s, hook, enabled=True)
    assert deliveries.has_due(s, ["x"], ["y"])
    for outcome in (deliveries.DeliveryOutcome(200, None, 1), deliveries.DeliveryOutcome(500, "No.", 1)):
        delivery = deliveries.claim(s, 60, ["x"], ["y"])
        assert delivery is not None and deliveries.record_outcome(s, delivery, outcome)
    deliveries.redeliver(s, hook, tests[0].id), deliveries.page(s, hook, limit=5)
    deliveries.delete_old(s)
    doomed = webhooks.create(s, "https://hooks.example/", ["job.status"]).id
    webhooks.change(s, doomed, enabled=False)
    webhooks.delete(s, doomed)


def _train(s: Session, job_id: str) -> None:
    """Write what a trainer writes."""
    leases.renew(s, job_id, 1, 60)
    leases.fence(s, job_id, 1, 60, step=300)
    leases.record_resume(s, job_id, 1, 0)
    for first in (1, 101, 201):
        metrics.append(s, job_id, 1, first, ["loss_d", "loss_g"], np.ones((100, 2), np.float32))
    evaluations.register(s, job_id, 1, 300, {"fcd": 1.0}, {}, best_so_far=True)
    previews.register(s, job_id, 1, 300, FILE)
    health.record(s, job_id, 1, 300, "healthy", [])
    one, two = (checkpoints.register(s, job_id, 1, step, {}, FILE, FILE, best=True) for step in (100, 200))
    checkpoints.record_failure(s, job_id, 1, 250, "full")
    checkpoints.mark_bad(s, two.id, "sha256")
    checkpoints.retire(s, job_id, 1)
    checkpoints.mark_best(s, job_id, 100)
    checkpoints.get(s, one.id), checkpoints.count(s, job_id), checkpoints.choose(s, job_id, None)


def _upload(s: Session) -> None:
    """Call the functions that validate an upload."""
    ready, bad = (datasets.create_upload(s, f"ds_{name}", name, None) for name in ("good", "ill"))
    for row in (ready, bad):
        assert datasets.oldest_waiting(s) == row.id and datasets.claim(s, row.id, 60)
    datasets.record_progress(s, ready.id, 1, 60, progress={"phase": "checking", "done": 1, "total": 2})
    datasets.mark_ready(s, ready.id, 1, BUILTIN_DATASETS["fashion-mnist"], 3, {})
    datasets.mark_failed(s, bad.id, 1, [])
    datasets.lock_ready(s, "good"), datasets.delete(s, "good")


def _use_keys(s: Session) -> None:
    """Call the functions of API keys and tenants."""
    made = api_keys.create(s, "acme", "theirs", [Scope.ADMIN])
    tenants.set_quotas(s, "acme", {"max_queued": 1, "max_running": 1, "device_hours": 1, "storage_mb": 1})
    tenants.admit_job(s, "acme")
    tenants.get(s, "acme"), tenants.usage(s, tenants.get(s, "acme"))
    tenants.page(s, limit=5), tenants.get_or_create(s, "acme"), queue.may_run_more(s, queue.Turn("acme", 0.0, 1))
    row = api_keys.find_valid(s, made.key)
    assert row is not None and api_keys.is_last_use_stale(s, row) and api_keys.has_valid_admin_key(s)
    assert api_keys.is_valid(s, row.id)
    api_keys.record_use(s, row.id)
    api_keys.page(s, limit=5)
    api_keys.revoke(s, api_keys.rotate(s, row.id, 60).row.id)


def _read_everything(db: Database, job_id: str, waiting: str) -> None:
    """Call the functions that only read."""
    with db.read(DEFAULT_TENANT) as s:
        for filters in (
            *({}, {"statuses": [Status.QUEUED]}, {"statuses": list(Status)}, {"dataset": "fashion-mnist"}),
            *({"preset": "cgan"}, {"statuses": [Status.QUEUED], "preset": "cgan"}),
        ):
            page = jobs.page(s, limit=2, **filters)
            jobs.page(s, limit=2, cursor=page.next_cursor, **filters)
        jobs.get(s, job_id), jobs.fetch_details(s, [job_id, waiting]), jobs.row_versions(s, [job_id, waiting])
        QueueLimit(1_000_000).admit(s)
        positions.find(s, [jobs.get(s, waiting)], 0), jobs.existing_ids(s, [job_id])
        datasets.of_job(s, jobs.get(s, job_id))
        metrics.series(s, job_id, ["loss_d"]), metrics.series(s, job_id, ["loss_d"], 10, 20)
        metrics.summaries(s, job_id), metrics.names_of(s, job_id)
        evaluations.page(s, job_id, limit=5), evaluations.best(s, job_id), evaluations.latest(s, job_id)
        checkpoints.page(s, job_id, limit=1), checkpoints.newest_ready(s, job_id)
        previews.listing(s, job_id), previews.get(s, job_id, 300)
        events.page(s, job_id, 0, 10), events.positions(s, [job_id, waiting])
        files.recorded_keys(s, job_id)
        workers.page(s, limit=5), workers.is_draining(s, "w"), workers.count_idle(s, 60), workers.most_gpus(s, 60)
        workers.largest_memory(s, with_gpu=False), workers.count_taking_jobs(s, 60)
        workers.count_on_host(s, "w", 60)
        jobs.require_exists(s, job_id)
        datasets.page(s, limit=5), datasets.names(s), datasets.get(s, "fashion-mnist"), datasets.ids_with_files(s)
        datasets.register(s, BUILTIN_DATASETS["fashion-mnist"])
        datasets.set_installed(s, "fashion-mnist")
        rates.newest_like(s, from_record(jobs.get(s, job_id).spec), DEFAULT_TENANT)


def _plan_on_sqlite(s: Session, statement: str, parameters: Any) -> list[str]:
    """Return the lines of the plan that read a whole big table or sort the jobs."""
    rows = s.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    lines = [str(row[-1]) for row in rows]
    sorts = any("USE TEMP B-TREE FOR" in line and "ORDER BY" in line for line in lines)
    return [line for line in lines if _reads_all(line, ends_early="LIMIT" in statement and not sorts)]


def _reads_all(line: str, *, ends_early: bool) -> bool:
    found = re.match(r"SCAN (\w+)", line)
    return bool(found and found[1] in BIG and FEW not in line and not ends_early)


def _plan_on_postgresql(s: Session, statement: str, parameters: Any) -> list[str]:
    """Return the nodes of the plan that read a whole big table although sequential scans are discouraged."""
    answer = s.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    plan = answer if isinstance(answer, list) else json.loads(answer)
    return [f"{n['Node Type']} on {n['Relation Name']}" for n in _nodes(plan[0]["Plan"]) if _is_whole(n)]


def _nodes(node: dict[str, Any], limited: bool = False) -> Iterator[dict[str, Any]]:
    limited = limited or node["Node Type"] == "Limit"
    yield {**node, "limited": limited}
    for child in node.get("Plans", ()):
        yield from _nodes(child, limited and node["Node Type"] != "Sort")


def _is_whole(node: dict[str, Any]) -> bool:
    if node.get("Relation Name") not in BIG:
        return False
    by_index = "Index Cond" in node or node["limited"] or node.get("Index Name") == FEW
    return node["Node Type"] == "Seq Scan" or (node["Node Type"].startswith("Index") and not by_index)


def _keep_without_statistics(db: Database) -> None:
    """Keep PostgreSQL from planning by the few rows of this test: autovacuum may count them at any moment."""
    if db.dialect == "postgresql":
        with db.write() as s:
            for table in BIG:
                s.execute(text(f"alter table {table} set (autovacuum_enabled = off)"))


def _is_query(statement: str) -> bool:
    return statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")


def test_every_query_uses_an_index_and_every_function_is_called(db: Database) -> None:
    _keep_without_statistics(db)
    with called() as codes, sent(db) as statements:
        _use_everything(db)
    known = {name: f for module in MODULES for name, f in _public(module).items()}
    assert [name for name, f in known.items() if f.__code__ not in codes] == [], "not called here"
    found = {}
    with db.write() as s:
        if db.dialect == "postgresql":
            s.execute(text("set local enable_seqscan = off"))
        for statement, parameters in dict(statements).items():
            if _is_query(statement) and not any(statement.startswith(start) for start in WHOLE):
                plan = _plan_on_sqlite if db.dialect == "sqlite" else _plan_on_postgresql
                if whole := plan(s, statement, parameters):
                    found[statement] = whole
    assert found == {}


def test_a_claim_and_a_page_do_not_sort_all_jobs(db: Database) -> None:
    if db.dialect != "sqlite":
        pytest.skip("PostgreSQL plans by table sizes, SQLite by what the indexes can do")
    submit(db), submit(db)
    with sent(db) as statements, db.write() as s:
        leases.claim(s, "w", "cpu", 0, 60)
    with sent(db) as sent_by_a_caller, db.read(DEFAULT_TENANT) as s:
        page = jobs.page(s, limit=1, statuses=[Status.QUEUED])
        jobs.page(s, limit=1), jobs.page(s, limit=1, dataset="fashion-mnist"), jobs.page(s, limit=1, preset="cgan")
        positions.find(s, [page.data[0].row], 0)
    with db.read() as s:
        queries = {
            key: given
            for key, given in [*statements, *sent_by_a_caller]
            if _is_query(key) and re.search(r"ORDER BY jobs(_1)?\.", key) and "tenants" not in key
        }
        explain = s.connection().exec_driver_sql
        plans = {key: str(explain(f"EXPLAIN QUERY PLAN {key}", given).all()) for key, given in queries.items()}
    assert len(plans) == 6
    assert {statement: plan for statement, plan in plans.items() if "TEMP B-TREE" in plan} == {}


def test_a_full_scan_is_detected(db: Database) -> None:
    _keep_without_statistics(db)
    with db.write() as s:
        if db.dialect == "postgresql":
            s.execute(text("set local enable_seqscan = off"))
        plan = _plan_on_sqlite if db.dialect == "sqlite" else _plan_on_postgresql
        for bad in (
            "SELECT count(*) FROM jobs WHERE device = 'x'",
            "SELECT * FROM job_events WHERE type = 'x'",
            "SELECT * FROM checkpoints ORDER BY created_at LIMIT 1",
        ):
            assert plan(s, bad, ()) != [], bad
