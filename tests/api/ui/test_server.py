"""The process `python -m api.ui`: its pages below /ui, its proxy and its command."""

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
from api.ui.server import create_app
from gantry.cli.app import app as cli
from jobs.errors import UnavailableError
from jobs.runtime import process
from jobs.runtime.settings import Settings
from tests import schema
from tests.api.live_service import Live, serving
from tests.conftest import small_settings
from tests.gan.uploads.zips import files, zipped
from tests.ports import free_port


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Yield a service that all tests of this module share. None may stop it."""
    settings = small_settings(tmp_path_factory.mktemp("service"))
    schema.copy_sqlite(settings)
    with serving(settings) as served:
        yield served


@pytest.fixture(scope="module")
def browser(live: Live) -> Iterator[httpx2.Client]:
    """Yield an HTTP client for a dashboard in a separate process, which all tests of this module share."""
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


def test_a_real_process_serves_pages_images_and_files(live: Live, browser: httpx2.Client) -> None:
    job_id = live.fake_worker.train()
    page = browser.get("/ui/")
    assert page.status_code == 200 and "Jobs – Gantry" in page.text and 'lang="en-US"' in page.text
    # The page loads nothing from other hosts.
    assert re.findall(r"(?:src|href|from|url\()[=\s]*[\"']?(?:https?:)?//[^\"'\s]+", page.text) == []
    assert browser.get("/").headers["location"] == "/ui/"
    # Files with a digest in their path are cached for good; an error never is.
    (script,) = set(re.findall(r"/ui/_nicegui/[^\"']+/components/[^\"']*live_table[^\"']*", page.text))
    assert "immutable" in browser.get(script).headers["Cache-Control"]
    assert browser.get(f"{script}x").headers["Cache-Control"] == "no-store"
    missing = browser.get("/ui/nowhere")
    assert missing.status_code == 404 and "There is no such page" in missing.text

    assert browser.get(f"/ui/thumbs/{job_id}").headers["content-type"] == "image/svg+xml"
    drawn = live.fake_worker.preview(job_id, 50, shade=200)
    thumb = browser.get(f"/ui/thumbs/{job_id}")
    assert thumb.headers["content-type"] == "image/png" and "max-age" in thumb.headers["Cache-Control"]
    path = f"/ui/files/v1/jobs/{job_id}/previews/50.png"
    picture = browser.get(path)
    assert picture.content == drawn and picture.headers["content-type"] == "image/png"
    assert browser.get(path, headers={"If-None-Match": picture.headers["etag"]}).status_code == 304

    saved = live.fake_worker.checkpoint(job_id, 50, b"0123456789")
    address = f"/ui/files/v1/checkpoints/{saved.id}/content?part=generator"
    assert browser.get(address).content == b"0123456789"
    part = browser.get(address, headers={"Range": "bytes=2-4"})
    assert part.status_code == 206 and part.content == b"234"


@pytest.mark.parametrize(
    "path", ["jobs/job_x", "datasets/ds_x", "submit?from=job_x", "compare?jobs=job_x", "no/where"]
)
def test_an_unknown_object_is_a_404_page(browser: httpx2.Client, path: str) -> None:
    missing = browser.get(f"/ui/{path}")
    assert missing.status_code == 404 and "There is no such page" in missing.text and "All jobs" in missing.text


def test_an_unknown_remedy_is_404_and_names_it(live: Live, browser: httpx2.Client) -> None:
    missing = browser.get(f"/ui/submit?from={live.fake_worker.submit()}&remedy=mode_collapse")
    assert missing.status_code == 404 and "no finding" in missing.text and "mode_collapse" in missing.text


def test_losses_are_a_sparkline(live: Live, browser: httpx2.Client) -> None:
    job_id = live.fake_worker.train()
    assert browser.get(f"/ui/sparks/{job_id}").text.count("<polyline") == 2
    live.fake_worker.curve(job_id, np.array([[1.0, 2.0], [3.0, 4.0]]), "loss_d", "loss_g")
    live.fake_worker.progress(job_id, 2)
    response = browser.get(f"/ui/sparks/{job_id}")
    assert response.headers["content-type"].startswith("image/svg") and "0.0,36.0 96.0,12.0" in response.text
    assert "<polyline" not in browser.get("/ui/sparks/job_x").text


def test_an_upload_is_forwarded(sqlite_settings: Settings) -> None:
    with (
        serving(sqlite_settings.model_copy(update={"upload_mb": 1})) as live,
        _at_dashboard_of(live) as browser,
    ):
        _forward_uploads(live, browser)


def _forward_uploads(live: Live, browser: httpx2.Client) -> None:
    sent: dict[str, Any] = {"files": {"file": ("shoes.zip", zipped(files("bag", "shoe")))}, "data": {"size": "16"}}
    assert browser.post("/ui/files/v1/datasets", **sent).status_code == 403, "a page of another site could send it"
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


def test_no_upload_is_forwarded_without_a_sign_in(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live, _at_dashboard_of(live) as browser:
        response = browser.post("/ui/files/v1/datasets", headers={"X-Gantry-Dashboard": "1"}, content=_endless())
        assert response.status_code == 401 and response.headers["connection"] == "close"


def test_no_upload_is_forwarded_while_keys_cannot_be_checked(
    live: Live, browser: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(request: Request) -> None:
        raise UnavailableError("The database does not answer.")

    monkeypatch.setattr(service, "authenticate", unavailable)
    response = browser.post("/ui/files/v1/datasets", headers={"X-Gantry-Dashboard": "1"}, content=_endless())
    assert response.status_code == 503 and response.json()["code"] == "unavailable"


def test_pages_of_other_sites_cannot_reach_a_dashboard_without_keys(browser: httpx2.Client) -> None:
    assert browser.get("/ui/", headers={"Host": "evil.example"}).status_code == 403
    assert browser.post("/ui/sign-in", headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_dashboard_sends_security_headers(browser: httpx2.Client) -> None:
    headers = browser.get("/healthz").headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy and "object-src 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_large_bodies_are_refused_without_a_key(browser: httpx2.Client) -> None:
    sent = browser.post("/ui/sign-in", files={"f": ("x", b"0" * (2 << 20))})
    assert sent.status_code == 413


def test_only_images_and_files_are_forwarded(live: Live, browser: httpx2.Client) -> None:
    job_id = live.fake_worker.submit()
    for path in ("v1/jobs", f"v1/jobs/{job_id}", "metrics", f"v1/jobs/{job_id}/../../workers", "docs"):
        assert browser.get(f"/ui/files/{path}").status_code == 404, path
    assert browser.post(f"/ui/files/v1/jobs/{job_id}/cancel").status_code in (404, 405)


def test_the_api_redirects_to_the_dashboard_with_path_and_query(
    client: TestClient, sqlite_settings: Settings
) -> None:
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
    raise AssertionError("the dashboard did not start within two minutes")


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "http://[bad", "127.0.0.1:8000"])
def test_an_invalid_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"an example is http://127.0.0.1:8000"):
        create_app(url, exposed=False)


def test_an_invalid_url_is_one_sentence_and_exit_code_2() -> None:
    argv = [sys.executable, "-m", "api.ui", "--api", "http://[bad", "--port", str(free_port())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "an example is http://127.0.0.1:8000" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_replaces_its_process_and_keeps_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda path, argv, env: commands.append(argv))
    CliRunner().invoke(cli, ["ui", "--api", "http://far:8000", "--port", "9000"])
    assert commands == [[sys.executable, "-m", "api.ui", "--api", "http://far:8000", "--port", "9000"]]
