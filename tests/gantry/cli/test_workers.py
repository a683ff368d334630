"""`gantry workers` and `gantry worker drain`."""

from __future__ import annotations

import json

from sqlalchemy import update

from gantry.client import Client
from jobs import clock
from jobs.db import Database
from jobs.models import Worker
from jobs.runtime.settings import Settings
from jobs.store import jobs, workers
from tests.api.shell import url_of
from tests.gantry.command import gantry


def test_workers_are_listed_and_drained(served: Settings) -> None:
    db = Database(served.database)
    with Client(url_of(served)) as client:
        job_id = client.submit({"dataset": "fashion-mnist-mini"})["id"]
    with db.write() as s:
        workers.register(s, "wrk_1", "a.host", [{"name": "cpu (2 cores)"}])
        workers.set_current_job(s, "wrk_1", job_id)
        s.execute(update(Worker).values(heartbeat_at=clock.now() + 3600))  # not lost while the test lasts
    head, row = gantry("workers", settings=served).stdout.splitlines()
    assert head.split() == ["ID", "HOST", "DEVICE", "STATUS", "JOB"]
    assert row.split() == ["wrk_1", "a.host", "cpu", "(2", "cores)", "busy", job_id]
    assert gantry("worker", "drain", "wrk_1", settings=served).stdout == f"wrk_1 gives {job_id} back and ends.\n"
    assert json.loads(gantry("workers", "--json", settings=served).stdout)["data"][0]["status"] == "draining"
    with db.write() as s:
        workers.remove(s, "wrk_1")
        jobs.request_cancel(s, job_id)
    db.dispose()
    gone = gantry("worker", "drain", "wrk_1", settings=served)
    assert gone.returncode == 1 and gone.stderr == "There is no worker 'wrk_1'.\n"
