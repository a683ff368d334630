"""Every named step of the protocol, and a process that dies there, as `kill -9` would end it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import pytest

from jobs.db import Database
from jobs.runtime.failpoints import POINTS
from tests.faults.caller import LoadCaller
from tests.faults.fleet import Fleet, ground, left_behind, record
from tests.faults.history import ToldStatus, check
from tests.faults.undisturbed import References
from tests.jobs.helpers import files_of
from tests.worker.helpers import job_of, tiny

# As many attempts as there may be: every point that a worker or a trainer dies at costs one.
BODY: Final[dict[str, Any]] = tiny(max_attempts=20)
JOBS: Final = 3
SECONDS: Final = 240


@pytest.mark.timeout(400)
def test_a_death_at_every_point_costs_no_job(tmp_path: Path) -> None:
    """Some jobs, and one death at each point, whichever job it meets; then the record is read."""
    faults = tmp_path / "faults"
    faults.mkdir()
    with ground("embedded", tmp_path) as on:
        on.settings = on.settings.model_copy(update={"faults_dir": faults, "stall_seconds": 60})
        told, db = ToldStatus(), record(on)
        with (
            Fleet(on, tmp_path / "logs", apis=1, relays=1, workers=2) as fleet,
            LoadCaller(fleet.urls, seed=0) as caller,
        ):
            for point in POINTS:
                (faults / point).touch()
            for number in range(JOBS):
                told.accepted[str(number)] = caller.submit(BODY, key=f"job-{number}")
            assert caller.repeats >= 2, "the API died before the answer, once on either side of the commit"
            _until_all_ended(db, set(told.accepted.values()), fleet)
            missed = [point for point in POINTS if (faults / point).exists()]
        assert left_behind(on.settings, seconds=60) == []
        history = check(db, files_of(on.settings), told, References())
        db.dispose()
        assert history.violations == []
    assert missed == [], "nobody came past these"
    assert (history.jobs, history.ended_once, history.finished, history.bit_equal) == (JOBS, JOBS, JOBS, JOBS)


def _until_all_ended(db: Database, job_ids: set[str], fleet: Fleet) -> None:
    deadline = time.monotonic() + SECONDS
    while not all(job_of(db, job_id).status == "succeeded" for job_id in job_ids):
        assert time.monotonic() < deadline, fleet.tail()
        time.sleep(0.1)
