"""Curves and previews."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.samples import plots
from jobs.errors import RenderingBusyError
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.storage import Storage
from tests.api.conftest import FakeWorker, assert_problem


def _collapse(fake_worker: FakeWorker, steps: int = 5000, at: int = 1234) -> str:
    """Return a job whose loss_d is 1, except -50 at one step, and whose loss_g is not finite at two steps."""
    job_id = fake_worker.train()
    values = np.ones((steps, 2), np.float32)
    values[at - 1, 0] = -50
    values[[10, 20], 1] = np.nan, np.inf
    fake_worker.curve(job_id, values, "loss_d", "loss_g")
    return job_id


def test_metrics_sum_up_each_curve(client: TestClient, fake_worker: FakeWorker) -> None:
    rows = client.get(f"/v1/jobs/{_collapse(fake_worker)}/metrics").json()
    assert [row["name"] for row in rows] == ["loss_d", "loss_g"]
    assert rows[0] == {
        "name": "loss_d",
        "last": 1.0,
        "last_step": 5000,
        "min": -50.0,
        "max": 1.0,
        "count": 5000,
        "nonfinite_count": 0,
    }
    assert rows[1]["nonfinite_count"] == 2


def test_a_reduced_curve_keeps_a_collapse_of_one_step(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = _collapse(fake_worker)
    body = client.get(f"/v1/jobs/{job_id}/metrics/series?names=loss_d&max_points=100").json()
    assert [1234, -50.0] in body["series"]["loss_d"]
    assert len(body["series"]["loss_d"]) <= 100
    assert body["reduced"] is True and body["source_points"] == 5000 and body["reduce"] == "minmax"


def test_an_unreduced_curve_has_all_points_and_null_for_nan(client: TestClient, fake_worker: FakeWorker) -> None:
    answer = client.get(f"/v1/jobs/{_collapse(fake_worker)}/metrics/series?names=loss_g&reduce=none")
    body = json.loads(answer.text, parse_constant=lambda name: pytest.fail(name))
    points = body["series"]["loss_g"]
    assert len(points) == 5000 and points[10] == [11, None] and points[20] == [21, None]
    assert body["reduced"] is False and body["nonfinite_count"] == 2


def test_numbers_have_their_shortest_form(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.curve(job_id, np.array([[0.1], [1e-20]]), "loss_d")
    assert client.get(f"/v1/jobs/{job_id}/metrics/series").json()["series"] == {"loss_d": [[1, 0.1], [2, 1e-20]]}


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("from_step=10&to_step=20", 10, 20),
        ("after_step=10", 11, 5000),
        ("after_step=10&from_step=5&to_step=11", 11, 11),
    ],
)
def test_a_range_of_steps_of_a_curve(
    client: TestClient, fake_worker: FakeWorker, query: str, first: int, last: int
) -> None:
    answer = client.get(f"/v1/jobs/{_collapse(fake_worker)}/metrics/series?names=loss_d&reduce=none&{query}")
    points = answer.json()["series"]["loss_d"]
    assert (points[0][0], points[-1][0]) == (first, last)


def test_curves_as_csv(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = _collapse(fake_worker, steps=30, at=5)
    answer = client.get(f"/v1/jobs/{job_id}/metrics/series", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    lines = answer.text.splitlines()
    assert lines[0] == "step,loss_d,loss_g" and lines[5] == "5,-50.0,1.0"
    assert lines[11] == "11,1.0,nan" and lines[21] == "21,1.0,inf" and len(lines) == 31


def test_curves_as_a_plot(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = _collapse(fake_worker, steps=300, at=5)
    answer = client.get(f"/v1/jobs/{job_id}/metrics/series", headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (960, 540) and len(picture.getcolors(1 << 20) or ()) > 10


def test_a_plot_without_points_is_a_picture(client: TestClient, fake_worker: FakeWorker) -> None:
    answer = client.get(f"/v1/jobs/{fake_worker.submit()}/metrics/series", headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(answer.content)).format == "PNG"


def test_too_many_waiting_pictures_are_503(
    client: TestClient, fake_worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = _collapse(fake_worker, 30, 5)
    fake_worker.preview(job_id, 0, shade=9)
    curves = partial(client.get, f"/v1/jobs/{job_id}/metrics/series", headers={"Accept": "image/png"})
    monkeypatch.setattr(
        plots, "_limiter", limiter := ConcurrencyLimiter(1, RenderingBusyError, "Come back in a moment.")
    )
    with limiter.slot():
        for busy in (curves(), _film(client, job_id)):
            assert_problem(busy, 503, "pictures-busy")
            assert busy.headers["Retry-After"] == "5"
        assert client.get(f"/v1/jobs/{job_id}/metrics/series").status_code == 200, "JSON does not wait for pictures"
    assert (curves().status_code, _film(client, job_id).status_code) == (200, 200)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("names=loss_x", "/names"),
        ("max_points=3", "/max_points"),
        ("max_points=10001", "/max_points"),
        ("reduce=mean", "/reduce"),
        ("from_step=-1", "/from_step"),
        ("from_step=9&to_step=8", "/to_step"),
    ],
)
def test_an_invalid_request_for_series_is_refused(
    client: TestClient, fake_worker: FakeWorker, query: str, pointer: str
) -> None:
    answer = client.get(f"/v1/jobs/{_collapse(fake_worker, 30, 5)}/metrics/series?{query}")
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]


def test_an_unknown_metric_gets_the_valid_ones(client: TestClient, fake_worker: FakeWorker) -> None:
    answer = client.get(f"/v1/jobs/{_collapse(fake_worker, 30, 5)}/metrics/series?names=loss_d,loss_x")
    assert assert_problem(answer, 422, "unknown-metric")["valid_names"] == ["loss_d", "loss_g"]


def test_an_unavailable_type_is_406_with_the_available_ones(client: TestClient, fake_worker: FakeWorker) -> None:
    answer = client.get(f"/v1/jobs/{fake_worker.submit()}/metrics/series", headers={"Accept": "text/html"})
    assert "text/csv" in assert_problem(answer, 406, "not-acceptable")["valid_types"]
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("media", ["application/json", "text/csv", "image/png"])
def test_negotiated_responses_have_vary(client: TestClient, fake_worker: FakeWorker, media: str) -> None:
    answer = client.get(f"/v1/jobs/{_collapse(fake_worker, 30, 5)}/metrics/series", headers={"Accept": media})
    assert answer.status_code == 200 and answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("names", ["", ",", "loss_d,", " "])
def test_an_empty_name_does_not_mean_all(client: TestClient, fake_worker: FakeWorker, names: str) -> None:
    answer = client.get(f"/v1/jobs/{_collapse(fake_worker, 30, 5)}/metrics/series", params={"names": names})
    body = assert_problem(answer, 422, "invalid-parameters")
    assert body["errors"][0]["pointer"] == "/names" and "empty word" in body["detail"]


def test_the_animation_of_a_job_without_previews_is_409(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.submit()
    detail = assert_problem(_film(client, job_id), 409, "no-preview")["detail"]
    assert "The first one is drawn before the first step" in detail
    client.post(f"/v1/jobs/{job_id}/cancel")
    detail = assert_problem(_film(client, job_id), 409, "no-preview")["detail"]
    assert "The job is cancelled" in detail and "ended before" in detail and "first step" not in detail


def _film(client: TestClient, job_id: str) -> Any:
    return client.get(f"/v1/jobs/{job_id}/previews.gif")


def test_previews_are_listed_shown_and_animated(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    assert client.get(f"/v1/jobs/{job_id}/previews").json() == []
    assert_problem(_film(client, job_id), 409, "no-preview")
    drawn = {step: fake_worker.preview(job_id, step, shade=step * 2) for step in (0, 50, 100)}
    listed = client.get(f"/v1/jobs/{job_id}/previews").json()
    assert [row["step"] for row in listed] == [0, 50, 100]
    for row in listed:
        answer = client.get(row["url"])
        assert answer.content == drawn[row["step"]] and answer.headers["content-type"] == "image/png"
        assert client.get(row["url"], headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    film = _film(client, job_id)
    picture = Image.open(io.BytesIO(film.content))
    assert picture.format == "GIF" and picture.n_frames == 3  # type: ignore[attr-defined]
    headers = {"If-None-Match": film.headers["ETag"]}
    assert client.get(f"/v1/jobs/{job_id}/previews.gif", headers=headers).status_code == 304


def test_an_animation_reads_no_preview_while_it_waits(
    client: TestClient, fake_worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fake_worker.train()
    for step in (0, 50):
        fake_worker.preview(job_id, step, shade=step)
    read: list[str] = []
    reads = Storage.read_bytes

    def noted(self: Storage, key: str) -> bytes:
        read.append(key)
        return reads(self, key)

    monkeypatch.setattr(Storage, "read_bytes", noted)
    monkeypatch.setattr(
        plots, "_limiter", limiter := ConcurrencyLimiter(1, RenderingBusyError, "Come back in a moment.")
    )
    with limiter.slot():
        assert_problem(_film(client, job_id), 503, "pictures-busy")
    assert read == []
    assert _film(client, job_id).status_code == 200 and len(read) == 2


@pytest.mark.parametrize("step", ["7", "x", "-1", "99999999999999999999999"])
def test_a_preview_that_was_not_drawn_is_404(client: TestClient, fake_worker: FakeWorker, step: str) -> None:
    assert client.get(f"/v1/jobs/{fake_worker.train()}/previews/{step}.png").status_code == 404


def test_a_preview_with_a_lost_file_is_500(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.preview(job_id, 0, 3)
    fake_worker.artifacts.delete_prefix(job_id)
    assert_problem(client.get(f"/v1/jobs/{job_id}/previews/0.png"), 500, "artifact-lost")


def test_an_unreduced_curve_is_read_in_parts(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.curve(job_id, np.arange(10.0).reshape(10, 1), "loss_d")
    url = f"/v1/jobs/{job_id}/metrics/series?names=loss_d&reduce=none&max_points=4"
    first = client.get(url).json()
    assert [step for step, _ in first["series"]["loss_d"]] == [1, 2, 3, 4] and first["source_points"] == 10
    rest = client.get(f"{url}&after_step=4").json()
    assert [step for step, _ in rest["series"]["loss_d"]] == [5, 6, 7, 8]
