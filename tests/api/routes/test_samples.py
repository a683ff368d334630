"""The plan of a request for samples; and, with a real sampler, the images themselves."""

from __future__ import annotations

import io
import json
import socketserver
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from structlog.testing import capture_logs

from api.app import create_app
from api.http.errors import BadParametersError
from api.samples.cache import SampleCache
from api.samples.request import find_class, make_plan
from gan.spec import BUILTIN_DATASETS, DatasetClass
from jobs.errors import NotConditionalError, UnknownLabelError
from jobs.runtime.process import end, spawn
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.api.conftest import FakeWorker, assert_problem

CLASSES = BUILTIN_DATASETS["fashion-mnist-mini"].classes
MANIFEST = {"Accept": "application/json"}


def test_a_class_is_found_by_its_name_or_its_id() -> None:
    assert find_class("Sneaker", CLASSES).id == find_class("7", CLASSES).id == 7
    with pytest.raises(UnknownLabelError, match="Ankle boot"):
        find_class("sneaker", CLASSES)
    stored = [DatasetClass(id=0, label="cafe\u0301", count=1)]
    assert find_class("caf\u00e9", stored) == find_class(" cafe\u0301 ", stored) == stored[0], "in each normal form"


def test_a_name_that_is_a_number_wins_over_the_id() -> None:
    digits = (DatasetClass(id=0, label="1", count=1), DatasetClass(id=1, label="0", count=1))
    assert find_class("1", digits).id == 0


@given(
    n=st.integers(1, 64), seed=st.integers(0, 2**62), labels=st.lists(st.sampled_from(["0", "3", "9"]), max_size=9)
)
def test_image_i_of_a_label_has_seed_plus_i(n: int, seed: int, labels: list[str]) -> None:
    plan = make_plan(labels, CLASSES, n=n, seed=seed, truncation=1.0)
    class_ids = [int(label) for label in labels] or list(range(10))
    assert [image.class_id for image in plan.images] == [c for c in class_ids for _ in range(n)]
    assert [image.seed for image in plan.images] == [seed + i for _ in class_ids for i in range(n)]
    assert len(plan.images) % plan.rows == 0 and len(plan.row_labels) == plan.rows


@given(n=st.integers(1, 64))
def test_without_classes_all_rows_are_full(n: int) -> None:
    plan = make_plan((), (), n=n, seed=0, truncation=1.0)
    assert len(plan.images) == n and n % plan.rows == 0 and plan.row_labels == []


def test_a_label_needs_a_conditional_generator() -> None:
    with pytest.raises(NotConditionalError):
        make_plan(["Bag"], (), n=1, seed=0, truncation=1.0)


def test_more_than_1024_images_are_refused() -> None:
    make_plan(["0"] * 16, CLASSES, n=64, seed=0, truncation=1.0)
    with pytest.raises(BadParametersError, match="60 of each"):
        make_plan(["0"] * 17, CLASSES, n=64, seed=0, truncation=1.0)


def test_many_labels_are_counted_before_they_are_looked_up() -> None:
    classes = [DatasetClass(id=i, label=str(i), count=1) for i in range(10)]
    with pytest.raises(BadParametersError, match=r"9000 labels with 1 images each .*; ask for 1024 labels at most"):
        make_plan(["nowhere"] * 9000, classes, n=1, seed=0, truncation=1.0)


def test_the_etag_changes_with_all_that_the_bytes_depend_on() -> None:
    plan = make_plan(["Bag"], CLASSES, n=4, seed=0, truncation=1.0)
    others = [
        make_plan(["Coat"], CLASSES, n=4, seed=0, truncation=1.0),
        make_plan(["Bag"], CLASSES, n=5, seed=0, truncation=1.0),
        make_plan(["Bag"], CLASSES, n=4, seed=1, truncation=1.0),
        make_plan(["Bag"], CLASSES, n=4, seed=0, truncation=0.5),
    ]
    etags = {plan.etag("ckpt_1", "png"), plan.etag("ckpt_2", "png"), plan.etag("ckpt_1", "zip")}
    etags |= {other.etag("ckpt_1", "png") for other in others}
    assert len(etags) == 7
    assert plan.etag("ckpt_1", "png") == make_plan(["8"], CLASSES, n=4, seed=0, truncation=1.0).etag("ckpt_1", "png")


def test_sampling_before_a_checkpoint_is_409(client: TestClient, fake_worker: FakeWorker) -> None:
    assert_problem(client.get(f"/v1/jobs/{fake_worker.train()}/samples?label=Sneaker"), 409, "no-checkpoint")


def test_an_unknown_label_gets_the_valid_ones(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 5)
    body = assert_problem(client.get(f"/v1/jobs/{job_id}/samples?label=Socks"), 422, "unknown-label")
    assert body["valid_labels"] == [c.label for c in CLASSES]
    assert body["errors"][0]["pointer"] == "/label"


def test_a_label_for_an_unconditional_generator_is_refused(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train(conditioning={"kind": "none"})
    fake_worker.checkpoint(job_id, 5)
    assert_problem(client.get(f"/v1/jobs/{job_id}/samples?label=Bag"), 422, "not-conditional")
    assert client.get(f"/v1/jobs/{job_id}/classes").json() == []
    images = client.get(f"/v1/jobs/{job_id}/samples?n=3&seed=5", headers=MANIFEST).json()["images"]
    assert [(image["class_id"], image["seed"]) for image in images] == [(None, 5), (None, 6), (None, 7)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("n=0", "/n"),
        ("n=65", "/n"),
        ("seed=-1", "/seed"),
        ("seed=9223372036854775807", "/seed"),
        ("truncation=0", "/truncation"),
        ("truncation=1.1", "/truncation"),
        ("truncation=nan", "/truncation"),
        ("checkpoint=newest", "/checkpoint"),
        ("labels=Bag", "/labels"),
        ("n=64&" + "&".join(["label=1"] * 17), "/n"),
    ],
)
def test_an_invalid_request_for_samples_is_refused(
    client: TestClient, fake_worker: FakeWorker, query: str, pointer: str
) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 5)
    answer = client.get(f"/v1/jobs/{job_id}/samples?{query}")
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]


def test_manifests_and_304_need_no_sampler(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    checkpoint = fake_worker.checkpoint(job_id, 5)
    path = f"/v1/jobs/{job_id}/samples?label=Sneaker&label=9&n=2&seed=7"
    answer = client.get(path, headers=MANIFEST)
    body = answer.json()
    assert body["checkpoint"] == {"id": checkpoint.id, "step": 5} and body["job_id"] == job_id
    assert body["images"][3] == {"index": 3, "class_id": 9, "label": "Ankle boot", "seed": 8}
    assert answer.headers["X-Checkpoint-Id"] == checkpoint.id
    assert answer.headers["Cache-Control"] == "private, no-cache"
    same = client.get(path, headers={**MANIFEST, "If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304 and same.headers["ETag"] == answer.headers["ETag"]
    named = client.get(answer.headers["Content-Location"], headers=MANIFEST)
    assert named.content == answer.content and "immutable" in named.headers["Cache-Control"]


def test_a_newer_checkpoint_changes_the_etag(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    old = fake_worker.checkpoint(job_id, 5)
    before = client.get(f"/v1/jobs/{job_id}/samples", headers=MANIFEST)
    fake_worker.checkpoint(job_id, 9)
    after = client.get(f"/v1/jobs/{job_id}/samples", headers=MANIFEST)
    assert before.headers["ETag"] != after.headers["ETag"] and after.json()["checkpoint"]["step"] == 9
    named = client.get(f"/v1/jobs/{job_id}/samples?checkpoint={old.id}", headers=MANIFEST)
    assert named.json() == before.json()


def test_another_jobs_checkpoint_is_404(client: TestClient, fake_worker: FakeWorker) -> None:
    checkpoint = fake_worker.checkpoint(fake_worker.train(), 5)
    answer = client.get(f"/v1/jobs/{fake_worker.train()}/samples?checkpoint={checkpoint.id}")
    assert_problem(answer, 404, "checkpoint-not-found")


def test_a_sampler_that_is_down_is_503(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 5)
    answer = client.get(f"/v1/jobs/{job_id}/samples")
    assert_problem(answer, 503, "sampler-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@contextmanager
def _fake_sampler(settings: Settings, socket: Path, code: str = "", drawn: bytes | None = None) -> Iterator[Settings]:
    """Run a fake sampler that responds to every request with the images `drawn`, or else with the error `code`."""
    body = json.dumps({"code": code, "detail": "x"}).encode() if drawn is None else drawn

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503 if drawn is None else 200)
            self.send_header("Content-Type", "application/json" if drawn is None else "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Log nothing."""

        def address_string(self) -> str:
            return "unix"

    with socketserver.UnixStreamServer(str(socket), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield settings.model_copy(update={"sampler_url": f"unix:{socket}"})
        finally:
            server.shutdown()
            thread.join()
            socket.unlink()


def test_a_busy_sampler_is_logged_as_a_warning(
    sqlite_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    socket = tmp_path_factory.mktemp("s") / "s.sock"
    with (
        _fake_sampler(sqlite_settings, socket, "sampler-busy") as settings,
        TestClient(create_app(settings)) as client,
    ):
        fake_worker = FakeWorker(settings, client)
        job_id = fake_worker.train()
        fake_worker.checkpoint(job_id, 5)
        with capture_logs() as lines:
            answer = client.get(f"/v1/jobs/{job_id}/samples")
            dry = client.post("/v1/jobs?dry_run=true", json={"dataset": "fashion-mnist-mini"})
    assert "images" not in assert_problem(answer, 503, "sampler-busy")["detail"] and answer.headers["Retry-After"]
    assert "estimate of a dry run" in assert_problem(dry, 503, "sampler-busy")["detail"]
    failed = [line for line in lines if line["event"] == "request failed"]
    assert [line["log_level"] for line in failed] == ["warning", "warning"]


def test_a_dry_run_without_a_sampler_explains_its_use(client: TestClient) -> None:
    with capture_logs() as lines:
        answer = client.post("/v1/jobs?dry_run=true", json={"dataset": "fashion-mnist-mini"})
    assert "estimate of a dry run" in assert_problem(answer, 503, "sampler-unavailable")["detail"]
    assert [line["log_level"] for line in lines if line["event"] == "request failed"] == ["error"]


@pytest.mark.parametrize("query", ["checkpoint=newest", "n=x", "truncation=2", "seed=-1"])
def test_a_problem_contains_no_regular_expression(client: TestClient, query: str) -> None:
    detail = client.get(f"/v1/jobs/job_0/samples?{query}").json()["detail"]
    assert not set(detail) & set("^$|\\{}[]"), detail
    assert (
        "checkpoint" not in query or detail == "checkpoint: the value must be best, last or the id of a checkpoint."
    )


# Write a generator with random weights: training does not matter here. The label is concatenated to z, because
# class-conditional BatchNorm is the same for all classes before training.
_WRITE_WEIGHTS = """
import sys
import torch
from gan.architectures import build_networks
from gan.checkpoint import save_weights
from gan.spec import BUILTIN_DATASETS, resolve
torch.manual_seed(0)
body = {"dataset": "fashion-mnist-mini", "conditioning": {"kind": "concat", "generator": "concat"}}
spec, info = resolve(body), BUILTIN_DATASETS["fashion-mnist-mini"]
G, _ = build_networks(spec, info)
open(sys.argv[1], "wb").write(save_weights(G.state_dict(), spec, info, 5))
"""


@contextmanager
def _sampler(settings: Settings, socket: Path) -> Iterator[None]:
    process = spawn([sys.executable, "-m", "worker.sampler"], env={"PATH": "", **settings.environment()})
    try:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket)), base_url="http://sampler") as client:
            for _ in range(600):
                try:
                    client.get("/healthz").raise_for_status()
                    break
                except httpx2.TransportError:
                    assert process.poll() is None, "the sampler ended"
                    time.sleep(0.1)
            else:
                raise AssertionError("the sampler was not ready within a minute")
        yield
    finally:
        end(process, 10)


def test_cached_samples_are_served_without_the_sampler(
    sqlite_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    socket = tmp_path_factory.mktemp("s") / "s.sock"
    settings = sqlite_settings.model_copy(update={"sampler_url": f"unix:{socket}"})
    with TestClient(create_app(settings)) as client:
        fake_worker = FakeWorker(settings, client)
        job_id = fake_worker.train()
        fake_worker.checkpoint(job_id, 5)
        path = f"/v1/jobs/{job_id}/samples"
        with _fake_sampler(settings, socket, drawn=b"images"):
            first = client.get(f"{path}?n=2")
        assert first.content == b"images"
        assert_problem(client.get(f"{path}?n=3"), 503, "sampler-unavailable")
    # A new process, which shares only the data folder and the database.
    with TestClient(create_app(settings)) as client:
        again = client.get(f"{path}?n=2")
        assert (again.content, again.headers["ETag"]) == (b"images", first.headers["ETag"])
        assert again.headers["Content-Type"] == "image/png"
        assert_problem(client.get(f"{path}?n=2", headers={"Accept": "application/zip"}), 503, "sampler-unavailable")
        fake_worker.checkpoint(job_id, 9)
        assert_problem(client.get(f"{path}?n=2"), 503, "sampler-unavailable")


def test_304_does_not_read_the_cache(
    client: TestClient, fake_worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 5)
    looked_up: list[str] = []

    def get(cache: SampleCache, job_id: str, etag: str) -> bytes:
        looked_up.append(etag)
        return b"images"

    monkeypatch.setattr(SampleCache, "get", get)
    answer = client.get(f"/v1/jobs/{job_id}/samples")
    assert answer.content == b"images" and looked_up == [answer.headers["ETag"]]
    same = client.get(f"/v1/jobs/{job_id}/samples", headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304 and len(looked_up) == 1
    assert client.get(f"/v1/jobs/{job_id}/samples", headers=MANIFEST).status_code == 200 and len(looked_up) == 1


def test_deleting_a_job_removes_its_cached_samples(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings
) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 5)
    cache = SampleCache(sqlite_settings.samples_cache_dir, 1000)
    path = f"/v1/jobs/{job_id}/samples"
    etag = make_plan((), CLASSES, n=8, seed=0, truncation=1.0).etag(fake_worker.checkpoint(job_id, 6).id, "png")
    cache.put(job_id, etag, b"images")
    assert client.get(path).content == b"images"
    assert len(client.get(f"/v1/jobs/{job_id}/classes").json()) == len(CLASSES)
    fake_worker.finish(job_id, Status.SUCCEEDED)
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert_problem(client.get(path), 404, "job-not-found")
    assert_problem(client.get(f"/v1/jobs/{job_id}/classes"), 404, "job-not-found")
    assert cache.get(job_id, etag) is None and not list(sqlite_settings.samples_cache_dir.iterdir())


def _image(answer: httpx2.Response, index: int) -> np.ndarray:
    with np.load(io.BytesIO(answer.content)) as arrays:
        image: np.ndarray = arrays["images"][index]
        return image


def test_images_come_from_a_real_sampler(
    sqlite_settings: Settings, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    socket = tmp_path_factory.mktemp("s") / "s.sock"
    settings = sqlite_settings.model_copy(update={"sampler_url": f"unix:{socket}"})
    weights = tmp_path / "weights"
    subprocess.run([sys.executable, "-c", _WRITE_WEIGHTS, str(weights)], check=True)
    with _sampler(settings, socket), TestClient(create_app(settings)) as client:
        fake_worker = FakeWorker(settings, client)
        job_id = fake_worker.train()
        checkpoint = fake_worker.checkpoint(job_id, 5, weights.read_bytes())
        path = f"/v1/jobs/{job_id}/samples"

        grid = client.get(f"{path}?label=Sneaker&label=Bag&n=4")
        assert grid.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(grid.content)).format == "PNG"
        assert client.get(f"{path}?label=Sneaker&label=Bag&n=4").content == grid.content

        array = {"Accept": "application/x-npz"}
        eight = client.get(f"{path}?label=Sneaker&n=8", headers=array)
        later = client.get(f"{path}?label=7&n=1&seed=3", headers=array)
        assert np.array_equal(_image(eight, 3), _image(later, 0))
        assert not np.array_equal(_image(eight, 3), _image(client.get(f"{path}?label=9", headers=array), 3))
        assert _image(eight, 0).shape == (28, 28, 1)

        packed = client.get(
            f"{path}?label=Coat&n=2&checkpoint={checkpoint.id}", headers={"Accept": "application/zip"}
        )
        with zipfile.ZipFile(io.BytesIO(packed.content)) as files:
            assert {"0000.png", "0001.png", "manifest.json"} <= set(files.namelist())
            manifest = json.loads(files.read("manifest.json"))
        assert [image["label"] for image in manifest["images"]] == ["Coat", "Coat"]

        dry = client.post("/v1/jobs?dry_run=true", json={"dataset": "fashion-mnist-mini"}).json()
        assert dry["estimate"]["generator_parameters"] > 1000 and dry["spec"]["preset"] == "cgan"

        onnx = client.get(f"/v1/checkpoints/{checkpoint.id}/content?format=onnx")
        assert onnx.status_code in (200, 501)
        assert client.get("/v1/jobs").json()["data"][0]["id"] == job_id
