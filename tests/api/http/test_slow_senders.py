"""Clients that send slowly, send too much or disconnect, over real sockets: nothing of their requests is kept."""

from __future__ import annotations

import json
import select
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api import app
from api.http import multipart, protocol
from jobs.db import Database
from jobs.keys import Scope
from jobs.runtime.settings import Settings
from jobs.store import datasets
from jobs.store.callers import api_keys
from tests.api.live_service import Live, serving, until
from tests.api.routes.test_uploads import CLASSES, left
from tests.gan.uploads.zips import write

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
UPLOAD = "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"


@contextmanager
def sending(live: Live, head: str, body: bytes) -> Iterator[socket.socket]:
    """Yield a connection on which a request has begun."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection:
        send(connection, head.encode() + b"\r\n" + body)
        yield connection


def send(connection: socket.socket, content: bytes) -> None:
    """Send as much as possible: a server that has responded already may have closed the connection."""
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(content)


def answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Return status and body, once the server has closed the connection."""
    received = b""
    with suppress(ConnectionResetError):  # raised if the server closes a connection with unread bytes
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.fixture
def live(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(multipart, "_HEAD_START_SECONDS", 0.5)
    with serving(sqlite_settings.model_copy(update={"uploads_at_once": 1})) as served:
        yield served


def test_a_body_that_never_arrives_times_out(live: Live) -> None:
    head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    began = time.monotonic()
    with sending(live, head, b'{"data') as connection:
        status, body = answer(connection)
    assert (status, body["code"]) == (408, "request-timeout") and time.monotonic() - began < 25
    with sending(live, head.replace("/v1/jobs", "/v1/jobs/job_0/cancel"), b"{") as connection:
        assert answer(connection)[0] == 408


def test_a_head_that_never_ends_times_out(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with serving(sqlite_settings) as live:
        for sent in (b"", b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX: y"):
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection:
                send(connection, sent)
                assert connection.recv(1000) == b"" and time.monotonic() - began < 18
        # Two requests on one connection: each head has its own time.
        with socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection:
            for _ in range(2):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
                time.sleep(0.7)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_has_a_largest_size(live: Live, end: bytes) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection:
        send(connection, b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70_000 + end)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60_000 + b"\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_slow_upload_times_out_and_frees_its_slot(
    live: Live, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "_HEAD_START_SECONDS", 3600.0)
    with sending(live, UPLOAD + "Content-Length: 1000000\r\n", HEAD + b"PK") as connection:
        until(lambda: left(sqlite_settings))
        busy = live.http.post("/v1/datasets", files={"file": ("b.zip", b"PK")})
        assert busy.status_code == 503 and busy.json()["code"] == "uploads-busy"
        assert int(busy.headers["Retry-After"]) > 0
        # From the next byte on, the allowed time depends only on the bytes received.
        monkeypatch.setattr(multipart, "_HEAD_START_SECONDS", 0.5)
        send(connection, b"x")
        status, body = answer(connection)
    monkeypatch.setattr(multipart, "_HEAD_START_SECONDS", 3600.0)
    assert (status, body["code"]) == (408, "request-timeout")
    until(lambda: left(sqlite_settings) == [])
    assert live.http.post("/v1/datasets", files={"file": ("b.zip", b"PK")}).json()["code"] == "corrupt-archive"


def test_an_upload_that_is_fast_enough_may_take_long(
    live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = write(tmp_path / "shoes.zip", CLASSES).read_bytes()
    whole = HEAD + content + b"\r\n--b--\r\n"
    # The upload takes longer than the head start, and less than the time that its bytes allow.
    monkeypatch.setattr(multipart, "_SLOWEST_BYTES_PER_SECOND", len(whole) // 240)
    step = len(whole) // 4
    with sending(live, UPLOAD + f"Content-Length: {len(whole)}\r\nConnection: close\r\n", b"") as connection:
        for start in range(0, len(whole), step):
            connection.sendall(whole[start : start + step])
            time.sleep(0.3)
        status, body = answer(connection)
    assert status == 201 and body["status"] == "validating"


@pytest.mark.parametrize("rest", [b"x", b"x" * 999])
def test_an_early_response_does_not_keep_the_connection_open(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live, sending(live, head, b"{") as connection:
        assert b"401" in connection.recv(65536)
        # uvicorn takes these bytes for a new request, and drops its keep-alive timer.
        send(connection, rest)
        began = time.monotonic()
        assert connection.recv(1000) == b"" and time.monotonic() - began < 25


def test_an_empty_line_holds_no_connection(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.5)
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        serving(sqlite_settings) as live,
        socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection,
    ):
        # An empty line before another request closes nothing: that request has its own timer.
        for sent in (ask, b"\r\n" + ask, b"\r\n", ask):
            connection.sendall(sent)
            if sent.endswith(ask):
                assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        began = time.monotonic()
        assert connection.recv(1000) == b"" and time.monotonic() - began < 25


def test_an_upload_has_a_longest_time(sqlite_settings: Settings) -> None:
    with (
        serving(sqlite_settings.model_copy(update={"upload_seconds": 1.0})) as live,
        sending(
            live, UPLOAD + "Content-Length: 100000000\r\n", HEAD + b"PK\x03\x04" + bytes(5_000_000)
        ) as connection,
    ):
        assert answer(connection)[0] == 408
        until(lambda: left(sqlite_settings) == [])


def test_reserved_disk_space_is_not_free(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "_RESERVED_BYTES", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=30_000))
    second = {"file": ("b.zip", bytes(6_000))}
    with serving(sqlite_settings.model_copy(update={"uploads_at_once": 2})) as live:
        with sending(live, UPLOAD + "Content-Length: 10000\r\n", HEAD + b"PK"):
            until(lambda: any("upload.zip" in name for name in left(sqlite_settings)))
            refused = live.http.post("/v1/datasets", files=second)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert "has 10.0 kB free" in refused.json()["detail"]
        until(lambda: left(sqlite_settings) == [])
        assert live.http.post("/v1/datasets", files=second).json()["code"] == "corrupt-archive"


def test_an_upload_whose_key_is_revoked_meanwhile_is_refused(sqlite_settings: Settings, tmp_path: Path) -> None:
    whole = HEAD + write(tmp_path / "shoes.zip", CLASSES).read_bytes() + b"\r\n--b--\r\n"
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live:
        db = Database(sqlite_settings.database)
        with db.write() as s:
            made = api_keys.create(s, "default", "a test's", list(Scope))
            key_id, key = made.row.id, made.key
        head = f"Content-Length: {len(whole)}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n"
        with sending(live, UPLOAD + head, whole[:200]) as connection:
            until(lambda: any("upload.zip" in name for name in left(sqlite_settings)))
            with db.write() as s:
                api_keys.revoke(s, key_id)
            connection.sendall(whole[200:])
            status, body = answer(connection)
        assert (status, body["code"]) == (401, "invalid-api-key")
        assert left(sqlite_settings) == []
        with db.read() as s:
            assert [row.name for row in datasets.page(s, limit=100).data if "fashion" not in row.name] == []
        db.dispose()


@pytest.mark.parametrize("part", ["name", "file"])
def test_an_endless_body_is_refused_at_the_limit(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(multipart, "_MEGABYTE", 100)
    head = HEAD.replace(b'name="file"; filename="a.zip"', f'name="{part}"'.encode())
    with serving(sqlite_settings) as live:
        chunk = b"4e20\r\n" + bytes(20_000) + b"\r\n"
        begun = f"{len(head):x}\r\n".encode() + head + b"\r\n"
        with sending(live, UPLOAD + "Transfer-Encoding: chunked\r\nConnection: close\r\n", begun) as connection:
            # Send only while the server reads: if it closes with unread bytes, the client loses the response.
            while not select.select([connection], [], [], 0.2)[0]:
                send(connection, chunk)
            status, body = answer(connection)
    assert (status, body["code"]) == (413, "body-too-large")
    assert left(sqlite_settings) == []


def test_an_aborted_upload_leaves_nothing(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings) as live:
        with sending(live, UPLOAD + "Content-Length: 1000000\r\n", HEAD + b"PK" * 1000):
            until(lambda: left(sqlite_settings))
        until(lambda: left(sqlite_settings) == [])
