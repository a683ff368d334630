"""A broker that is killed or does not answer: jobs are accepted at once, and run when it is back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from tests.faults.caller import LoadCaller
from tests.faults.fleet import Fleet, infrastructure, open_database
from tests.worker.helpers import job_of, tiny, until

_QUICK_SECONDS: Final = 4.0
_FROZEN_SECONDS: Final = 20.0
# A worker reconnects to its broker after growing pauses, and then starts a trainer.
_LIMIT_SECONDS: Final = 240.0


@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_a_job_is_accepted_without_a_broker_and_runs_when_it_is_back(tmp_path: Path) -> None:
    with infrastructure("production", tmp_path) as on:
        assert on.broker is not None and on.broker_proxy is not None
        db = open_database(on)
        with (
            Fleet(on, tmp_path / "logs", apis=1, relays=1, workers=1) as fleet,
            LoadCaller(fleet.urls, seed=0) as caller,
        ):
            on.broker.kill()
            while_dead = _submitted_quickly(caller, "dead")
            on.broker.start()
            until(lambda: job_of(db, while_dead).status == "succeeded", _LIMIT_SECONDS)
            on.broker_proxy.stall(_FROZEN_SECONDS)
            while_frozen = _submitted_quickly(caller, "frozen")
            until(lambda: job_of(db, while_frozen).status == "succeeded", _LIMIT_SECONDS)
        db.dispose()


def _submitted_quickly(caller: LoadCaller, key: str) -> str:
    """Return the job of a submission that did not wait for the broker; retry if the machine was slow."""
    for attempt in range(3):
        began = time.monotonic()
        job_id = caller.submit(tiny(), key=f"{key}-{attempt}")
        if time.monotonic() - began < _QUICK_SECONDS:
            return job_id
    raise AssertionError(f"each of three submissions took {_QUICK_SECONDS} s or longer")
