"""A session with the client that openapi-python-client generates: submit, poll, fetch a sample.

It runs in an environment of its own, which has the generated package and not this project.
"""

from __future__ import annotations

import io
import sys
import time
import zipfile

from gantry_client import AuthenticatedClient
from gantry_client.api.jobs import get_job, list_jobs, submit_job
from gantry_client.api.progress import get_preview, get_series, list_previews
from gantry_client.api.samples import draw_samples
from gantry_client.models import (
    DiscriminatorSpecInput,
    DryRun,
    EvaluationSpecInput,
    GeneratorSpecInput,
    JobView,
    Problem,
    TrainSpecInput,
    TrainSpecInputLabels,
)


def main(url: str) -> None:
    """Run the session against the service at `url`."""
    # A service on loopback asks for no key, and takes any.
    with AuthenticatedClient(base_url=url, token="none") as client:
        _dry_run(client)
        job_id = _train(client)
        _draw(client, job_id)
    # The generator has no parameter for `Accept`: a client has its headers for all of its requests.
    with AuthenticatedClient(base_url=url, token="none", headers={"Accept": "application/zip"}) as client:
        _draw_zip(client, job_id)


def _dry_run(client: AuthenticatedClient) -> None:
    wanted = submit_job.sync(
        client=client, body=TrainSpecInput(dataset="fashion-mnist-mini", preset="dcgan"), dry_run=True
    )
    assert isinstance(wanted, DryRun)
    print(f"dry run of preset dcgan: total_steps {wanted.spec.total_steps:,}, as in the preset")
    assert wanted.spec.total_steps == 20_000
    refused = submit_job.sync(client=client, body=TrainSpecInput(dataset="no-such"))
    assert isinstance(refused, Problem)
    print(f"a data set that is not there: {refused.status} {refused.code}, {refused.errors[0].pointer}")


def _train(client: AuthenticatedClient) -> str:
    labels = TrainSpecInputLabels()
    labels["made-by"] = "openapi-python-client"
    body = TrainSpecInput(
        dataset="fashion-mnist-mini",
        total_steps=60,
        labels=labels,
        generator=GeneratorSpecInput(base_channels=4, z_dim=8),
        discriminator=DiscriminatorSpecInput(base_channels=4),
        evaluation=EvaluationSpecInput(enabled=False),
    )
    job = submit_job.sync(client=client, body=body)
    assert isinstance(job, JobView)
    print(f"submitted {job.id}: {job.status}, labels {job.labels.to_dict()}")
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.5)
        job = get_job.sync(job.id, client=client)
        assert isinstance(job, JobView)
    print(f"{job.status} at step {job.progress.step} of {job.progress.total_steps}")
    assert job.status == "succeeded"
    found = list_jobs.sync(client=client, fields="id,status", limit=1).data[0]
    print(f"a thin list: {found.to_dict()}")
    assert found.to_dict() == {"id": job.id, "status": "succeeded"}
    return str(job.id)


def _draw(client: AuthenticatedClient, job_id: str) -> None:
    grid = draw_samples.sync(job_id, client=client, label=["Sneaker"], n=4, seed=7).payload.read()
    print(f"a sample: {len(grid):,} bytes of PNG")
    assert grid.startswith(b"\x89PNG")
    curve = get_series.sync(job_id, client=client, names="loss_d").series.to_dict()["loss_d"]
    print(f"loss_d: {len(curve)} points, the last at step {curve[-1][0]:.0f}")
    first = list_previews.sync(job_id, client=client)[0]
    preview = get_preview.sync(job_id, first.step, client=client).payload.read()
    print(f"the preview of step {first.step}: {len(preview):,} bytes of PNG")
    assert preview.startswith(b"\x89PNG")


def _draw_zip(client: AuthenticatedClient, job_id: str) -> None:
    zipped = draw_samples.sync(job_id, client=client, n=1).payload.read()
    names = zipfile.ZipFile(io.BytesIO(zipped)).namelist()
    print(f"a zip: {len(names)} files")
    assert "manifest.json" in names


if __name__ == "__main__":
    main(sys.argv[1])
