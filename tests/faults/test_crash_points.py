"""A crash at every failpoint: the process ends there, as by `kill -9`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import pytest

from jobs.db import Database
from jobs.runtime.failpoints import POINTS
from tests.faults.caller import LoadCaller
from tests.faults.fleet import Fleet, infrastructure, kill_remaining, open_database
from tests.faults.history import ClientView, check
from tests.faults.undisturbed import References
from tests.jobs.helpers import files_of
from tests.worker.helpers import job_of, tiny

# The maximum, because every crash of a worker or a trainer costs an attempt.
BODY: Final[dict[str, Any]] = tiny(max_attempts=20)
JOBS: Final = 3
SECONDS: Final = 240


@pytest.mark.timeout(400)
def test_a_crash_at_every_failpoint_costs_no_job(tmp_path: Path) -> None:
    """Run a few jobs with one crash at each failpoint, in whichever job reaches it first. Then check the record."""
    faults = tmp_path / "faults"
    faults.mkdir()
    with infrastructure("embedded", tmp_path) as on:
        on.settings = on.settings.model_copy(update={"faults_dir": faults, "stall_seconds": 60})
        clients, db = ClientView(), open_database(on)
        with (
            Fleet(on, tmp_path / "logs", apis=1, relays=1, workers=2) as fleet,
            LoadCaller(fleet.urls, seed=0) as caller,
        ):
            for point in POINTS:
                (faults / point).touch()
            for number in range(JOBS):
                clients.accepted[str(number)] = caller.submit(BODY, key=f"job-{number}")
            assert caller.repeats >= 2, "the API crashed before the answer, once before and once after the commit"
            _until_all_ended(db, set(clients.accepted.values()), fleet)
            missed = [point for point in POINTS if (faults / point).exists()]
        assert kill_remaining(on.settings, seconds=60) == []
        history = check(db, files_of(on.settings), clients, References())
        db.dispose()
        assert history.violations == []
    assert missed == [], "no process reached these failpoints"
    assert (history.jobs, history.ended_once, history.finished, history.bit_equal) == (JOBS, JOBS, JOBS, JOBS)


def _until_all_ended(db: Database, job_ids: set[str], fleet: Fleet) -> None:
    deadline = time.monotonic() + SECONDS
    while not all(job_of(db, job_id).status == "succeeded" for job_id in job_ids):
        assert time.monotonic() < deadline, fleet.tail()
        time.sleep(0.1)
