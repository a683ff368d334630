"""Uploads of data sets over HTTP; a refused upload leaves no files."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.http import multipart
from jobs import clock, uploads
from jobs.db import Database
from jobs.errors import UploadsBusyError
from jobs.models import Dataset
from jobs.relay.validation import validate_one
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.runtime.settings import Settings
from tests.api.conftest import FakeWorker, assert_problem
from tests.gan.uploads.zips import broken, files, picture, write
from tests.hostile import watch

CLASSES = files("bag", "shoe", size=(20, 20))


def post(client: TestClient, content: Mapping[str, bytes] | bytes, tmp_path: Path, **fields: str) -> Any:
    data = content if isinstance(content, bytes) else write(tmp_path / "shoes.zip", content).read_bytes()
    return client.post("/v1/datasets", files={"file": ("shoes.zip", data, "application/zip")}, data=fields)


def left(settings: Settings) -> list[str]:
    """Return the files and folders in the folder of the data sets."""
    root = settings.data_dir / "datasets" / "default"
    return sorted(watch.files(root))


def listed(client: TestClient) -> list[str]:
    return [row["name"] for row in client.get("/v1/datasets").json()["data"] if "fashion" not in row["name"]]


def validated(fake_worker: FakeWorker, settings: Settings) -> None:
    while validate_one(fake_worker.db, settings, threading.Event()):
        pass


def test_a_zip_becomes_a_data_set_for_jobs(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings, tmp_path: Path
) -> None:
    made = post(client, CLASSES, tmp_path)
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["name"], body["status"], body["problems"]) == ("shoes", "validating", [])
    assert made.headers["Location"] == f"/v1/datasets/{body['id']}"
    job = {"dataset": "shoes", "total_steps": 10, "batch_size": 8}
    assert_problem(client.post("/v1/jobs", json=job), 409, "dataset-not-ready")
    validated(fake_worker, sqlite_settings)
    ready = client.get("/v1/datasets/shoes").json()
    assert (ready["status"], ready["num_images"], ready["num_held_out"]) == ("ready", 72, 8)
    assert (ready["channels"], ready["height"], ready["width"]) == (3, 20, 20) and len(ready["sha256"]) == 64
    assert ready["classes"] == [{"id": 0, "label": "bag", "count": 36}, {"id": 1, "label": "shoe", "count": 36}]
    assert "central square" in ready["preparation"]["words"] and ready["progress"] is None
    assert client.post("/v1/jobs", json=job).status_code == 201
    assert client.post("/v1/jobs", json={**job, "dataset": ready["id"]}).json()["spec"]["dataset"] == "shoes"
    assert [name for name in left(sqlite_settings) if name.endswith(".zip")] == []


def test_a_name_and_a_size_may_be_given(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings, tmp_path: Path
) -> None:
    assert post(client, CLASSES, tmp_path, name="my shoes", size="16").json()["name"] == "my shoes"
    validated(fake_worker, sqlite_settings)
    assert client.get("/v1/datasets/my shoes").json()["height"] == 16


def test_the_digest_of_the_file_may_be_sent(client: TestClient, tmp_path: Path) -> None:
    data = write(tmp_path / "shoes.zip", CLASSES).read_bytes()
    assert post(client, data, tmp_path, sha256=hashlib.sha256(data).hexdigest().upper()).status_code == 201


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        ({**CLASSES, "../evil.png": picture()}, "unsafe-archive", "../evil.png"),
        ({**CLASSES, "a.zip": b"PK"}, "unsafe-archive", "a.zip"),
        ({"bag/1.png": bytes(9_000_000)}, "archive-too-large", "times its size"),
        ({**CLASSES, "notes.txt": b"x"}, "unsupported-image", "notes.txt"),
        ({**CLASSES, "bag/in.svg": b"<svg/>"}, "unsupported-image", "in.svg"),
        ({"archive/data.pkl": b"cos\nsystem\n"}, "pickle-not-accepted", "archive/data.pkl"),
        ({}, "dataset-too-small", "0 images"),
        (files("bag", each=70), "one-class", "bag"),
        (b"no zip", "corrupt-archive", "not a zip"),
    ],
)
def test_an_invalid_archive_is_refused_and_nothing_is_stored(
    client: TestClient,
    sqlite_settings: Settings,
    tmp_path: Path,
    content: dict[str, bytes] | bytes,
    code: str,
    word: str,
) -> None:
    body = assert_problem(post(client, content, tmp_path), 422, code)
    assert body["errors"][0]["pointer"] == "/file" and word in body["errors"][0]["detail"]
    assert left(sqlite_settings) == [] and listed(client) == []


def test_all_wrong_files_are_listed_and_the_detail_stays_short(client: TestClient, tmp_path: Path) -> None:
    many = {f"bag/{number:03d}.txt": b"x" for number in range(30)}
    answer = post(client, {**CLASSES, **many, "boot/": b""}, tmp_path)
    assert answer.status_code == 422 and answer.json()["code"] == "unsupported-image"
    details = [error["detail"] for error in answer.json()["errors"]]
    assert len(details) == 31 and all(any(name in detail for detail in details) for name in (*many, "boot"))
    assert answer.json()["detail"] == " ".join([*details[:10], "`errors` lists 21 more."])


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"size": "15"}, "/size", "out-of-range"),
        ({"size": "1e2"}, "/size", "out-of-range"),
        ({"name": "../x"}, "/name", "bad-format"),
        ({"name": "x\ny"}, "/name", "bad-format"),
        ({"name": "ds_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"}, "/name", "bad-format"),
        ({"colour": "red"}, "/colour", "unknown-field"),
        ({"sha256": "abc"}, "/sha256", "bad-format"),
        ({"sha256": "0" * 64}, "/sha256", "checksum-mismatch"),
    ],
)
def test_an_invalid_field_is_refused_with_a_pointer(
    client: TestClient, sqlite_settings: Settings, tmp_path: Path, fields: dict[str, str], pointer: str, code: str
) -> None:
    body = assert_problem(post(client, CLASSES, tmp_path, **fields), 422, code)
    assert [error["pointer"] for error in body["errors"]] == [pointer]
    assert left(sqlite_settings) == []


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("shoes (1).zip", "shoes (1)"),
        ("हिन्दी.zip", "हिन्दी"),
        ("me\u0301duses.zip", "m\u00e9duses"),
        ("C:\\photos\\.shoes & bags.zip", "shoes & bags"),
        ("\u202aphotos\u202c.zip", "photos"),
        ("\U0001f431.zip", "\U0001f431"),
    ],
)
def test_a_data_set_is_named_after_its_file(client: TestClient, tmp_path: Path, file_name: str, name: str) -> None:
    data = write(tmp_path / "a.zip", CLASSES).read_bytes()
    made = client.post("/v1/datasets", files={"file": (file_name, data, "application/zip")})
    assert made.status_code == 201 and made.json()["name"] == name
    assert client.get(f"/v1/datasets/{quote(name)}").json()["id"] == made.json()["id"]


def test_a_name_is_found_in_each_normal_form(client: TestClient, tmp_path: Path) -> None:
    made = post(client, CLASSES, tmp_path, name="me\u0301duses").json()
    for spelling in ("me\u0301duses", "m\u00e9duses"):
        assert client.get(f"/v1/datasets/{quote(spelling)}").json()["id"] == made["id"]
        job = {"dataset": spelling, "total_steps": 10, "batch_size": 8}
        assert_problem(client.post("/v1/jobs", json=job), 409, "dataset-not-ready")
        assert_problem(post(client, CLASSES, tmp_path, name=spelling), 409, "dataset-exists")


@pytest.mark.parametrize(
    ("before", "status", "code"),
    [
        (b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n../x\r\n', 422, "bad-format"),
        (b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nfashion-mnist\r\n', 409, "dataset-exists"),
        (b'--b\r\nContent-Disposition: form-data; name="size"\r\n\r\n7\r\n', 422, "out-of-range"),
        (b"", 422, "corrupt-archive"),
    ],
)
def test_what_comes_before_the_file_is_judged_before_the_file_is_read(
    client: TestClient, sqlite_settings: Settings, before: bytes, status: int, code: str
) -> None:
    beginning = b"PK\3\4" if before else b"Rar!"
    sent = []

    def body() -> Any:
        yield before + b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + beginning
        for number in range(100):
            sent.append(number)
            yield bytes(1 << 20)

    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert_problem(client.post("/v1/datasets", content=body(), headers=form), status, code)
    assert left(sqlite_settings) == []


def test_an_invalid_form_is_refused(client: TestClient, sqlite_settings: Settings) -> None:
    assert_problem(client.post("/v1/datasets", json={}), 415, "unsupported-media-type")
    assert_problem(client.post("/v1/datasets", data={"name": "x"}, files={}), 415, "unsupported-media-type")
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert_problem(client.post("/v1/datasets", content=b"no form", headers=form), 422, "bad-format")
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\nPK'
    assert_problem(client.post("/v1/datasets", content=part, headers=form), 422, "cut-off")
    named = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n'
    assert_problem(client.post("/v1/datasets", content=named, headers=form), 422, "missing")
    assert left(sqlite_settings) == []


def test_a_too_large_upload_is_stopped_early(
    client: TestClient, sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "_MEGABYTE", 100)  # the limit is 2,048 of these
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\nPK\3\4'
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    sent = []

    def endless() -> Any:
        yield head
        for number in range(1000):
            sent.append(number)
            yield bytes(10_000)

    body = assert_problem(client.post("/v1/datasets", content=endless(), headers=form), 413, "body-too-large")
    assert "2,048 MB" in body["detail"]
    announced = {**form, "Content-Length": "1000000"}
    assert_problem(client.post("/v1/datasets", content=head, headers=announced), 413, "body-too-large")
    assert left(sqlite_settings) == []


def test_an_upload_larger_than_the_free_disk_is_refused_at_its_first_byte(
    client: TestClient, sqlite_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "_RESERVED_BYTES", 1 << 60)
    detail = assert_problem(post(client, b"PK", tmp_path), 503, "unavailable")["detail"]
    # Each size is one that a person can compare, also that of a small file.
    assert re.search(r"has [\d,]+ MB free, and needs [\d,]+ MB: 0\.\d kB for this upload, as much for", detail), (
        detail
    )
    assert left(sqlite_settings) == []


def test_a_folder_that_cannot_be_written_is_503(
    client: TestClient, sqlite_settings: Settings, tmp_path: Path
) -> None:
    (sqlite_settings.data_dir / "datasets").write_text("a file where the folder should be")
    assert "cannot store the upload" in assert_problem(post(client, CLASSES, tmp_path), 503, "unavailable")["detail"]


def test_too_many_inspections_are_503(
    client: TestClient, sqlite_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_SLOTS", slots := ConcurrencyLimiter(1, UploadsBusyError, "Come back in a moment."))
    monkeypatch.setattr(uploads, "_INSPECT_SECONDS", 0.1)
    with slots.slot():
        assert_problem(post(client, CLASSES, tmp_path), 503, "uploads-busy")
    assert left(sqlite_settings) == []


def test_a_large_body_elsewhere_is_still_refused(client: TestClient) -> None:
    assert_problem(client.post("/v1/jobs", content=b" " * 300_000), 413, "body-too-large")


def test_damaged_images_are_named_and_the_files_removed(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings, tmp_path: Path
) -> None:
    bad = {**CLASSES, "bag/broken.png": broken(), "shoe/fake.jpg": b"GIF89a"}
    assert post(client, bad, tmp_path).status_code == 201
    validated(fake_worker, sqlite_settings)
    failed = client.get("/v1/datasets/shoes").json()
    assert failed["status"] == "failed" and failed["progress"] is None
    assert {p["file"] for p in failed["problems"]} == {"bag/broken.png", "shoe/fake.jpg"}
    assert all(p["file"] in p["detail"] for p in failed["problems"])
    assert left(sqlite_settings) == []
    assert_problem(client.post("/v1/jobs", json={"dataset": "shoes"}), 409, "dataset-not-ready")
    assert post(client, CLASSES, tmp_path).status_code == 201, "a failed data set frees its name"
    assert listed(client) == ["shoes"]


def test_a_name_that_is_taken_is_refused(client: TestClient, sqlite_settings: Settings, tmp_path: Path) -> None:
    first = post(client, CLASSES, tmp_path).json()["id"]
    assert_problem(post(client, CLASSES, tmp_path), 409, "dataset-exists")
    assert_problem(post(client, CLASSES, tmp_path, name="fashion-mnist"), 409, "dataset-exists")
    assert left(sqlite_settings) == [first, f"{first}/upload.zip"]


def test_a_repeated_upload_creates_nothing(client: TestClient, sqlite_settings: Settings, tmp_path: Path) -> None:
    client.headers["Idempotency-Key"] = "k"
    first, second = (post(client, CLASSES, tmp_path) for _ in range(2))
    assert first.json() == second.json() and second.headers["Idempotency-Replayed"] == "true"
    assert_problem(post(client, CLASSES, tmp_path, name="other"), 422, "idempotency-key-reused")
    client.headers["Idempotency-Key"] = "another"
    first, second = (post(client, CLASSES, tmp_path, name="named") for _ in range(2))
    assert first.json() == second.json() and second.headers["Idempotency-Replayed"] == "true"
    assert_problem(post(client, CLASSES, tmp_path, name="shoes"), 422, "idempotency-key-reused")
    assert len(left(sqlite_settings)) == 4


def test_deleting_removes_row_and_files_and_is_refused_while_in_use(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings, tmp_path: Path
) -> None:
    post(client, CLASSES, tmp_path)
    validated(fake_worker, sqlite_settings)
    job = client.post("/v1/jobs", json={"dataset": "shoes", "total_steps": 10, "batch_size": 8}).json()["id"]
    assert job in assert_problem(client.delete("/v1/datasets/shoes"), 409, "dataset-in-use")["detail"]
    client.post(f"/v1/jobs/{job}/cancel")
    assert_problem(client.delete("/v1/datasets/shoes"), 409, "dataset-in-use")
    client.delete(f"/v1/jobs/{job}")
    assert client.delete("/v1/datasets/shoes").status_code == 204
    assert left(sqlite_settings) == [] and listed(client) == []
    assert_problem(client.delete("/v1/datasets/shoes"), 404, "dataset-not-found")
    assert_problem(client.delete("/v1/datasets/fashion-mnist"), 409, "dataset-built-in")


def test_progress_is_shown_while_a_data_set_is_validating(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings, tmp_path: Path
) -> None:
    made = post(client, CLASSES, tmp_path).json()
    progress = {"phase": "checking", "done": 3, "total": 80}
    plan = {"side": 20, "channels": 3, "words": "Each image is cropped."}
    with fake_worker.db.write() as s:
        s.execute(update(Dataset).where(Dataset.id == made["id"]).values(progress=progress, preparation=plan))
    shown = client.get(f"/v1/datasets/{made['id']}").json()
    assert shown["progress"] == progress and shown["preparation"] == plan


def test_a_data_set_of_a_lost_relay_is_validated_after_its_lease(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings, tmp_path: Path
) -> None:
    made = post(client, CLASSES, tmp_path).json()
    _claimed(fake_worker.db, made["id"])
    assert not validate_one(fake_worker.db, sqlite_settings, threading.Event())
    with fake_worker.db.write() as s:
        s.execute(update(Dataset).where(Dataset.id == made["id"]).values(lease_until=clock.now() - 1))
    validated(fake_worker, sqlite_settings)
    assert client.get("/v1/datasets/shoes").json()["status"] == "ready"
    assert (sqlite_settings.data_dir / "datasets" / "default" / made["id"] / "2" / "images.bin").exists()


def _claimed(db: Database, dataset_id: str) -> None:
    from jobs.store import datasets

    with db.write() as s:
        assert datasets.claim(s, dataset_id, 60) is not None
        assert datasets.claim(s, dataset_id, 60) is None
