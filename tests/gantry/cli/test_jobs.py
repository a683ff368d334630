"""The commands that list, show, follow and control jobs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gantry.client import Client
from gantry.terminal.details import status_text
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.api.shell import url_of
from tests.gantry.command import claim, finish, gantry, give_back, submit


def test_pause_and_resume(served: Settings) -> None:
    job_id = submit(served)
    assert gantry("pause", job_id, settings=served).stdout == f"{job_id} is paused.\n"
    assert gantry("resume", job_id, settings=served).stdout == f"{job_id} is queued.\n"
    claim(served, job_id)
    assert gantry("pause", job_id, settings=served).stdout == f"{job_id} pauses soon.\n"
    assert json.loads(gantry("resume", job_id, "--json", settings=served).stdout)["status"] == "running"
    assert gantry("resume", job_id, settings=served).stdout == f"{job_id} goes on.\n"
    gantry("cancel", job_id, settings=served)
    refused = gantry("pause", job_id, settings=served)
    assert refused.returncode == 1 and "Allowed actions: none" in refused.stderr


def test_watching_continues_while_a_job_is_paused(served: Settings) -> None:
    job_id = submit(served)
    seen: list[str] = []
    with Client(url_of(served)) as client:
        client.pause(job_id)
        for job in client.watch(job_id):
            seen.append(status_text(job))
            if seen[-1] == "paused":
                client.resume(job_id)
                claim(served, job_id)
                client.pause(job_id)
            elif seen[-1] == "pausing":
                client.cancel(job_id)
            elif seen[-1] == "cancelling":
                give_back(served, job_id)
    assert seen == ["paused", "pausing", "cancelling", "cancelled"]


def test_a_failed_job_is_retried(served: Settings) -> None:
    job_id = submit(served)
    finish(served, job_id, Status.FAILED)
    new_id = gantry("retry", job_id, settings=served).stdout.strip()
    again = gantry("retry", job_id, "--from-scratch", "--json", settings=served)
    with Client(url_of(served)) as client:
        assert client.job(new_id)["retry_of"] == json.loads(again.stdout)["retry_of"] == job_id
    refused = gantry("retry", new_id, settings=served)
    assert refused.returncode == 1 and "does not allow 'retry'" in refused.stderr


def test_a_retry_is_watched_to_its_end(served: Settings) -> None:
    job_id = submit(served)
    with Client(url_of(served)) as client, ThreadPoolExecutor(1) as threads:
        client.cancel(job_id)
        watching = threads.submit(gantry, "retry", job_id, "--watch", settings=served)
        while not (found := [job["id"] for job in client.jobs()["data"] if job["retry_of"] == job_id]):
            time.sleep(0.05)
        client.cancel(found[0])
    done = watching.result()
    assert done.returncode == 1 and done.stdout.splitlines()[0] == found[0]
    assert f"{found[0]} cancelled at step 0." in done.stdout


def test_watching_as_json_prints_one_line_for_each_change(served: Settings) -> None:
    job_id = submit(served)
    with Client(url_of(served)) as client, ThreadPoolExecutor(1) as threads:
        client.cancel(job_id)
        watching = threads.submit(gantry, "retry", job_id, "--watch", "--json", settings=served)
        while not (found := [job["id"] for job in client.jobs()["data"] if job["retry_of"] == job_id]):
            time.sleep(0.05)
        client.cancel(found[0])
    states = [json.loads(line) for line in watching.result().stdout.splitlines()]
    assert {state["id"] for state in states} == {found[0]} and states[-1]["status"] == "cancelled"


@pytest.mark.parametrize("words", [("watch",), ("events", "--follow")])
def test_an_interrupt_is_exit_130_and_the_job_continues(served: Settings, words: tuple[str, ...]) -> None:
    job_id = submit(served)
    command, *options = words
    argv = [sys.executable, "-m", "gantry", command, job_id, *options, "--url", url_of(served)]
    watching = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None and watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, message = watching.communicate(timeout=60)
    assert watching.returncode == 130 and "Traceback" not in message
    assert f"{job_id} continues" in message
    with Client(url_of(served)) as client:
        assert client.cancel(job_id)["status"] == "cancelled"


def test_a_job_is_shown_with_all_its_details(served: Settings) -> None:
    job_id = submit(served, "--name", "clothes")
    waiting = gantry("show", job_id, settings=served).stdout
    assert waiting.startswith(f"{job_id} 'clothes': queued") and "You may: cancel, pause." in waiting
    finish(served, job_id, Status.FAILED)
    failed = gantry("show", job_id, settings=served).stdout
    assert "step 10 of 10" in failed and "D won.\nTry again." in failed and "You may: retry, delete." in failed


def test_jobs_are_a_table_that_is_not_cut_off_in_a_pipe(served: Settings) -> None:
    job_id = submit(served, "--name", "a name that is rather long, as names of experiments tend to become with time")
    head, *rows = gantry("jobs", settings=served).stdout.splitlines()
    assert head.split() == ["ID", "NAME", "STATUS", "HEALTH", "STEP", "IMAGES/S", "AGE", "DEVICE"]
    (row,) = (row for row in rows if row.startswith(job_id))
    assert "tend to become with time" in row and "0/10" in row and row.split()[-2].endswith("s")
    finish(served, job_id, Status.SUCCEEDED)
    (row,) = (row for row in gantry("jobs", settings=served).stdout.splitlines() if row.startswith(job_id))
    assert "succeeded" in row and "10/10" in row and row.endswith("cpu")


@pytest.mark.parametrize(("status", "code"), [(Status.SUCCEEDED, 0), (Status.FAILED, 1)])
def test_watching_ends_with_the_job_and_prints_how_it_ended(served: Settings, status: Status, code: int) -> None:
    job_id = submit(served)
    finish(served, job_id, status)
    done = gantry("watch", job_id, settings=served)
    assert done.returncode == code
    assert f"{job_id} {status} at step 10." in done.stdout
    last_lines = done.stdout.splitlines()[-2:]
    assert (last_lines == ["D won.", "Try again."]) == (status is Status.FAILED)
    (line,) = gantry("watch", job_id, "--json", settings=served).stdout.splitlines()
    assert json.loads(line)["status"] == status


def test_cancel_and_delete(served: Settings) -> None:
    job_id = submit(served)
    assert "is cancelled" in gantry("cancel", job_id, settings=served).stdout
    assert gantry("delete", job_id, settings=served).returncode == 0
    assert gantry("cancel", job_id, settings=served).returncode == 1
