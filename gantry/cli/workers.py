"""`gantry workers` and `gantry worker drain`. `gantry worker`, which runs a worker, is in `service.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from gantry.cli.output import AsJson, Limit, Url, print_page, print_result
from gantry.client import DEFAULT_URL, Client


def workers(limit: Limit = 50, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the workers."""
    from gantry.terminal.tables import worker_table  # noqa: PLC0415

    with Client(url) as client:
        print_page(client.workers(limit=limit), worker_table, as_json)


def drain(
    worker: Annotated[str, typer.Argument(metavar="ID", help="A worker's id, from `gantry workers`.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Drain a worker: it saves a checkpoint, gives its job back and stops."""
    with Client(url) as client:
        result = client.drain(worker)
    job_id = result["current_job_id"]
    effect = f"gives {job_id} back and ends" if job_id else "takes no more jobs and ends"
    print_result(result, f"{worker} {effect}.", as_json)
