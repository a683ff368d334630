"""Keys: the names of all files in the store. Every key is made here.

    artifacts/TENANT/job_.../checkpoints/000000300.1.pt            a checkpoint of step 300, saved by attempt 1
    artifacts/TENANT/job_.../checkpoints/000000300.1.safetensors   its generator's weights
    artifacts/TENANT/job_.../checkpoints/000000300.1.onnx          the same generator, exported on request
    artifacts/TENANT/job_.../previews/000000300.1.png              its preview
    artifacts/TENANT/job_.../attempts/1.log                        what attempt 1 logged
    artifacts/TENANT/job_.../attempts/1.outcome.json               how attempt 1 ended, in the trainer's words
    datasets/TENANT/ds_.../upload.zip                              an upload, until it is unpacked
    datasets/TENANT/ds_.../1/                                      its images, as attempt 1 to unpack it wrote them

A key is a relative path with slashes. The database holds keys that begin with the job's id; `Storage.artifacts` and
`Storage.datasets` add the area and the tenant in front of them.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

ARTIFACTS: Final = "artifacts"
"""The area of the files of jobs: a folder for each tenant, in it a folder for each job."""
DATASETS: Final = "datasets"
"""The area of uploaded data sets: a folder for each tenant, in it a folder for each data set."""


def checked(key: str) -> str:
    """Return the key or prefix, after a check that it leads nowhere out of its part of the store."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts:
        raise AssertionError(f"a key that leaves its part of the store: {key}")
    return key


def artifacts_of(tenant: str) -> str:
    """Return the prefix of the files of a tenant's jobs."""
    return f"{ARTIFACTS}/{tenant}"


def datasets_of(tenant: str) -> str:
    """Return the prefix of the files of a tenant's data sets."""
    return f"{DATASETS}/{tenant}"


def checkpoints(job_id: str) -> str:
    """Return the prefix of a job's checkpoints, weights and exports."""
    return f"{job_id}/checkpoints"


def previews(job_id: str) -> str:
    """Return the prefix of a job's previews."""
    return f"{job_id}/previews"


def attempts(job_id: str) -> str:
    """Return the prefix of the logs and outcomes of a job's attempts."""
    return f"{job_id}/attempts"


def checkpoint(job_id: str, step: int, attempt: int) -> str:
    """Return the key of a checkpoint.

    The attempt is part of the name, so that a stale worker cannot overwrite the file of its successor.
    """
    return f"{checkpoints(job_id)}/{step:09d}.{attempt}.pt"


def weights(job_id: str, step: int, attempt: int) -> str:
    """Return the key of the generator's weights of a checkpoint."""
    return f"{checkpoints(job_id)}/{step:09d}.{attempt}.safetensors"


def onnx(weights_key: str) -> str:
    """Return the key of the ONNX export of these weights."""
    return weights_key.removesuffix(".safetensors") + ".onnx"


def preview(job_id: str, step: int, attempt: int) -> str:
    """Return the key of a preview."""
    return f"{previews(job_id)}/{step:09d}.{attempt}.png"


def log(job_id: str, attempt: int) -> str:
    """Return the key of an attempt's log."""
    return f"{attempts(job_id)}/{attempt}.log"


def outcome(job_id: str, attempt: int) -> str:
    """Return the key of the note in which a trainer says how its attempt ended."""
    return f"{attempts(job_id)}/{attempt}.outcome.json"


def upload(dataset_id: str) -> str:
    """Return the key of the archive that was uploaded for a data set."""
    return f"{dataset_id}/upload.zip"


def images(dataset_id: str, attempt: int) -> str:
    """Return the prefix of the images that attempt `attempt` unpacked for a data set."""
    return f"{dataset_id}/{attempt}"


def is_of_attempt(key: str, attempt: int) -> bool:
    """Return whether the key of a checkpoint or preview, finished or not, is one of this attempt's."""
    return f".{attempt}." in PurePosixPath(key).name


def is_unfinished_export(key: str) -> bool:
    """Return whether the key, of an unfinished file, is one of an ONNX export."""
    return ".onnx." in PurePosixPath(key).name
