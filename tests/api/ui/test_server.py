"""The process `python -m api.ui`: what it serves under /ui, what it passes on, and how it is found."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.cli import app as cli
from api.up import free_port
from jobs import process
from jobs.settings import Settings
from tests.api.live import Live, serving


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings) as served:
        yield served


@pytest.fixture
def browser(live: Live) -> Iterator[httpx2.Client]:
    """At a dashboard in a process of its own."""
    port = free_port()
    argv = [sys.executable, "-m", "api.ui", "--api", live.url, "--port", str(port)]
    server = process.spawn(argv, env=dict(os.environ))
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
            _until_alive(http)
            yield http
    finally:
        assert process.end(server, 20) == 0


def test_pages_pictures_and_files_of_a_real_process(live: Live, browser: httpx2.Client) -> None:
    job_id = live.hand.train()
    page = browser.get("/ui/")
    assert page.status_code == 200 and "Jobs – Gantry" in page.text and 'lang="en-US"' in page.text
    # Nothing is fetched from elsewhere.
    assert re.findall(r"(?:src|href|from|url\()[=\s]*[\"']?(?:https?:)?//[^\"'\s]+", page.text) == []
    assert browser.get("/").headers["location"] == "/ui/"
    lost = browser.get("/ui/nowhere")
    assert lost.status_code == 404 and "There is no such page" in lost.text

    assert browser.get(f"/ui/thumbs/{job_id}").headers["content-type"] == "image/svg+xml"
    drawn = live.hand.preview(job_id, 50, shade=200)
    for path in (f"/ui/thumbs/{job_id}", f"/ui/files/v1/jobs/{job_id}/previews/50.png"):
        picture = browser.get(path)
        assert picture.content == drawn and picture.headers["content-type"] == "image/png"
        assert browser.get(path, headers={"If-None-Match": picture.headers["etag"]}).status_code == 304

    saved = live.hand.checkpoint(job_id, 50, b"0123456789")
    address = f"/ui/files/v1/checkpoints/{saved.id}/content?part=generator"
    assert browser.get(address).content == b"0123456789"
    part = browser.get(address, headers={"Range": "bytes=2-4"})
    assert part.status_code == 206 and part.content == b"234"


def test_only_pictures_and_files_are_passed_on(live: Live, browser: httpx2.Client) -> None:
    job_id = live.hand.submit()
    for path in ("v1/jobs", f"v1/jobs/{job_id}", "metrics", f"v1/jobs/{job_id}/../../workers", "docs"):
        assert browser.get(f"/ui/files/{path}").status_code == 404, path
    assert browser.post(f"/ui/files/v1/jobs/{job_id}/cancel").status_code in (404, 405)


def test_the_api_leads_to_the_dashboard_with_path_and_query(client: TestClient, sqlite_settings: Settings) -> None:
    answer = client.get("/ui/submit?from=job_1&remedy=x", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == f"http://testserver:{sqlite_settings.ui_port}/ui/submit?from=job_1&remedy=x"
    assert client.get("/ui", follow_redirects=False).headers["location"].endswith(f":{sqlite_settings.ui_port}/ui")


def _until_alive(http: httpx2.Client) -> None:
    for _ in range(300):
        try:
            http.get("/healthz")
            return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError("the dashboard was not there within half a minute")


def test_the_command_becomes_the_process_with_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: became.append(argv))
    CliRunner().invoke(cli, ["ui", "--api", "http://far:8000", "--port", "9000"])
    assert became == [[sys.executable, "-m", "api.ui", "--api", "http://far:8000", "--port", "9000"]]
