"""The process `python -m api.ui`: what it serves under /ui, what it passes on, and how it is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from typer.testing import CliRunner

from api import app as service
from gantry.cli.app import app as cli
from jobs.errors import UnavailableError
from jobs.runtime import process
from jobs.runtime.settings import Settings
from tests.api.live_service import Live, serving
from tests.gan.uploads.zips import files, zipped
from tests.ports import free_port


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings.model_copy(update={"upload_mb": 1})) as served:
        yield served


@pytest.fixture
def browser(live: Live) -> Iterator[httpx2.Client]:
    """At a dashboard in a process of its own."""
    with _at_dashboard_of(live) as http:
        yield http


@contextmanager
def _at_dashboard_of(live: Live) -> Iterator[httpx2.Client]:
    port = free_port()
    argv = [sys.executable, "-m", "api.ui", "--api", live.url, "--port", str(port)]
    server = process.spawn(argv, env=dict(os.environ))
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
            _until_alive(http, server)
            yield http
    finally:
        assert process.end(server, 60) == 0


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


@pytest.mark.parametrize(
    "path", ["jobs/job_x", "datasets/ds_x", "submit?from=job_x", "compare?jobs=job_x", "no/where"]
)
def test_what_is_not_there_is_404_with_a_page_that_says_so(browser: httpx2.Client, path: str) -> None:
    lost = browser.get(f"/ui/{path}")
    assert lost.status_code == 404 and "There is no such page" in lost.text and "All jobs" in lost.text


def test_a_remedy_that_the_job_has_not_is_404_and_says_which_it_has(live: Live, browser: httpx2.Client) -> None:
    lost = browser.get(f"/ui/submit?from={live.hand.submit()}&remedy=mode_collapse")
    assert lost.status_code == 404 and "no finding" in lost.text and "mode_collapse" in lost.text


def test_losses_are_a_picture_as_small_as_a_word(live: Live, browser: httpx2.Client) -> None:
    job_id = live.hand.train()
    assert browser.get(f"/ui/sparks/{job_id}").text.count("<polyline") == 2
    live.hand.curve(job_id, np.array([[1.0, 2.0], [3.0, 4.0]]), "loss_d", "loss_g")
    live.hand.progress(job_id, 2)
    drawn = browser.get(f"/ui/sparks/{job_id}")
    assert drawn.headers["content-type"].startswith("image/svg") and "0.0,36.0 96.0,12.0" in drawn.text
    assert "<polyline" not in browser.get("/ui/sparks/job_x").text


def test_an_upload_is_passed_on_as_it_comes(live: Live, browser: httpx2.Client) -> None:
    sent: dict[str, Any] = {"files": {"file": ("shoes.zip", zipped(files("bag", "shoe")))}, "data": {"size": "16"}}
    assert browser.post("/ui/files/v1/datasets", **sent).status_code == 403, "a page of another site might send it"
    ours = {"X-Gantry-Dashboard": "1"}
    made = browser.post("/ui/files/v1/datasets", headers=ours, **sent)
    assert made.status_code == 201 and made.json()["name"] == "shoes"
    refused = browser.post("/ui/files/v1/datasets", headers=ours, files={"file": ("a.zip", b"no zip")})
    assert refused.status_code == 422 and refused.json()["code"] == "corrupt-archive"
    large = browser.post("/ui/files/v1/datasets", headers=ours, files={"file": ("a.zip", bytes(8_000_000))})
    assert large.status_code == 413 and "larger than 1 MB" in large.json()["detail"]
    live.stop()
    assert browser.post("/ui/files/v1/datasets", headers=ours, **sent).status_code == 502


def _endless() -> Iterator[bytes]:
    while True:
        yield bytes(1 << 16)
        time.sleep(0.01)


def test_nothing_is_sent_on_for_somebody_who_is_not_signed_in(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live, _at_dashboard_of(live) as browser:
        told = browser.post("/ui/files/v1/datasets", headers={"X-Gantry-Dashboard": "1"}, content=_endless())
        assert told.status_code == 401 and told.headers["connection"] == "close"


def test_nothing_is_sent_on_while_the_service_can_look_up_nobody(
    live: Live, browser: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(request: Request) -> None:
        raise UnavailableError("The database does not answer.")

    monkeypatch.setattr(service, "authenticate", away)
    told = browser.post("/ui/files/v1/datasets", headers={"X-Gantry-Dashboard": "1"}, content=_endless())
    assert told.status_code == 503 and told.json()["code"] == "unavailable"


def test_pages_of_other_sites_reach_no_dashboard_that_asks_for_no_key(browser: httpx2.Client) -> None:
    assert browser.get("/ui/", headers={"Host": "evil.example"}).status_code == 403
    assert browser.post("/ui/sign-in", headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_dashboard_is_framed_by_nobody_and_runs_what_it_serves(browser: httpx2.Client) -> None:
    headers = browser.get("/healthz").headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy and "object-src 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_who_has_no_key_fills_no_disk(browser: httpx2.Client) -> None:
    sent = browser.post("/ui/sign-in", files={"f": ("x", b"0" * (2 << 20))})
    assert sent.status_code == 413


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


def _until_alive(http: httpx2.Client, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            http.get("/healthz")
            return
        except httpx2.TransportError:
            assert server.poll() is None, "the dashboard ended"
            time.sleep(0.1)
    raise AssertionError("the dashboard was not there within two minutes")


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "http://[bad", "127.0.0.1:8000"])
def test_an_address_that_cannot_be_is_one_sentence_and_exit_2(url: str) -> None:
    argv = [sys.executable, "-m", "api.ui", "--api", url, "--port", str(free_port())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "an example is http://127.0.0.1:8000" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_becomes_the_process_with_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda path, argv, env: became.append(argv))
    CliRunner().invoke(cli, ["ui", "--api", "http://far:8000", "--port", "9000"])
    assert became == [[sys.executable, "-m", "api.ui", "--api", "http://far:8000", "--port", "9000"]]
