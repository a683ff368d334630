"""The main road, from POST to images by class label, through real processes on both profiles."""

from __future__ import annotations

import io
import os
import signal
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan.spec import resolve
from tests.conftest import settings_of
from tests.e2e.service import JUDGED, Service, running, start
from tests.faults import undisturbed

pytestmark = pytest.mark.timeout(600)

# One service a profile: whoever runs one of its tests runs all of them.
ROADS = (
    pytest.param("sqlite", marks=pytest.mark.xdist_group("road on SQLite")),
    pytest.param("postgres", marks=[pytest.mark.xdist_group("road on PostgreSQL"), pytest.mark.postgres]),
)


@pytest.fixture(scope="module", params=ROADS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a running service. A test must leave it with a worker and without unfinished jobs."""
    folder = tmp_path_factory.mktemp(request.param)
    with settings_of(request.param, folder, request) as settings, running(settings, folder / "logs") as started:
        yield started


def test_from_post_to_images_by_class_label(service: Service) -> None:
    job = service.submit(name="first light", **JUDGED)
    assert job["status"] == "queued" and job["queue"] == {"position": 1, "jobs_ahead": 0, "at_least": False}
    done = service.wait(job["id"])
    assert done["status"] == "succeeded", (done, service.tail())
    assert done["progress"]["step"] == 40 and done["progress"]["fraction"] == 1.0
    assert done["attempt"] == 1 and done["progress"]["images_seen"] == 40 * 16
    _curves(service, job["id"])
    _previews(service, job["id"])
    _checkpoints(service, job["id"])
    _quality(service, done)
    _samples(service, job["id"])
    assert service.http.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert not (service.settings.data_dir / "artifacts" / "default" / job["id"]).exists()


def _curves(service: Service, job_id: str) -> None:
    curve = service.curve(job_id)
    assert [step for step, _ in curve["loss_d"]] == list(range(1, 41))
    assert all(np.isfinite(value) for _, value in curve["loss_g"])
    series = f"/v1/jobs/{job_id}/metrics/series?names=loss_d,loss_g"
    table = service.http.get(series, headers={"Accept": "text/csv"}).text.splitlines()
    assert len(table) == 41 and table[0].startswith("step")
    picture = service.http.get(series, headers={"Accept": "image/png"}).content
    assert Image.open(io.BytesIO(picture)).size[0] > 300


def _previews(service: Service, job_id: str) -> None:
    body = service.http.get(f"/v1/jobs/{job_id}/previews").json()
    previews = body["data"] if isinstance(body, dict) else body
    assert [p["step"] for p in previews] == [0, 20, 40]
    first, last = (service.http.get(previews[i]["url"]).content for i in (0, -1))
    assert first != last and Image.open(io.BytesIO(last)).format == "PNG"
    film = Image.open(io.BytesIO(service.http.get(f"/v1/jobs/{job_id}/previews.gif").content))
    assert film.format == "GIF" and getattr(film, "n_frames", 0) == 3


def _checkpoints(service: Service, job_id: str) -> None:
    data = service.http.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
    assert [c["step"] for c in data] == [40, 30, 20] and data[0]["is_last"]
    weights = service.http.get(f"/v1/checkpoints/{data[0]['id']}/content?part=generator&format=safetensors")
    assert weights.status_code == 200 and len(weights.content) > 1000


def _quality(service: Service, job: dict[str, Any]) -> None:
    assert job["health"]["verdict"] in ("healthy", "warning", "failing")
    assert all(finding["message"] and finding["evidence"] for finding in job["health"]["findings"])
    evaluated = service.http.get(job["links"]["evaluations"]).json()["data"]
    assert [e["step"] for e in evaluated] == [40, 20, 0]
    (best,) = (e for e in evaluated if e["is_best"])
    assert best["metrics"].keys() >= {"fcd", "coverage", "precision", "recall", "label_accuracy"}
    assert best["provenance"]["feature_net"]["accuracy"] > 0.8 and best["class_histogram"]
    (kept,) = (c for c in service.http.get(job["links"]["checkpoints"]).json()["data"] if c["is_best"])
    assert (kept["id"], kept["step"]) == (job["best_checkpoint_id"], best["step"])
    assert kept["metrics"]["fcd"] == best["metrics"]["fcd"]
    bags = f"{job['links']['samples']}?label=Bag&n=2"
    drawn = service.http.get(f"{bags}&checkpoint=best")
    assert drawn.headers["X-Checkpoint-Id"] == kept["id"]
    assert service.http.get(bags).content == drawn.content, "the best is what is drawn from by itself"
    curve = service.http.get(f"{job['links']['metrics']}/series?names=fcd,coverage").json()["series"]
    assert [step for step, _ in curve["fcd"]] == [step for step, _ in curve["coverage"]] == [0, 20, 40]


def _samples(service: Service, job_id: str) -> None:
    url = f"/v1/jobs/{job_id}/samples"
    sneakers: dict[str, Any] = {"label": "Sneaker", "n": 8, "seed": 7}
    once, twice = (service.http.get(url, params=sneakers) for _ in range(2))
    assert once.status_code == 200 and once.content == twice.content
    by_name, by_id = (_array(service, job_id, label=label, n=8, seed=7) for label in ("Sneaker", "7"))
    assert np.array_equal(by_name, by_id)
    assert not np.array_equal(by_name, _array(service, job_id, label="9", n=8, seed=7))
    assert np.array_equal(by_name[3], _array(service, job_id, label="Sneaker", n=1, seed=10)[0])
    packed = service.http.get(url, params=sneakers, headers={"Accept": "application/zip"})
    names = zipfile.ZipFile(io.BytesIO(packed.content)).namelist()
    assert "manifest.json" in names and len(names) == 9


def _array(service: Service, job_id: str, **query: object) -> np.ndarray:
    answer = service.http.get(
        f"/v1/jobs/{job_id}/samples",
        params=query,  # type: ignore[arg-type]
        headers={"Accept": "application/x-npz"},
    )
    with np.load(io.BytesIO(answer.raise_for_status().content)) as stored:
        images: np.ndarray = stored["images"]
    return images


def test_a_killed_worker_costs_neither_a_point_nor_the_job(service: Service) -> None:
    judged = {**JUDGED, "evaluation": {"every_steps": 150, "images": 100}}
    job = service.submit(total_steps=600, checkpoints={"every_steps": 25}, previews={"every_steps": 600}, **judged)
    service.until(job["id"], lambda seen: seen["progress"]["step"] > 30)
    os.killpg(service.processes["worker"].pid, signal.SIGKILL)
    service.processes["worker"].wait()
    service.processes["worker"] = start("worker", service.settings, service.logs)
    # Whether it runs still, or has ended by the time that somebody looks.
    service.until(job["id"], lambda seen: seen["attempt"] == 2)
    done = service.wait(job["id"])
    assert done["status"] == "succeeded", service.tail()
    curve = service.curve(job["id"])
    assert [step for step, _ in curve["loss_d"]] == list(range(1, 601))
    evaluated = service.http.get(done["links"]["evaluations"]).json()["data"]
    assert [e["step"] for e in evaluated] == [600, 450, 300, 150, 0], "none is missing, none is there twice"
    assert sum(e["is_best"] for e in evaluated) == 1


def test_cancelling_a_running_job_saves_a_checkpoint_and_frees_the_worker(service: Service) -> None:
    job = service.submit(total_steps=100_000, checkpoints={"every_steps": 100_000})
    service.until(job["id"], lambda seen: seen["progress"]["step"] > 0)
    assert service.http.post(f"/v1/jobs/{job['id']}/cancel").status_code in (200, 202)
    done = service.until(job["id"], lambda seen: seen["status"] == "cancelled")
    assert done["last_checkpoint_id"] is not None
    after = service.submit(total_steps=5)
    assert service.wait(after["id"])["status"] == "succeeded"


def test_a_post_answers_quickly_while_a_job_trains(service: Service) -> None:
    job = service.submit(total_steps=100_000)
    service.until(job["id"], lambda seen: seen["progress"]["step"] > 0)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        queued = service.submit()
        times.append(time.perf_counter() - started)
        service.http.post(f"/v1/jobs/{queued['id']}/cancel")
    service.http.post(f"/v1/jobs/{job['id']}/cancel")
    service.wait(job["id"])
    assert sorted(times)[5] < 1.0, "a step of the job, or an import, stood before an answer"


def test_the_curve_is_that_of_the_spec_without_a_service(service: Service) -> None:
    job = service.submit(seed=11)
    assert service.wait(job["id"])["status"] == "succeeded", service.tail()
    alone, served = undisturbed.run(resolve(job["spec"])), service.curve(job["id"])
    for name in ("loss_d", "loss_g"):
        assert [step for step, _ in served[name]] == list(range(1, 41))
        assert np.array_equal(np.array([value for _, value in served[name]], np.float32), alone.curves[name])
