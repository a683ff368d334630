"""Keys are those that earlier versions have written into databases and on disks."""

from __future__ import annotations

from pathlib import Path

from jobs.runtime.settings import Settings
from jobs.storage import keys, open_storage
from tests.jobs.helpers import disk_path


def test_the_keys_of_a_job() -> None:
    weights = keys.weights("job_a", 300, 2)
    assert [
        keys.checkpoint("job_a", 300, 2),
        weights,
        keys.onnx(weights),
        keys.preview("job_a", 300, 2),
        keys.log("job_a", 2),
        keys.outcome("job_a", 2),
    ] == [
        "job_a/checkpoints/000000300.2.pt",
        "job_a/checkpoints/000000300.2.safetensors",
        "job_a/checkpoints/000000300.2.onnx",
        "job_a/previews/000000300.2.png",
        "job_a/attempts/2.log",
        "job_a/attempts/2.outcome.json",
    ]


def test_the_keys_of_a_data_set() -> None:
    assert (keys.upload("ds_a"), keys.images("ds_a", 1)) == ("ds_a/upload.zip", "ds_a/1")


def test_whose_file_it_is() -> None:
    key = keys.checkpoint("job_a", 300, 2)
    for name in (key, f"{key}.0123456789ab.tmp", keys.weights("job_a", 300, 2), keys.preview("job_a", 300, 2)):
        assert keys.is_of_attempt(name, 2) and not keys.is_of_attempt(name, 1) and not keys.is_of_attempt(name, 300)
    export = keys.onnx(keys.weights("job_a", 300, 2))
    assert keys.is_unfinished_export(f"{export}.0123456789ab.tmp")
    assert not keys.is_unfinished_export(export) and not keys.is_unfinished_export(f"{key}.0123456789ab.tmp")


def test_the_store_lies_in_the_data_folder(tmp_path: Path) -> None:
    storage = open_storage(Settings(data_dir=tmp_path))
    assert disk_path(storage.artifacts("acme"), "job_a") == tmp_path / "artifacts" / "acme" / "job_a"
    assert disk_path(storage.datasets("acme"), "ds_a") == tmp_path / "datasets" / "acme" / "ds_a"
