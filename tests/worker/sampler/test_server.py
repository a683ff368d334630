"""The sampler as the API uses it: a separate process, over HTTP."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from gan import datasets
from gan.spec import BUILTIN_DATASETS, resolve
from jobs.db import Database
from jobs.ids import new_id
from jobs.models import Checkpoint
from jobs.runtime.settings import Settings, sampler_address
from jobs.storage import keys
from jobs.store import checkpoints, jobs
from jobs.store import datasets as registered
from tests import schema
from tests.conftest import small_settings
from tests.jobs.helpers import disk_path, files_of
from tests.ports import free_port
from tests.worker.helpers import tiny, until, with_checkpoints


@pytest.fixture(scope="module")
def sampler_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    url = f"http://127.0.0.1:{free_port()}"
    settings = small_settings(tmp_path_factory.mktemp("sampler"), sampler_url=url, sampler_queue=1, sampler_cache=2)
    schema.copy_sqlite(settings)
    return settings


@pytest.fixture(scope="module")
def client(sampler_settings: Settings) -> Iterator[httpx2.Client]:
    """Yield a client of a running sampler with a queue of one request."""
    with running(sampler_settings) as client:
        yield client


@pytest.fixture(scope="module")
def queueing_client(sampler_settings: Settings) -> Iterator[httpx2.Client]:
    """Yield a client of a sampler with a queue of 16 requests, on the same database."""
    socket_file = f"unix:{sampler_settings.data_dir / 'queue'}"
    with running(sampler_settings.model_copy(update={"sampler_url": socket_file, "sampler_queue": 16})) as client:
        yield client


@contextmanager
def running(settings: Settings) -> Iterator[httpx2.Client]:
    """Start a sampler, yield a client of it, and stop it cleanly."""
    process = subprocess.Popen([sys.executable, "-m", "worker.sampler"], env={**os.environ, **settings.environment()})
    url, path = sampler_address(settings.sampler_url)
    transport = httpx2.HTTPTransport(uds=path) if path else None
    try:
        with httpx2.Client(base_url=url, timeout=60, transport=transport) as client:
            until(lambda: is_alive(client))
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()


def is_alive(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.ConnectError:
        return False


def checkpoints_of_a_job(settings: Settings, **changes: Any) -> list[Checkpoint]:
    """Return the three checkpoints of a small job, newest first."""
    db = Database(settings.database)
    try:
        job = with_checkpoints(settings, db, tiny(**changes), steps=3)
        with db.write() as s:
            jobs.request_cancel(s, job.id)  # so that the next call claims its own job
            return checkpoints.page(s, job.id, limit=10).data
    finally:
        db.dispose()


@pytest.fixture(scope="module")
def conditional(sampler_settings: Settings) -> list[Checkpoint]:
    return checkpoints_of_a_job(sampler_settings, conditioning={"kind": "concat", "embedding_dim": 4})


def draw_body(checkpoint: Checkpoint | str, pairs: list[tuple[int | None, int]], **changes: Any) -> dict[str, Any]:
    images = [{"class_id": class_id, "seed": seed} for class_id, seed in pairs]
    identity = checkpoint if isinstance(checkpoint, str) else checkpoint.id
    return {"checkpoint_id": identity, "images": images, "truncation": 1.0, "format": "npz", "rows": 1, **changes}


def arrays(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(np.load(io.BytesIO(answer.content)))


@pytest.mark.parametrize("format", ["png", "zip", "npz"])
def test_the_same_request_gives_the_same_bytes(
    client: httpx2.Client, conditional: list[Checkpoint], format: str
) -> None:
    body = draw_body(
        conditional[0], [(7, 1), (9, 1)], format=format, rows=2, row_labels=["Sneaker", "Ankle boot"], manifest={}
    )
    first, second = client.post("/draw", json=body), client.post("/draw", json=body)
    assert first.status_code == 200 and first.content == second.content
    if format != "png":
        with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
            assert {entry.date_time[0] for entry in archive.infolist()} == {1980}, "it holds no time of day"


def test_an_image_depends_on_its_class_and_seed_alone(client: httpx2.Client, conditional: list[Checkpoint]) -> None:
    many = arrays(client.post("/draw", json=draw_body(conditional[0], [(3, seed) for seed in range(40)])))
    one = arrays(client.post("/draw", json=draw_body(conditional[0], [(3, 35)])))
    other = arrays(client.post("/draw", json=draw_body(conditional[0], [(4, 35)])))
    assert many["images"].shape == (40, 28, 28, 1) and many["labels"].tolist() == [3] * 40
    np.testing.assert_array_equal(many["images"][35], one["images"][0])
    assert (one["images"] != other["images"]).any()


def test_a_zip_holds_each_image_and_the_manifest(client: httpx2.Client, conditional: list[Checkpoint]) -> None:
    manifest = {"images": [{"index": 0, "label": "Bag"}], "é": 1.5}
    answer = client.post("/draw", json=draw_body(conditional[0], [(8, 0), (8, 1)], format="zip", manifest=manifest))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["0000.png", "0001.png", "manifest.json"]
        assert json.loads(archive.read("manifest.json")) == manifest
        assert archive.read("0000.png").startswith(b"\x89PNG")


def test_without_classes_labels_are_minus_one(client: httpx2.Client, sampler_settings: Settings) -> None:
    plain = checkpoints_of_a_job(sampler_settings)[0]
    drawn = arrays(client.post("/draw", json=draw_body(plain, [(None, 5), (None, 6)])))
    assert drawn["labels"].tolist() == [-1, -1]
    refused = client.post("/draw", json=draw_body(plain, [(1, 5)]))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")


@pytest.mark.parametrize(
    "change",
    [
        {"images": []},
        {"truncation": 0},
        {"truncation": 1.5},
        {"format": "gif"},
        {"images": [{"class_id": 10, "seed": 0}]},
        {"images": [{"class_id": 1, "seed": 0}, {"class_id": None, "seed": 0}]},
        {"images": [{"class_id": 1, "seed": -1}]},
        {"rows": 2, "format": "png"},
        {"unheard_of": 1},
    ],
)
def test_an_invalid_request_is_refused(
    client: httpx2.Client, conditional: list[Checkpoint], change: dict[str, Any]
) -> None:
    refused = client.post("/draw", json=draw_body(conditional[0], [(1, 0)]) | change)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")
    assert refused.json()["detail"]


def test_an_unknown_checkpoint_is_not_found(client: httpx2.Client) -> None:
    missing = client.post("/draw", json=draw_body("ckpt_none", [(None, 0)]))
    assert (missing.status_code, missing.json()["code"]) == (404, "checkpoint-not-found")


def test_a_damaged_or_missing_file_is_an_error(client: httpx2.Client, sampler_settings: Settings) -> None:
    damaged, gone, _ = checkpoints_of_a_job(sampler_settings)
    files = files_of(sampler_settings)
    content = bytearray(files.read_bytes(damaged.weights_key))
    content[-1] ^= 1
    disk_path(files, damaged.weights_key).write_bytes(content)
    files.delete(gone.weights_key)
    for checkpoint in (damaged, gone):
        answer = client.post("/draw", json=draw_body(checkpoint, [(None, 0)]))
        assert (answer.status_code, answer.json()["code"]) == (500, "artifact-lost")


def test_the_cache_keeps_at_most_two_generators(client: httpx2.Client, conditional: list[Checkpoint]) -> None:
    drawn = [client.post("/draw", json=draw_body(checkpoint, [(0, 0)])).content for checkpoint in conditional]
    assert client.get("/healthz").json()["generators"] == 2
    again = [client.post("/draw", json=draw_body(checkpoint, [(0, 0)])).content for checkpoint in conditional]
    assert drawn == again and len(set(drawn)) == 3


def test_a_full_queue_answers_503(client: httpx2.Client, conditional: list[Checkpoint]) -> None:
    body = draw_body(conditional[0], [(i % 10, i) for i in range(1024)], format="zip")
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: client.post("/draw", json=body), range(12)))
    busy = [answer for answer in answers if answer.status_code == 503]
    assert busy and {answer.status_code for answer in answers} == {200, 503}
    assert all(a.json()["code"] == "sampler-busy" and int(a.headers["Retry-After"]) > 0 for a in busy)
    assert client.post("/draw", json=draw_body(conditional[0], [(0, 0)])).status_code == 200, (
        "afterwards it draws again"
    )


def test_eight_concurrent_requests_get_the_bytes_that_they_get_alone(
    queueing_client: httpx2.Client, conditional: list[Checkpoint]
) -> None:
    bodies = [
        draw_body(
            conditional[number % 2],
            [((number + i) % 10, number + i) for i in range(1 + 11 * number)],
            format=("png", "zip", "npz")[number % 3],
            truncation=1 - number / 10,
            manifest={"number": number},
        )
        for number in range(8)
    ]
    alone = [queueing_client.post("/draw", json=body).content for body in bodies]
    for _ in range(5):
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda body: queueing_client.post("/draw", json=body), bodies))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert [answer.content for answer in answers] == alone


def test_an_estimate_has_sizes_without_training(client: httpx2.Client) -> None:
    spec = resolve({"dataset": "fashion-mnist-mini"})
    dataset = BUILTIN_DATASETS["fashion-mnist-mini"]
    body = {"spec": spec.model_dump(mode="json"), "dataset": dataset.model_dump(mode="json")}
    figures = client.post("/estimate", json=body).json()
    assert set(figures) == {
        "generator_parameters",
        "discriminator_parameters",
        "memory_bytes",
        "checkpoint_bytes",
        "disk_bytes",
    }
    assert all(value > 1000 for value in figures.values())


def test_an_export_is_made_once(
    client: httpx2.Client, sampler_settings: Settings, conditional: list[Checkpoint]
) -> None:
    where = {"checkpoint_id": conditional[0].id, "format": "onnx"}
    first = client.get("/export", params=where)
    assert first.status_code == 200 and first.headers["content-type"] == "application/octet-stream"
    kept = files_of(sampler_settings).read_bytes(keys.onnx(conditional[0].weights_key))
    assert first.content == kept == client.get("/export", params=where).content
    assert client.get("/export", params={**where, "format": "tflite"}).status_code == 422
    assert client.get("/export", params={**where, "checkpoint_id": "ckpt_none"}).status_code == 404


def test_the_sampler_can_listen_on_a_unix_socket(sampler_settings: Settings) -> None:
    path = sampler_settings.data_dir / "s"
    with running(sampler_settings.model_copy(update={"sampler_url": f"unix:{path}"})):
        assert path.is_socket()


def sheet(client: httpx2.Client, dataset: str, class_ids: list[int | None], **changes: Any) -> httpx2.Response:
    asked = {"dataset_id": dataset, "class_ids": class_ids, "n": 4, "rows": len(class_ids), **changes}
    return client.post("/contact-sheet", json=asked)


def test_a_contact_sheet_has_a_row_of_images_per_class(client: httpx2.Client) -> None:
    answer = sheet(client, "fashion-mnist-mini", [8, 1], row_labels=["Bag", "Trouser"])
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    whole = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert whole.shape[0] == 2 * 58 + 2 and whole.shape[1] > 4 * 58
    one = np.asarray(Image.open(io.BytesIO(sheet(client, "fashion-mnist-mini", [8]).content)))
    real = datasets.load("fashion-mnist-mini")
    assert real.labels is not None
    first = real.images[real.labels == 8][0, 0].numpy().repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(one[2:58, 2:58], first)


def test_a_contact_sheet_without_data_or_with_bad_rows_is_refused(
    client: httpx2.Client, sampler_settings: Settings
) -> None:
    assert sheet(client, "nowhere", [1]).json()["code"] == "dataset-not-found"
    assert sheet(client, "fashion-mnist-mini", [1], rows=3).status_code == 422
    assert sheet(client, "fashion-mnist-mini", []).status_code == 422
    db = Database(sampler_settings.database)
    with db.write() as s:
        row = registered.create_upload(s, new_id("ds"), "mine", None)
        row.status, row.num_images, row.channels, row.height, row.width = "ready", 64, 1, 28, 28
    db.dispose()
    away = sheet(client, "mine", [None])
    assert away.status_code == 409 and away.json()["code"] == "dataset-away" and "Upload it" in away.json()["detail"]
