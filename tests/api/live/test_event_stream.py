"""Event streams from a real server over real sockets: interrupted, slow, many, and while the service stops."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from psycopg import sql

from api import __main__ as serve
from api import auth
from api.live import event_stream
from gantry.client import ApiError, Client, UnreachableError
from jobs import leases
from jobs.keys import Scope
from jobs.runtime import process
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import events, jobs
from jobs.store.callers import api_keys
from tests.api.conftest import FakeWorker
from tests.api.live_service import (
    SECONDS,
    Live,
    counted,
    cutting_proxy,
    serving,
    until,
    until_silent,
)
from tests.api.routes.test_events import STREAM, write_events
from tests.jobs.helpers import submit
from tests.ports import free_port


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings) as started:
        yield started


# uvicorn logs this if it had to abort requests.
FORCED = "graceful shutdown exceeded"


def _work(fake_worker: FakeWorker, job_id: str, n: int) -> None:
    """Write `n` events at short intervals, then end the job."""
    for step in range(n):
        with fake_worker.db.write() as s:
            events.record(s, job_id, "job.progress", {"step": step}, attempt=1)
        time.sleep(0.01)
    fake_worker.finish(job_id, Status.SUCCEEDED)


def test_a_client_that_is_disconnected_ten_times_gets_every_event_once_in_order(settings: Settings) -> None:
    with serving(settings) as live, cutting_proxy(live, 10, random.Random(7)) as proxy:
        job_id = live.fake_worker.train()
        worker = threading.Thread(target=_work, args=(live.fake_worker, job_id, 80))
        worker.start()
        with Client(proxy.url) as client:
            seen = list(client.events(job_id))
        worker.join()
        with Client(live.url) as client:
            assert seen == list(client.past_events(job_id))
        assert [event["seq"] for event in seen] == list(range(1, 84)) and seen[-1]["data"]["status"] == "succeeded"
        assert proxy.cut_count == 10


def test_a_client_of_http_1_0_gets_the_stream_without_chunks(live: Live) -> None:
    job_id = live.fake_worker.train()
    live.fake_worker.finish(job_id, Status.SUCCEEDED)
    with live.http.sse(f"/v1/jobs/{job_id}/events") as source:
        assert source.response.headers["Transfer-Encoding"] == "chunked"
        expected = b"".join(source.response.iter_raw())
    path = f"/v1/jobs/{job_id}"
    head, body = _by_http_1_0(live, f"GET {path}/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
    assert b"transfer-encoding" not in head and b"connection: close" in head and body == expected
    head, body = _by_http_1_0(live, f"GET {path} HTTP/1.0\r\n\r\n")
    assert b"content-length" in head and json.loads(body)["id"] == job_id
    head, _ = _by_http_1_0(
        live,
        "POST /v1/jobs HTTP/1.0\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\n\r\n{}",
    )
    assert head.startswith(b"http/1.1 422"), "no interim response"


def _by_http_1_0(live: Live, request: str) -> tuple[bytes, bytes]:
    """Return the head of the response in lower case and its content, which ends with the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", live.port), timeout=SECONDS) as connection:
        connection.sendall(request.encode())
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize(("progress", "heartbeat"), [(True, 60.0), (False, 0.1)])
def test_a_stream_does_not_outlive_its_key(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, progress: bool, heartbeat: float
) -> None:
    for module in (auth, event_stream):
        monkeypatch.setattr(module, "REMEMBERED_SECONDS", 0.1)
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live:
        live.app.state.services.event_hub.heartbeat_seconds = heartbeat
        with live.fake_worker.db.write() as s:
            made = api_keys.create(s, "default", "a test's", [Scope.JOBS_READ])
        key_id, job_id = made.row.id, submit(live.fake_worker.db, total_steps=100).id
        live.fake_worker.claim()
        headers = {"Authorization": f"Bearer {made.key}", **STREAM}
        with live.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
            lines = response.iter_lines()
            while next(lines) != "id: 2":
                pass
            with live.fake_worker.db.write() as s:
                api_keys.revoke(s, key_id)
            time.sleep(0.3)
            if progress:
                live.fake_worker.progress(job_id, 7)
            assert not [line for line in lines if line and line != ": heartbeat"], (
                "the stream ends without further events"
            )
        assert live.http.get(f"/v1/jobs/{job_id}/events", headers=headers).status_code == 401


def test_events_are_streamed_at_once(live: Live) -> None:
    job_id = live.fake_worker.train()
    with live.stream(job_id) as stream:
        assert [next(stream).id for _ in range(2)] == ["1", "2"]
        began = time.monotonic()
        live.fake_worker.progress(job_id, 7)
        event = next(stream)
        assert event.event == "job.progress" and json.loads(event.data)["data"] == {"step": 7}
        live.fake_worker.finish(job_id, Status.SUCCEEDED)
        assert [next(stream).event for _ in range(2)] == ["job.status", "stream.end"]
        assert time.monotonic() - began < SECONDS and next(stream, None) is None


def test_a_silent_stream_has_a_heartbeat(live: Live) -> None:
    live.app.state.services.event_hub.heartbeat_seconds = 0.05
    with live.http.stream("GET", f"/v1/jobs/{live.fake_worker.train()}/events", headers=STREAM) as answer:
        lines = answer.iter_lines()
        while next(lines) != "id: 2":
            pass
        # No empty line between them: many clients would deliver it as an event without data.
        assert [next(lines) for _ in range(4)] == ["", *[": heartbeat"] * 3]


def test_head_of_a_stream_ends_at_once(live: Live) -> None:
    began = time.monotonic()
    answer = live.http.head(f"/v1/jobs/{live.fake_worker.train()}/events", headers=STREAM)
    assert answer.status_code == 200 and answer.content == b"" and time.monotonic() - began < SECONDS
    assert answer.headers["content-type"].startswith("text/event-stream")
    until_silent()  # otherwise the poller still runs for the client that is gone


def test_a_client_that_missed_only_the_end_of_a_stream_stops(live: Live) -> None:
    job_id = live.fake_worker.train()
    live.fake_worker.finish(job_id, Status.SUCCEEDED)
    with Client(live.url) as client:
        assert [event["seq"] for event in client.events(job_id, after=2)] == [3]
        assert list(client.events(job_id, after=3)) == []


def test_deleting_a_job_ends_its_streams(live: Live) -> None:
    job_id = live.fake_worker.train()
    with live.stream(job_id) as stream:
        assert [next(stream).id for _ in range(2)] == ["1", "2"]
        with live.fake_worker.db.write() as s:
            leases.finish(s, job_id, 1, Status.SUCCEEDED)
            jobs.delete(s, job_id)
        end = next(stream)
        assert end.event == "stream.end" and json.loads(end.data) == {"status": "deleted", "last_seq": 2}
        assert next(stream, None) is None


def test_a_slow_client_delays_no_other_and_misses_nothing(live: Live) -> None:
    job_id = live.fake_worker.train()
    with socket.create_connection(("127.0.0.1", live.port)) as slow, live.stream(job_id) as quick:
        slow.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".encode())
        for _ in range(10):
            _write_large_events(live.fake_worker, job_id, 100)
        live.fake_worker.finish(job_id, Status.SUCCEEDED)
        numbers = [event.id for event in quick if event.event != "stream.end"]
        assert numbers == [str(seq) for seq in range(1, 1004)]
        text = b"".join(iter(lambda: slow.recv(65536), b"")).decode()
        assert [line[4:] for line in text.splitlines() if line.startswith("id: ")] == numbers
        assert "event: stream.end" in text


def _write_large_events(fake_worker: FakeWorker, job_id: str, n: int) -> None:
    with fake_worker.db.write() as s:
        for _ in range(n):
            events.record(s, job_id, "health.finding", {"message": "x" * 20_000}, attempt=1)


async def _read(port: int, job_id: str) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/jobs/{job_id}/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    assert "event: stream.end" in text
    return [line[4:] for line in text.splitlines() if line.startswith("id: ")]


async def _crowd(live: Live, job_id: str, readers: int, threads: list[int]) -> list[list[str]]:
    """Read the events of a job with `readers` clients at once, from the start of the job to its end."""
    reading = [asyncio.create_task(_read(live.port, job_id)) for _ in range(readers)]
    await asyncio.sleep(1)
    for step in range(3):
        await asyncio.to_thread(write_events, live.fake_worker, job_id, 20)
        threads.append(threading.active_count() if step else 0)
        await asyncio.sleep(0.5)
    await asyncio.to_thread(live.fake_worker.finish, job_id, Status.SUCCEEDED)
    return await asyncio.gather(*reading)


def test_three_hundred_streams_need_no_more_statements_than_three(live: Live) -> None:
    executed, threads, seconds = {}, {}, {}
    for readers in (3, 300):
        job_id, seen, began = live.fake_worker.train(), list[int](), time.monotonic()
        with counted() as statements:
            received = asyncio.run(_crowd(live, job_id, readers, seen))
        assert received == [[str(seq) for seq in range(1, 64)]] * readers
        executed[readers], threads[readers] = statements.count, max(seen)
        seconds[readers] = time.monotonic() - began
    # Four polls per second, with three statements at most: more time allows for more statements.
    longer = 12 * max(0.0, seconds[300] - seconds[3])
    assert executed[300] <= 1.3 * executed[3] + 10 + longer, (executed, seconds)
    assert threads[300] <= threads[3] + 5, threads


def test_the_database_is_not_polled_without_clients(live: Live) -> None:
    job_id = live.fake_worker.train()
    with live.stream(job_id) as stream, counted() as statements:
        next(stream)
        until(lambda: statements.count > 5)
    until_silent()


def test_waiting_for_a_change_needs_few_statements(live: Live) -> None:
    job_id, answers = live.fake_worker.train(), list[int]()
    path = f"/v1/jobs/{job_id}"
    with counted() as one_read:
        headers = {"If-None-Match": live.http.get(path).headers["ETag"], "Prefer": "wait=20"}

    def wait() -> None:
        answers.append(httpx2.get(live.url + path, headers=headers, timeout=SECONDS, trust_env=False).status_code)

    waiting = [threading.Thread(target=wait) for _ in range(10)]
    with counted() as statements:
        for thread in waiting:
            thread.start()
        time.sleep(2)
        live.fake_worker.progress(job_id, 7)
        for thread in waiting:
            thread.join(SECONDS)
    assert answers == [200] * 10
    # Each request reads the job at the start, at the end and perhaps once between. Polling would read ten times more.
    assert statements.count < 10 * 4 * one_read.count + 50


def test_stopping_ends_streams_and_waits_at_once(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # uvicorn would abort requests only after this time, so that a slow machine does not fail the test.
    monkeypatch.setattr(serve, "_LAST_REQUESTS_SECONDS", SECONDS / 2)
    with serving(sqlite_settings) as live:
        job_id = live.fake_worker.train()
        path, ended = f"/v1/jobs/{job_id}", list[Any]()
        headers = {"If-None-Match": live.http.get(path).headers["ETag"], "Prefer": "wait=60"}
        waiting = threading.Thread(target=lambda: ended.append(live.http.get(path, headers=headers).status_code))
        waiting.start()
        with live.stream(job_id) as stream:
            assert next(stream).id == "1"
            until(lambda: _followers(live, job_id) == 2)
            live.stop()
            assert FORCED not in caplog.text
            # The stream has no `stream.end`, so that clients reconnect.
            assert [event.event for event in stream] == ["job.status"]
        waiting.join(SECONDS)
        assert ended == [304]


def _followers(live: Live, job_id: str) -> int:
    """Return the number of streams and waits of a job."""
    channel = live.app.state.services.event_hub._channels.get(job_id)
    return channel.followers if channel is not None else 0


def test_a_stopped_process_does_not_wait_for_its_streams(sqlite_settings: Settings, tmp_path: Path) -> None:
    settings = sqlite_settings.model_copy(update={"port": free_port()})
    url = f"http://127.0.0.1:{settings.port}"
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "api.log").open("wb"))
        environment = {**os.environ, **settings.environment()}
        service = process.spawn([sys.executable, "-m", "api"], env=environment, stdout=log, stderr=log)
        stack.callback(process.end, service, SECONDS)
        client = stack.enter_context(Client(url))
        until(lambda: _ready(client, service))
        job_id = client.submit({"dataset": "fashion-mnist-mini"})["id"]
        events_of_job = client.events(job_id)
        assert next(events_of_job)["seq"] == 1
        service.send_signal(signal.SIGTERM)
        assert service.wait(SECONDS) == 0
        log_text = (tmp_path / "api.log").read_text()
        assert "Shutting down" in log_text and FORCED not in log_text
        events_of_job.close()  # type: ignore[attr-defined]


def _ready(client: Client, service: subprocess.Popen[bytes]) -> bool:
    assert service.poll() is None
    with suppress(UnreachableError, ApiError):
        return bool(client.ready())
    return False


def test_a_client_reconnects_after_a_restart(sqlite_settings: Settings) -> None:
    with ExitStack() as stack:
        with serving(sqlite_settings) as first:
            job_id = first.fake_worker.train()
            events_of_job = stack.enter_context(Client(first.url)).events(job_id)
            seen = stack.enter_context(Client(first.url)).watch(job_id)
            assert [next(events_of_job)["seq"] for _ in range(2)] == [1, 2]
            assert next(seen)["status"] == "running"
        with serving(sqlite_settings, first.port) as second:
            second.fake_worker.progress(job_id, 7)
            second.fake_worker.finish(job_id, Status.CANCELLED)
            assert [event["seq"] for event in events_of_job] == [3, 4]
            assert [job["status"] for job in seen][-1] == "cancelled"


def test_a_client_raises_if_the_service_is_unreachable() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(UnreachableError):
        next(client.events("job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"))


def test_a_client_raises_for_an_unknown_job(live: Live) -> None:
    with Client(live.url) as client, pytest.raises(ApiError, match="There is no job"):
        next(client.events("job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"))


@contextmanager
def _away(server: str, database: str) -> Iterator[None]:
    """Make the database unavailable during the block: end all its connections, and refuse new ones."""
    allow = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(database), sql.SQL("false")))
        # A backend ends a moment after its signal, so repeat until none is left.
        backends = "from pg_stat_activity where datname = %s and backend_type = 'client backend'"
        until(lambda: not connection.execute(f"select pg_terminate_backend(pid) {backends}", [database]).fetchall())
        yield
        connection.execute(allow.format(sql.Identifier(database), sql.SQL("true")))


@pytest.mark.parametrize("settings", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_streams_survive_an_outage_of_the_database(settings: Settings, postgres_server: str) -> None:
    with serving(settings) as live:
        live.app.state.services.event_hub.heartbeat_seconds = 0.1
        job_id, other = live.fake_worker.train(), live.fake_worker.submit()
        with live.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as answer:
            lines = answer.iter_lines()
            assert "id: 2" in lines
            with _away(postgres_server, urlsplit(settings.database_url).path[1:]):
                assert [line for line in (next(lines) for _ in range(10)) if line.startswith(":")]
                late = live.http.get(f"/v1/jobs/{other}/events", headers=STREAM)
                assert late.status_code == 503 and int(late.headers["Retry-After"]) > 0
            live.fake_worker.finish(job_id, Status.SUCCEEDED)
            assert "event: stream.end" in lines


def test_the_command_lists_events_and_follows_them(live: Live) -> None:
    job_id = live.fake_worker.train()
    live.fake_worker.finish(job_id, Status.SUCCEEDED)
    argv = [sys.executable, "-m", "gantry", "events", job_id, "--url", live.url]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["1", "2", "3"] and "job.status" in listed[0]
    followed = subprocess.run(
        [*argv, "--follow", "--json", "--after", "1"], capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["seq"] for line in followed.stdout.splitlines()] == [2, 3]
