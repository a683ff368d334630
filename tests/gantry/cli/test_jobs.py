"""What the command line asks of jobs and workers that are there, against a real server."""

from __future__ import annotations

import itertools
import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import update

from gantry.client import Client
from gantry.terminal import jobs as screen
from jobs import clock
from jobs.db import Database
from jobs.models import Worker
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import jobs, workers
from tests.api.shell import claim, gantry, give_back, play, submit, url_of


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


def test_watching_goes_on_while_a_job_is_paused(served: Settings) -> None:
    job_id = submit(served)
    seen: list[str] = []
    with Client(url_of(served)) as client:
        client.pause(job_id)
        for job in client.watch(job_id):
            seen.append(screen.standing(job))
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
    play(served, job_id, Status.FAILED)
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


def test_a_job_that_is_watched_as_json_is_a_line_a_change(served: Settings) -> None:
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
def test_who_interrupts_gets_130_and_the_job_goes_on(served: Settings, words: tuple[str, ...]) -> None:
    job_id = submit(served)
    command, *options = words
    argv = [sys.executable, "-m", "gantry", command, job_id, *options, "--url", url_of(served)]
    watching = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None and watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=60)
    assert watching.returncode == 130 and "Traceback" not in said
    assert f"{job_id} goes on" in said
    with Client(url_of(served)) as client:
        assert client.cancel(job_id)["status"] == "cancelled"


def test_what_is_asked_as_json_is_answered_as_json(served: Settings) -> None:
    job_id = submit(served)
    for words in (("jobs",), ("workers",), ("datasets", "list"), ("presets",)):
        assert isinstance(json.loads(gantry(*words, "--json", settings=served).stdout)["data"], list)
    assert json.loads(gantry("show", job_id, "--json", settings=served).stdout)["id"] == job_id
    assert json.loads(gantry("presets", "dcgan", "--json", settings=served).stdout)["name"] == "dcgan"
    assert json.loads(gantry("curves", job_id, "--json", settings=served).stdout)["series"] == {}
    assert json.loads(gantry("previews", job_id, "--json", settings=served).stdout) == []
    assert json.loads(gantry("weights", job_id, "--json", settings=served).stdout)["data"] == []
    key = json.loads(gantry("keys", "create", "notebook", "--json", settings=served).stdout)["id"]
    revoked = json.loads(gantry("keys", "revoke", key, "--json", settings=served).stdout)
    assert revoked["id"] == key and revoked["revoked_at"]
    limit = ("tenants", "limit", "default", "--queued", "900")
    assert json.loads(gantry(*limit, "--json", settings=served).stdout)["quotas"]["max_queued"] == 900
    assert json.loads(gantry("cancel", job_id, "--json", settings=served).stdout)["status"] == "cancelled"
    assert json.loads(gantry("delete", job_id, "--json", settings=served).stdout) == {"deleted": job_id}
    known = json.loads(gantry("settings", "--json").stdout)
    assert known["GANTRY_PORT"]["default"] == 8000 and known["GANTRY_DATABASE_URL"]["value"] == ""


def test_a_key_is_revoked_and_a_tenant_limited(served: Settings) -> None:
    key = json.loads(gantry("keys", "create", "notebook", "--json", settings=served).stdout)["id"]
    assert gantry("keys", "revoke", key, settings=served).stdout == f"{key} is revoked.\n"
    assert "of 800 queued" in gantry("tenants", "limit", "default", "--queued", "800", settings=served).stdout


@pytest.mark.parametrize("command", ["samples", "curves", "previews", "weights"])
def test_what_is_printed_as_json_is_not_saved_too(tmp_path: Path, command: str) -> None:
    done = gantry(command, "job_0", "--json", "-o", str(tmp_path / "file"))
    assert done.returncode == 2 and "--json prints, and does not go with -o." in done.stderr
    assert not (tmp_path / "file").exists()


def test_one_job_is_shown_whole(served: Settings) -> None:
    job_id = submit(served, "--name", "clothes")
    waiting = gantry("show", job_id, settings=served).stdout
    assert waiting.startswith(f"{job_id} 'clothes': queued") and "You may: cancel, pause." in waiting
    play(served, job_id, Status.FAILED)
    failed = gantry("show", job_id, settings=served).stdout
    assert "step 10 of 10" in failed and "D won.\nTry again." in failed and "You may: retry, delete." in failed


def test_presets_are_listed_and_one_is_told(served: Settings) -> None:
    listed = gantry("presets", settings=served).stdout
    assert "Conditional DCGAN (the default)" in listed and "wgan-gp" in listed
    told = gantry("presets", "wgan-gp", settings=served).stdout
    assert "arXiv:1704.00028" in told and "five critic updates" in told
    refused = gantry("presets", "nine", settings=served)
    assert refused.returncode == 1 and "There is no preset 'nine'" in refused.stderr


def test_a_list_that_goes_on_says_so(served: Settings) -> None:
    submit(served), submit(served)
    listed = gantry("jobs", "--limit", "1", settings=served)
    assert len(listed.stdout.splitlines()) == 2 and "raise --limit" in listed.stderr


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


@contextmanager
def _forgetful(port: int) -> Iterator[str]:
    """A way to the service that cuts every other connection once the service has answered; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve_every_other, args=(server, port))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        # Closing alone would not wake the accept.
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve_every_other(server: socket.socket, port: int) -> None:
    with suppress(OSError):
        for deaf in itertools.cycle((True, False)):
            near, _ = server.accept()
            with near, socket.create_connection(("127.0.0.1", port)) as far:
                _pass_on(near, far, deaf=deaf)


def _pass_on(near: socket.socket, far: socket.socket, *, deaf: bool) -> None:
    other = {near: far, far: near}
    while True:
        for ready in select.select(other, [], [])[0]:
            data = ready.recv(65536)
            if not data or (ready is far and deaf):
                return
            other[ready].sendall(data)


def test_a_request_whose_answer_is_lost_is_sent_again_and_makes_one_job(served: Settings) -> None:
    with Client(url_of(served)) as direct, _forgetful(served.port) as url:
        before = len(direct.jobs(limit=200)["data"])
        with Client(url) as client:
            job = client.submit({"dataset": "fashion-mnist-mini", "total_steps": 10})
        direct.cancel(job["id"])
        with Client(url) as client:
            assert client.retry(job["id"])["retry_of"] == job["id"]
        assert len(direct.jobs(limit=200)["data"]) == before + 2
